"""A small service on all ports, to prove the world by: it counts, tells, remembers and echoes.

Each node counts up, and gives each number a random word. The rule is that of votes: once a word for a
number was told, no other may ever be told for it, so number and word must be durable first. Everyone
keeps the highest count that it heard of each other, and all must agree on them in the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from node.ports import Ports, Stream, TaskStatus
from protocol.blocks import Genesis, Phase
from protocol.codec import Wire, decode, encode
from protocol.errors import TransportError
from protocol.keys import PublicKey
from tests.sim.invariants import Said, VoteCollector
from tests.sim.nodes import Cluster, Seat
from tests.sim.world import Violation

FRAME_BYTES_MAX = 1_000
KEY = b"counts"


class Count(Wire, frozen=True):
    """The newest number of one node and its word."""

    number: int
    word: bytes


class Counts(Wire, frozen=True):
    """By seat."""

    newest: tuple[Count, ...]


@dataclass(frozen=True)
class Bugs:
    """What can be planted: to tell before saving, to save without sync, to fail on what is heard."""

    tells_first: bool = False
    forgets_sync: bool = False
    chokes: bool = False


class ToyNode:
    """A `nodes.Service`."""

    def __init__(self, ports: Ports, genesis: Genesis, seat: Seat, bugs: Bugs) -> None:
        self._ports, self._seat, self._bugs = ports, seat, bugs
        self._peers = [
            member.id_key for member in genesis.members if member.id_key != ports.transport.identity
        ]
        self._index = {member.id_key: at for at, member in enumerate(genesis.members)}
        raw = ports.ledger_store.get(KEY)
        empty = tuple(Count(0, b"") for _ in genesis.members)
        self.counts = Counts(empty) if raw is None else decode(Counts, raw, limit=FRAME_BYTES_MAX)
        self.echoes = 0
        self.heard: set[bytes] = set()
        ports.transport.serve("echo", self._serve_echo, strangers=True)
        ports.transport.serve_datagrams("count", self._receive, limit=FRAME_BYTES_MAX)
        ports.transport.on_connected(self._tell)
        self._gossip = ports.transport.subscribe("news")

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count)
            nursery.start_soon(self._echo)
            nursery.start_soon(self._listen)
            task_status.started()

    async def _count(self) -> None:
        while True:
            await trio.sleep(0.1 * (1 + self._ports.entropy.below(5)))
            own = Count(self.counts.newest[self._seat.index].number + 1, self._ports.entropy.bytes(8))
            self.counts = self._with(self._seat.index, own)
            if not self._bugs.tells_first:
                self._save()
            for peer in self._peers:
                self._tell(peer)
            if self._bugs.tells_first:
                self._save()
            await self._ports.transport.publish("news", own.word)

    async def _echo(self) -> None:
        while True:
            await trio.sleep(2)
            peer = self._peers[self._ports.entropy.below(len(self._peers))]
            try:
                stream = await self._ports.transport.open_stream(peer, "echo")
                frames = [self._ports.entropy.bytes(20) for _ in range(3)]
                for frame in frames:
                    await stream.send(frame)
                assert [await stream.receive(FRAME_BYTES_MAX) for _ in frames] == frames, "wrong echo"
                await stream.aclose()
                self.echoes += 1
            except TransportError:
                continue

    async def _listen(self) -> None:
        async for message in self._gossip:
            self.heard.add(message.payload)

    async def _serve_echo(self, stream: Stream) -> None:
        while (frame := await stream.receive(FRAME_BYTES_MAX)) is not None:
            await stream.send(frame)

    async def _receive(self, peer: PublicKey, payload: bytes) -> None:
        if self._bugs.chokes:
            raise ValueError("cannot swallow this")
        await trio.lowlevel.checkpoint()
        for index, count in enumerate(decode(Counts, payload, limit=FRAME_BYTES_MAX).newest):
            if index != self._seat.index and count.number > self.counts.newest[index].number:
                self.counts = self._with(index, count)

    def _tell(self, peer: PublicKey) -> None:
        self._ports.transport.send(peer, "count", encode(self.counts))

    def _save(self) -> None:
        self._ports.ledger_store.write([(KEY, encode(self.counts))], sync=not self._bugs.forgets_sync)

    def _with(self, index: int, count: Count) -> Counts:
        newest = self.counts.newest
        return Counts((*newest[:index], count, *newest[index + 1 :]))


class ToyWatch:
    """Hears every count that any node tells."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._votes = VoteCollector()
        cluster.network.watches.append(self._sees)

    def _sees(self, sender: PublicKey, receiver: PublicKey, protocol: str, raw: bytes) -> None:
        seat = next(node.seat for node in self._cluster.nodes if node.identity == sender)
        own = decode(Counts, raw, limit=FRAME_BYTES_MAX).newest[seat.index]
        try:
            self._votes.hear(Said(0, own.number, Phase.VOTE, own.word, seat.name))
        except Violation as violation:
            self._cluster.world.report(violation)


def toys(cluster: Cluster) -> Sequence[ToyNode]:
    """The running services."""
    lives = [node.life for node in cluster.nodes if node.life is not None]
    return [life.service for life in lives if isinstance(life.service, ToyNode)]
