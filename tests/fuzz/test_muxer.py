"""Spoiled frames of the muxer, a hundred thousand of them: what is wrong ends one connection, tells of its
peer in our own words, and never raises past it. By seed, as in `test_gossip`."""

import random
import struct
from collections.abc import Iterator

import trio
import trio.testing
from libp2p.exceptions import BaseLibp2pError

from node.net.libp2p_guards import install, peer_id
from node.net.libp2p_muxer import GuardedYamux, MuxerRules
from protocol import limits
from protocol.errors import RemoteProtocolError
from protocol.keys import SigningKey
from tests.contract.libp2p_scene import resident_bytes
from tests.fuzz.mutate import BYTE_ACTS
from tests.fuzz.test_doors import SEED, told

CASES = 100_000
TOGETHER = 25  # frames on one connection, unless one of them ends it
PEER = peer_id(SigningKey(b"p" * 32).public)
KINDS, FLAGS = (0, 1, 2, 3), (0, 1, 2, 4, 8)


class Wire:
    """A secured connection: brings one frame after the other, `TOGETHER` at most, then its end."""

    is_initiator = False

    def __init__(self, supply: Iterator[bytes]) -> None:
        self._supply, self._left, self._octets = supply, TOGETHER, b""
        self.is_closed = False

    async def read(self, count: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._octets and self._left:
            self._octets, self._left = next(self._supply, b""), self._left - 1
        piece, self._octets = self._octets[:count], self._octets[count:]
        return piece

    async def write(self, octets: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        self.is_closed = True

    @property
    def is_read_to_its_end(self) -> bool:
        return not self._left and not self._octets


def sound(dice: random.Random) -> bytes:
    """A frame that a peer may send, at some time."""
    kind, stream = dice.choice(KINDS), dice.choice((1, 1, 3, 5, 7, 2, 0))
    body = dice.randbytes(dice.choice((0, 1, 40))) if kind == 0 else b""
    number = len(body) if kind == 0 else dice.choice((0, 1, 2, 70_000))
    return struct.pack("!BBHII", 0, kind, dice.choice(FLAGS), stream, number) + body


def spoiled(dice: random.Random) -> bytes:
    frame = sound(dice)
    match dice.randrange(4):
        case 0:
            return frame
        case 1:  # any field of the header
            start, size = dice.choice(((0, 1), (1, 1), (2, 2), (4, 4), (8, 4)))
            return (
                frame[:start] + dice.choice((dice.randbytes(size), b"\xff" * size)) + frame[start + size :]
            )
        case _:
            return dice.choice(BYTE_ACTS)(dice, frame, ())


async def take_streams(muxer: GuardedYamux) -> None:
    """As the swarm does, without reading them: until the connection ends."""
    try:
        while True:
            await muxer.accept_stream()
    except BaseLibp2pError:
        return


async def test_spoiled_frames_of_the_muxer_end_their_connection_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    install()
    dice, taken = random.Random(f"{SEED}/muxer"), 0

    def supply() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(1, CASES + 1):  # noqa: B007
            yield spoiled(dice) if dice.randrange(4) else sound(dice)

    before, reported, whole, cut, frames = resident_bytes(), list[Exception](), 0, 0, supply()
    rules = MuxerRules(limits.STRANGER_WINDOW_BYTES, lambda _muxer, count: count < limits.MIB)
    while taken < CASES:
        wire = Wire(frames)
        muxer = GuardedYamux(wire, PEER, reported.append, rules)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_streams, muxer)
            await muxer.start()
            nursery.cancel_scope.cancel()
        assert wire.is_closed, told(taken)
        whole, cut = whole + wire.is_read_to_its_end, cut + (not wire.is_read_to_its_end)
    assert whole, told("no connection went on to its end")
    assert cut, told("nothing ended a connection")
    strange = [one for one in reported if not isinstance(one, RemoteProtocolError | BaseLibp2pError)]
    assert not strange, told(repr(strange[:3]))
    assert resident_bytes() - before < 64 * limits.MIB, told(resident_bytes() - before)
