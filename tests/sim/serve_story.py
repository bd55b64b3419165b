"""The story of records under an adversary: added, shared, asked for by readers that never give up, and no
longer shared, while clinics fall, clocks go wrong and links break; all that is served is watched."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from node.clinic import Clinic
from node.keystore import WalletKeys
from protocol import limits
from protocol.control import MyCode, MyShare, MyStop, RecordAdd
from protocol.errors import ChartmeshError, TransportError
from protocol.limits import DAY_MS
from protocol.transactions import TokenId
from protocol.wallet import cold_master, hot_master, next_key_hashes
from tests.clinic_world import plaintext
from tests.sim.disk import PowerLoss
from tests.sim.light_world import ENTROPY, Someone, someone_new
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.prober import Prober
from tests.sim.profile import Profile
from tests.sim.record_world import Screen, build_clinic, clinic
from tests.sim.serve_watch import ServeWatch
from tests.sim.watch import Watch
from tests.sim.world import Violation, World, leaves

T = TypeVar("T")
PATIENCE_S = 40.0
QUIET_S = 45.0
RECORDS_MAX = 100
CHUNKS = (1, 1, 3, 12)


@dataclass
class ServeStory:
    """Call it with a world. `served` and `refused` say afterwards what was seen, `shared` how many grants
    there were to ask under."""

    for_s: float
    served: int = 0
    refused: int = 0
    shared: int = 0

    async def __call__(self, world: World) -> None:
        drawn = Profile.of(world.dice("profile"), size=4)
        profile = replace(drawn, newcomers=0, leavers=0, patient=False, traitors=0)
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world)
            cluster = Cluster(world, network, nursery, build_clinic, size=profile.size)
            seen = ServeWatch(cluster, network)
            seen.look()
            Watch(cluster).look()
            cluster.start()
            hashes = next_key_hashes(cold_master(ENTROPY), 0, RECORDS_MAX)
            keys = WalletKeys((hot_master(ENTROPY).secret,), hashes)
            someone = someone_new(cluster, network, keys=keys)
            await nursery.start(someone.run)
            patient = _Patient(cluster, someone, world.dice("patient"), nursery)
            nursery.start_soon(patient.run)
            await Nemesis(cluster, profile).torment(self.for_s)
            patient.is_done = True
            await trio.sleep(QUIET_S)
            await patient.check_reads_again()
            self.served, self.refused, self.shared = seen.served, seen.refused, patient.shared
            await trio.sleep(QUIET_S)
            seen.check_logs()
            cluster.stop()
            nursery.cancel_scope.cancel()


class _Patient:
    """One record after another, each shared with one clinic and stopped after a while."""

    def __init__(
        self, cluster: Cluster, someone: Someone, dice: random.Random, nursery: trio.Nursery
    ) -> None:
        self._cluster, self._someone, self._dice, self._nursery = cluster, someone, dice, nursery
        self.is_done = False
        self.shared = 0

    async def run(self) -> None:
        while not self.is_done:
            await trio.sleep(self._dice.random() * 2)
            nodes = self._cluster.up()
            if nodes:
                # What is refused or cannot be reached just now is not asked for again.
                await _at_ease(lambda: self._one_record(self._dice.choice(nodes)))  # noqa: B023

    async def check_reads_again(self) -> None:
        """Once all is quiet, a new record is added, shared, read, and read no more."""
        issuer, reader = self._cluster.nodes[0], self._cluster.nodes[1]
        with trio.move_on_after(QUIET_S) as patience:
            token, grant, prober = await self._share(issuer, reader)
        if patience.cancelled_caught:
            raise Violation("V1", "a new record is not shared after the heal")
        holders = [node for node in self._cluster.nodes if node is not reader]
        if not any([await prober.served(node) for node in holders]):
            raise Violation("V1", "nobody serves a new record under a live grant after the heal")
        await self._someone.my.stop(MyStop(id=grant))
        if any([await prober.served(node) for node in holders]):
            raise Violation("S3", f"a record is served after its grant was stopped: {token}")

    async def _one_record(self, issuer: SimNode) -> None:
        reader = self._dice.choice([node for node in self._cluster.nodes if node is not issuer])
        _, grant, prober = await self._share(issuer, reader)
        self.shared += 1
        asks = trio.CancelScope(deadline=trio.current_time() + self._dice.uniform(20, 90))
        self._nursery.start_soon(self._keep_asking, prober, reader, asks)
        await trio.sleep(self._dice.uniform(0, 15))
        await self._someone.my.stop(MyStop(id=grant))

    async def _share(self, issuer: SimNode, reader: SimNode) -> tuple[str, str, Prober]:
        """Raises ChartmeshError where any of it fails just now."""
        my = self._someone.my
        code = (await my.code(MyCode(clinic=issuer.name))).code
        content = plaintext(self._dice.choice(CHUNKS) * limits.CHUNK_BYTES - 100)
        request = RecordAdd(name="letter.pdf", size=len(content), code=code, title="Letter", patient="Ann")

        async def add(service: Clinic) -> str:
            return (await service.records.issuer.add(request, Screen(content))).records[0].token

        token = await issuer.ask(add)
        if token is None:
            raise TransportError("the issuer went down", "")
        await trio.sleep(2)
        asked = MyShare(records=(token,), clinic=reader.name, for_ms=DAY_MS, purposes=("TREAT",))
        [grant] = (await my.share(asked)).grants
        while not (reader.is_up and _holds(reader, token)):  # noqa: ASYNC110
            await trio.sleep(0.5)
        return token, grant.grant, Prober(self._cluster, reader, token)

    async def _keep_asking(self, prober: Prober, reader: SimNode, asks: trio.CancelScope) -> None:
        with asks:
            while True:
                await trio.sleep(self._dice.random())
                server = self._dice.choice([node for node in self._cluster.nodes if node is not reader])
                pause_s = self._dice.choice((0.0, 0.0, 1.5))
                await _at_ease(lambda: prober.ask(server, pause_s=pause_s))  # noqa: B023


def _holds(reader: SimNode, token: str) -> bool:
    life = reader.life
    if life is None or life.service is None:
        return False
    return bool(clinic(reader).inbox.held_for(TokenId(bytes.fromhex(token))))


async def _at_ease(ask: Callable[[], Awaitable[object]]) -> None:
    """Asks, and takes no for an answer: whatever fails because of the trouble around, or takes too long."""
    with trio.move_on_after(PATIENCE_S):
        try:
            await ask()
        except (ChartmeshError, PowerLoss):
            return
        except BaseExceptionGroup as group:
            if not all(isinstance(error, ChartmeshError | PowerLoss) for error in leaves(group)):
                raise
