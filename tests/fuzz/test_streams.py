"""Hostile bytes on streams: frames between nodes, frames of the control socket, lines of negotiation."""

import random

import pytest
import trio
from libp2p.exceptions import ParseError
from libp2p.io.abc import Reader
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError

from node.net.frames import FrameReader, frames
from node.net.libp2p_guards import read_line
from protocol import limits
from protocol.control import HEADER_BYTES, FrameDecoder, Kind
from protocol.control import frame as control_frame
from protocol.errors import Malformed, TransportError
from tests.fuzz.run import pool_of
from tests.fuzz.test_doors import CASES, SEED, told

LIMIT = 600
READS_MAX = 64 * limits.KIB
BODIES = [raw for raw in pool_of("streams") if len(raw) <= LIMIT][:20]


class Source(Reader):
    """A stream that yields its bytes in pieces by dice, and remembers the most that was asked for."""

    def __init__(self, octets: bytes, dice: random.Random) -> None:
        self._octets, self._dice = octets, dice
        self.most_asked = 0

    async def read(self, n: int | None = None) -> bytes:
        count = n or READS_MAX
        await trio.lowlevel.checkpoint()
        self.most_asked = max(self.most_asked, count)
        size = min(count, self._dice.choice((1, 3, 50, 5000)))
        piece, self._octets = self._octets[:size], self._octets[size:]
        return piece


def spoil(dice: random.Random, octets: bytes) -> bytes:
    """A length changed, bytes changed, left out or put in."""
    at = dice.randrange(len(octets))
    match dice.randrange(5):
        case 0:
            return octets[:at] + dice.randbytes(1) + octets[at + 1 :]
        case 1:
            return octets[:at]
        case 2:
            return octets[:at] + b"\xff\xff\xff\xff" + octets[at:]
        case 3:
            return octets[:at] + bytes(4) + octets[at:]
        case _:
            return octets[:at] + octets[at + dice.randrange(1, 9) :]


async def heard(source: Source) -> tuple[list[bytes], bool]:
    """The frames that a reader cuts, and whether it came to the end of the stream without complaint."""
    reader, found = FrameReader(source.read), list[bytes]()
    try:
        while (body := await reader.next(LIMIT)) is not None:
            found.append(body)
    except (Malformed, TransportError):
        return found, False
    return found, True


async def test_frames_between_nodes_are_cut_or_refused() -> None:
    dice = random.Random(f"{SEED}/frames")
    for _ in range(4 * CASES):
        bodies = dice.choices(BODIES, k=dice.randint(1, 4))
        spoiled = spoil(dice, frames(bodies))
        source = Source(spoiled, dice)
        found, whole = await heard(source)
        assert all(len(body) <= LIMIT for body in found)
        assert spoiled.startswith(frames(found)), told(spoiled.hex())
        assert not whole or frames(found) == spoiled, told(spoiled.hex())
        assert source.most_asked <= READS_MAX, "more is read at once than a reader may hold"


def test_frames_of_the_control_socket_are_cut_or_refused() -> None:
    dice = random.Random(f"{SEED}/control")
    for _ in range(4 * CASES):
        sent = [(dice.choice((Kind.JSON, Kind.DATA)), body) for body in dice.choices(BODIES, k=3)]
        spoiled = spoil(dice, b"".join(control_frame(*one) for one in sent) + control_frame(Kind.END))
        decoder, again, left = FrameDecoder(json_limit=LIMIT), b"", spoiled
        try:
            while left:
                piece, left = left[: dice.choice((1, 40))], left[40:]
                decoder.feed(piece)
                while (one := decoder.next()) is not None:
                    again += control_frame(*one)
        except Malformed:
            continue
        assert len(again) <= len(spoiled) + HEADER_BYTES


async def test_a_line_of_negotiation_is_short_text_or_refused() -> None:
    dice = random.Random(f"{SEED}/lines")
    good = b"\x13/multistream/1.0.0\n"
    for _ in range(4 * CASES):
        spoiled = spoil(dice, good + b"\x80" * dice.choice((0, 20)))
        source = Source(spoiled, dice)
        try:
            line = await read_line(source)
        except (ParseError, IOException, MultiselectCommunicatorError):
            continue
        assert len(line) < limits.NEGOTIATION_LINE_BYTES_MAX
        line.decode()
        assert source.most_asked <= limits.NEGOTIATION_LINE_BYTES_MAX


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**32 - 1])
async def test_a_frame_over_its_limit_is_refused_before_its_body_is_read(length: int) -> None:
    source = Source(length.to_bytes(4, "big") + bytes(10_000_000), random.Random(0))
    assert await heard(source) == ([], False)
    assert source.most_asked <= READS_MAX
