"""A hundred thousand spoiled messages of gossip, by a member, past the one guard of a running transport.

The cases follow from the seed that is printed; CHARTMESH_FUZZ_SEED repeats one. What a connection costs is
left out, and the quotas are wide, so that every message is looked at: the streams are the test's own.
"""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF

from node.net.libp2p_guards import peer_id
from node.net.libp2p_host import Libp2pTransport
from node.ports import GossipMessage
from protocol import limits
from tests.contract.libp2p_scene import PREFIX, ROGUE, key, open_scene, resident_bytes
from tests.contract.transports import until
from tests.e2e.payloads import HELLO, line, signed_gossip
from tests.fuzz.protobuf import frames, samples
from tests.fuzz.test_doors import SEED, told

CASES = 100_000
GROWTH_BYTES_MAX = 64 * limits.MIB
TOPIC = PREFIX + "blocks"
NEWS = b"what a member truly said"
MEMBER = SimpleNamespace(peer_id=peer_id(key(ROGUE)))
WIDE = (
    "GOSSIP_PER_PEER_BURST",
    "GOSSIP_EXCESS_MAX",
    "GOSSIP_BYTES_PER_PEER_BURST",
    "GOSSIP_EXCESS_BYTES_MAX",
    "GOSSIP_CONTROLS_BURST",
    "MEMBER_REQUESTS_BURST",
    "REFUSED_STREAMS_BURST",
)


class Inlet:
    """A stream of gossip that a member opened, as the library hands it over: it brings one spoiled message
    after the other, each from its own first byte on, until one of them ends it."""

    metric_send_channel = None
    muxed_stream = SimpleNamespace(closed=True)

    def __init__(self, supply: Iterator[bytes]) -> None:
        self.muxed_conn = MEMBER
        self._supply, self._octets = supply, line(HELLO) + line(b"/meshsub/1.1.0")
        self.is_reset = False

    async def read(self, count: int | None = None) -> bytes:
        if not self._octets:
            await trio.lowlevel.checkpoint()
            self._octets = next(self._supply, b"")
        if not self._octets or self.is_reset:
            raise StreamEOF
        piece, self._octets = self._octets[:count], self._octets[count:]
        return piece

    async def write(self, octets: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        self.is_reset = True

    async def close(self) -> None:
        self.is_reset = True

    def set_protocol(self, protocol: str) -> None:
        del protocol


async def pour(node: Libp2pTransport, spoiled: Iterator[bytes]) -> int:
    """Has the node hear all of it; how many streams that took."""
    left, streams = True, 0

    def supply() -> Iterator[bytes]:
        nonlocal left
        yield from spoiled
        left = False

    whole = supply()
    while left:
        streams += 1
        await node._enter(cast(INetStream, Inlet(whole)))
    return streams


async def test_a_hundred_thousand_spoiled_messages_of_gossip_stop_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in WIDE:
        monkeypatch.setattr(limits, name, 1_000_000_000)
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        before = resident_bytes()
        dice = random.Random(f"{SEED}/gossip")
        pool = samples(TOPIC, ROGUE, NEWS)
        streams = await pour(scene.node, frames(dice, pool, CASES))
        last = signed_gossip(TOPIC, ROGUE, b"the last", number=2)
        await pour(scene.node, iter([last]))
        heard: list[bytes] = []
        await until(lambda: drain(inbox[0], heard)[-1:] == [b"the last"])
        await scene.check()
        # It looked at them, and most of those it did not understand cost their stream.
        assert CASES // 100 < streams < CASES, told(streams)
        assert set(heard) == {NEWS, b"the last"}, told(heard)
        assert len(heard) == 2, told(heard)
        assert {one.id_key for one in scene.node.offences()} == {key(ROGUE)}, told(scene.node.offences())
        assert resident_bytes() - before < GROWTH_BYTES_MAX, told(resident_bytes() - before)


def drain(inbox: trio.MemoryReceiveChannel[GossipMessage], heard: list[bytes]) -> list[bytes]:
    while True:
        try:
            heard.append(inbox.receive_nowait().payload)
        except trio.WouldBlock:
            return heard
