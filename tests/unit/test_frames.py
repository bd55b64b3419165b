"""Frames cut from a stream that arrives in any pieces."""

import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from node.net.frames import FrameReader, frame, frames
from protocol.errors import Malformed, TransportError

ALONE = sys.getrefcount([bytes(10)][0]) + 2  # of what a list holds and a loop looks at


class Pieces:
    """A source that yields its bytes in pieces of the given sizes, then ends; counts what was asked for."""

    def __init__(self, octets: bytes, sizes: list[int]) -> None:
        self._octets, self._sizes = octets, sizes
        self.most_asked = 0

    async def read(self, count: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.most_asked = max(self.most_asked, count)
        size = min(count, self._sizes.pop(0) if self._sizes else len(self._octets))
        piece, self._octets = self._octets[:size], self._octets[size:]
        return piece


@given(
    st.lists(st.binary(max_size=300), max_size=10),
    st.lists(st.integers(min_value=1, max_value=200), max_size=50),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    bodies: list[bytes], sizes: list[int]
) -> None:
    async def run() -> list[bytes]:
        reader, heard = FrameReader(Pieces(frames(bodies), sizes).read), []
        while (body := await reader.next(300)) is not None:
            heard.append(body)
        return heard

    assert trio.run(run) == bodies


async def test_a_frame_over_its_limit_is_refused_by_its_length_alone() -> None:
    source = Pieces(b"\xff\xff\xff\xff", [])
    with pytest.raises(Malformed):
        await FrameReader(source.read).next(100)
    assert source.most_asked < 1 << 20


async def test_a_frame_of_just_the_limit_is_taken() -> None:
    assert await FrameReader(Pieces(frame(b"x" * 100), []).read).next(100) == b"x" * 100


@pytest.mark.parametrize("cut", range(1, 8))
async def test_an_end_inside_a_frame_is_no_end(cut: int) -> None:
    with pytest.raises(TransportError):
        await FrameReader(Pieces(frame(b"four")[:cut], []).read).next(100)


async def test_a_cancelled_read_loses_nothing() -> None:
    octets = frame(b"the whole of it")
    gate = trio.Event()

    async def read(count: int) -> bytes:
        nonlocal octets
        if len(octets) < 10:
            await gate.wait()
        piece, octets = octets[:7], octets[7:]
        return piece

    reader = FrameReader(read)
    with trio.move_on_after(0.01):
        await reader.next(100)
    gate.set()
    assert await reader.next(100) == b"the whole of it"


async def test_bytes_without_a_frame_can_be_taken_too() -> None:
    reader = FrameReader(Pieces(b"a" * 32 + b"b" * 32, [5, 40]).read)
    assert await reader.exactly(32) == b"a" * 32
    assert await reader.exactly(32) == b"b" * 32
    assert await reader.exactly(32) is None


async def test_who_waits_for_the_rest_of_a_frame_holds_what_came_once() -> None:
    pieces = [bytes([0, 0, 0, 250]), bytes(100), bytes(100), bytes(50)]
    held: list[int] = []

    async def read(count: int) -> bytes:
        await trio.lowlevel.checkpoint()
        held.extend(sys.getrefcount(piece) - ALONE for piece in pieces)
        return next(coming)

    coming = iter(pieces)
    assert await FrameReader(read).next(250) == bytes(250)
    assert not any(held)
