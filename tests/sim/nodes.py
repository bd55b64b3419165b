"""Nodes of the simulated world: built from ports, started, crashed and started again.

What a node is stays open: `BuildNode` makes a service of its ports, the genesis and its own keys.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import trio

from node.adapters import InlineOffload
from node.ports import Ports, TaskStatus
from node.store.memory import MemoryVoteFile
from protocol.blocks import VERSION, Genesis, Member, NetworkId, faults_of, network_id
from protocol.codec import digest
from protocol.errors import StorageError
from protocol.keys import OpeningKey, PublicKey, SigningKey
from protocol.limits import NetworkLimits
from tests.sim.clock import EPOCH_MS, SimClock
from tests.sim.disk import Disk, Fuse, FusedStore, FusedVoteFile, PowerLoss
from tests.sim.entropy import SimEntropy
from tests.sim.network import SimNetwork
from tests.sim.transport import SimTransport
from tests.sim.world import Violation, World, leaves

T = TypeVar("T")


class Service(Protocol):
    """What a node is to the world."""

    async def run(self, *, task_status: TaskStatus[None]) -> None: ...


@dataclass(frozen=True)
class Seat:
    """One clinic: its place in the genesis file and its keys."""

    index: int
    name: str
    id_key: SigningKey
    vote_key: SigningKey
    enc_key: OpeningKey

    def member(self) -> Member:
        return Member(self.name, self.id_key.public, self.vote_key.public, self.enc_key.public, ())


BuildNode = Callable[[Ports, Genesis, Seat], Service]


def seeded_seat(index: int) -> Seat:
    """The same keys in every world: signatures then follow from what is signed."""
    place = index.to_bytes(2, "big")
    return Seat(
        index,
        f"n{index}",
        SigningKey(digest("sim-identity", place)),
        SigningKey(digest("sim-vote", place)),
        OpeningKey(digest("sim-seal", place)),
    )


class Life:
    """One run of a node, from a start to a crash or the end of the world."""

    def __init__(self, transport: SimTransport) -> None:
        self.transport = transport
        self.scope = trio.CancelScope()
        self.service: Service | None = None
        self.is_over = False
        self.asking: dict[trio.CancelScope, None] = {}

    def end(self) -> None:
        """The node is down: off the network, and whoever asked it gets no answer."""
        self.is_over = True
        self.transport.power_off()
        self.scope.cancel()
        for scope in self.asking:
            scope.cancel()


class SimNode:
    """A clinic with disks, clocks and a name; `life` is None while it is down."""

    def __init__(self, cluster: "Cluster", seat: Seat) -> None:
        self._cluster = cluster
        self._dice = cluster.world.dice(f"node/{seat.name}")
        self._fuse = Fuse()
        self.seat = seat
        self.disk = Disk()
        self.clock = SimClock(
            cluster.world.timeline.now_ms,
            drift_ppm=self._dice.randint(-200, 200),
            origin_ms=self._dice.randrange(10**9),
        )
        self.lives = 0
        self.visits = 0
        self.life: Life | None = None
        self.is_disk_failing = False

    @property
    def name(self) -> str:
        return self.seat.name

    @property
    def identity(self) -> PublicKey:
        return self.seat.id_key.public

    @property
    def is_up(self) -> bool:
        return self.life is not None

    def start(self) -> None:
        """Builds the node from what is on its disks and lets it run. Nothing where it is up."""
        if self.life is not None or self._cluster.is_over:
            return
        self.lives += 1
        everyone = [node.identity for node in self._cluster.nodes]
        dials = [peer for peer in everyone if peer != self.identity]
        transport = SimTransport(self._cluster.network, self.identity, members=everyone, dials=dials)
        self.life = Life(transport)
        self._cluster.world.trace.note("start", self.name, "", str(self.lives).encode())
        self._cluster.nursery.start_soon(self._live, self.life)

    def crash(self) -> None:
        """Ends the node at once: it sends nothing more, and its disks lose a part of what was unsynced."""
        life, self.life = self.life, None
        if life is None:
            return
        life.end()
        self._fuse.clear()
        self.is_disk_failing = False
        self._cluster.world.trace.note("crash", self.name)
        self.disk = self.disk.lose_power(self._entropy("power"))

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T | None:
        """What `question` makes of the service; None where the node is not ready or goes down meanwhile."""
        life = self.life
        if life is None or life.service is None:
            return None
        with trio.CancelScope() as scope:
            life.asking[scope] = None
            try:
                return await question(life.service)
            except PowerLoss:
                return None
            except StorageError as error:
                if not life.is_over:
                    self._fell(error)
            finally:
                del life.asking[scope]
        return None

    def crash_in_write(self, writes: int, *, after: bool, then: Callable[[], None]) -> None:
        """Crashes inside the k-th write from now, before or after it took effect, and calls `then`."""

        def cut() -> None:
            self.crash()
            then()

        self._fuse.set(writes, after=after, cut=cut)

    def fail_disk(self, calls: int) -> None:
        """Makes the ledger's disk fail at the k-th call from now: the node should stop by itself."""
        self.is_disk_failing = True
        self.disk.ledger.fail_at(calls)

    def rekey(self, vote_key: SigningKey) -> None:
        """Goes down and comes back with another vote key, which has a vote file of its own."""
        was_up = self.is_up
        self.crash()
        self.seat = replace(self.seat, vote_key=vote_key)
        self.disk = replace(self.disk, votes=MemoryVoteFile())
        self._cluster.owners[vote_key.public] = self
        if was_up:
            self.start()

    def clear_faults(self) -> None:
        """Takes back what was set and did not strike; a node whose disk failed goes down for a restart."""
        self._fuse.clear()
        if self.is_disk_failing:
            self.crash()

    async def _live(self, life: Life) -> None:
        try:
            with life.scope:
                async with trio.open_nursery() as nursery:
                    service = self._cluster.build(self._ports(life), self._cluster.genesis, self.seat)
                    await nursery.start(life.transport.run)
                    await nursery.start(service.run)
                    life.service = service
        except* PowerLoss:
            pass
        except* Exception as errors:
            if not life.is_over:
                self._fell(errors)

    def _fell(self, error: Exception) -> None:
        """The node ends by itself: right when its disk failed, a finding otherwise."""
        causes = list(leaves(error))
        if not self.is_disk_failing or not all(isinstance(cause, StorageError) for cause in causes):
            self._cluster.world.report(Violation("alive", f"{self.name} ended: {causes!r}"))
        self.crash()

    def _ports(self, life: Life) -> Ports:
        fuse, disk = self._fuse, self.disk
        return Ports(
            transport=life.transport,
            ledger_store=FusedStore(disk.ledger, fuse),
            blob_store=FusedStore(disk.blobs, fuse),
            audit_store=FusedStore(disk.audit, fuse),
            votes=FusedVoteFile(disk.votes, fuse),
            clock=self.clock,
            entropy=self._entropy("node"),
            offload=InlineOffload(),
            visit=self._visitor,
        )

    def _visitor(self) -> SimTransport:
        """Another identity for each visit."""
        self.visits += 1
        key = SigningKey(digest("sim-visitor", f"{self.name}/{self.visits}".encode()))
        self._cluster.network.name(key.public, f"{self.name}-visitor")
        return SimTransport(self._cluster.network, key.public, members=(), dials=())

    def _entropy(self, part: str) -> SimEntropy:
        """Another one for each life: what a node drew before a crash it does not draw again."""
        return SimEntropy(f"{self._cluster.world.seed}/{self.name}/{self.lives}/{part}")


