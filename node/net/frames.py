"""Frames on a byte stream: a length of four bytes, big-endian, then so many bytes.

The length is judged before anything is read or reserved for the body.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from protocol.errors import LocalProtocolError, Malformed, TransportError

HEADER_BYTES: Final = 4
READ_BYTES: Final = 64 * 1024
LENGTH_MAX: Final = (1 << 8 * HEADER_BYTES) - 1

Read = Callable[[int], Awaitable[bytes]]
"""Some bytes, at most as many as asked for; none at the end of the stream."""


def frame(body: bytes) -> bytes:
    """`body` with its length in front: what one write puts on the stream."""
    if len(body) > LENGTH_MAX:
        raise LocalProtocolError(f"a frame of {len(body)} bytes has no length prefix")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def frames(bodies: Sequence[bytes]) -> bytes:
    """Several frames behind each other, for one write."""
    return b"".join(frame(body) for body in bodies)


class FrameReader:
    """Cuts what `read` yields into frames.

    What was read stays in the buffer until its frame is complete, so that a cancelled `next` loses nothing.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = bytearray()
        self._is_over = False

    @property
    def buffered_bytes(self) -> int:
        """What was read and not yet handed out."""
        return len(self._buffer)

    def forget(self) -> None:
        """Gives back what was read: the stream is over. Whoever holds a failed reader would else hold that
        too, and cut-off peers are many where there is an attack."""
        self._buffer.clear()
        self._is_over = True

    async def begin(self) -> None:
        """Returns once the next frame has begun, or the stream has ended. Cancelled, it loses nothing."""
        if not self._buffer:
            await self._take(READ_BYTES)

    async def next(self, limit: int) -> bytes | None:
        """The body of the next frame, or None at the end of the stream.

        Raises:
            Malformed: the frame is longer than `limit` bytes.
            TransportError: the stream ended inside a frame.
        """
        if not await self._hold(HEADER_BYTES):
            return None
        length = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        if length > limit:
            raise Malformed(f"a frame of {length} bytes is over its limit of {limit}")
        end = HEADER_BYTES + length
        await self._hold(end)
        return self._cut(HEADER_BYTES, end)

    async def exactly(self, count: int) -> bytes | None:
        """The next `count` bytes as they are; None at the end of the stream. Raises as `next` does."""
        return self._cut(0, count) if await self._hold(count) else None

    def _cut(self, start: int, end: int) -> bytes:
        with memoryview(self._buffer) as view:
            body = bytes(view[start:end])
        del self._buffer[:end]
        return body

    async def _hold(self, count: int) -> bool:
        """Reads until the buffer holds `count` bytes; False where the stream ends before the first."""
        while len(self._buffer) < count:
            await self._take(max(READ_BYTES, count - len(self._buffer)))
            if self._is_over:
                if self._buffer:
                    raise TransportError("the stream ended inside a frame")
                return False
        return True

    async def _take(self, count: int) -> None:
        """Reads at most `count` bytes. A loop would keep the last piece while it waits for the next."""
        if not self._is_over:
            piece = await self._read(count)
            self._is_over = not piece
            self._buffer += piece