class Cluster:
    """The clinics of one network, on one simulated network of their own.

    `validators`, `followers` and `ended` are what the changes in force make of them: the first in the
    order of the committee's seats, the last suspended or removed. `owners` are by vote key, past ones too.
    """

    def __init__(
        self,
        world: World,
        network: SimNetwork,
        nursery: trio.Nursery,
        build: BuildNode,
        *,
        size: int,
        later: int = 0,
        limits: NetworkLimits | None = None,
        traitors: Collection[int] = (),
    ) -> None:
        """`size` clinics found the network, and `later` more run that are no members yet. `traitors` are
        the seats whose validators are hostile."""
        self.world, self.network, self.nursery, self.build = world, network, nursery, build
        seats = [seeded_seat(index) for index in range(size + later)]
        self.genesis = found(seats[:size], limits or NetworkLimits())
        self.nodes = [SimNode(self, seat) for seat in seats]
        self.traitors = frozenset(traitors)
        self.is_over = False
        self.validators = self.nodes[:size]
        self.followers: list[SimNode] = []
        self.ended: list[SimNode] = []
        self.owners = {node.seat.vote_key.public: node for node in self.nodes}
        for node in self.nodes:
            network.name(node.identity, node.name)

    @property
    def network_id(self) -> NetworkId:
        return network_id(self.genesis)

    @property
    def faults(self) -> int:
        """f: how many validators may be down while the others go on."""
        return faults_of(len(self.validators))

    def honest(self) -> list[SimNode]:
        return [node for node in self.nodes if node.seat.index not in self.traitors]

    def members(self) -> list[SimNode]:
        """The honest ones that are members now: whoever must come to the common head."""
        return [node for node in self.honest() if node in self.validators or node in self.followers]

    def up(self) -> list[SimNode]:
        return [node for node in self.nodes if node.is_up]

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        """Ends every node: the story is over, and none starts again."""
        self.is_over = True
        for node in self.nodes:
            node.crash()


def found(seats: Sequence[Seat], limits: NetworkLimits) -> Genesis:
    """The genesis file of a network of these clinics."""
    members = tuple(seat.member() for seat in seats)
    return Genesis(VERSION, "simulated", EPOCH_MS - 1_000, digest("terms", b""), limits, members)
