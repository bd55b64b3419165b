"""One libp2p stream as a `ports.Stream`: frames with deadlines, and a seemly end."""

from collections.abc import Callable
from typing import cast

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream

from node.net.frames import READ_BYTES, FrameReader, frame, frames
from node.net.libp2p_muxer import CalmStream
from protocol import limits
from protocol.errors import ChartmeshError, TooSlow, TransportError
from protocol.keys import PublicKey

FAREWELL_BYTES_MAX = 256 * limits.KIB


class Libp2pStream:
    """A `ports.Stream`. `spend` is called for each frame received and may refuse it by raising.

    `part` takes the library's stream over when we are done with it.
    """

    def __init__(
        self,
        stream: NetStream,
        peer: PublicKey,
        *,
        spend: Callable[[], None],
        part: Callable[[NetStream], None],
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._spend = spend
        self._part = part
        self._reader = FrameReader(self._read)
        self._writing = trio.Lock()
        self._torn = False

    @property
    def peer(self) -> PublicKey:
        return self._peer

    async def send(self, frame_body: bytes) -> None:
        await self._write(frame(frame_body))

    async def send_all(self, bodies: list[bytes]) -> None:
        """Several frames in one write. Raises as `send` does."""
        await self._write(frames(bodies))

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        try:
            return await self._receive(limit, limits.IDLE_READ_S if timeout_s is None else timeout_s)
        except ChartmeshError:
            self._reader.forget()
            raise

    async def echo(self, count: int) -> None:
        """Sends back what comes, `count` bytes at a time and counted as frames, until the peer ends it."""
        while (octets := await self._reader.exactly(count)) is not None:
            self._spend()
            await self._write(octets)

    async def aclose(self) -> None:
        """Says that we send no more, and lets go. Never waits for the peer, and is not cancelled."""
        self._part(self._stream)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _receive(self, limit: int, wait_s: float) -> bytes | None:
        with trio.move_on_after(wait_s) as scope:
            await self._reader.begin()
        if scope.cancelled_caught:
            raise TransportError(f"the peer sent nothing for {wait_s:g} s")
        # However long the wait for a frame: one that has begun is whole soon, or half of it stays here.
        with trio.move_on_after(limits.IDLE_READ_S) as scope:
            body = await self._reader.next(limit)
        if scope.cancelled_caught:
            raise TooSlow(f"the peer held up a frame for {limits.IDLE_READ_S:g} s")
        self._note_unframed()
        if body is not None:
            self._spend()
        return body

    async def _write(self, octets: bytes) -> None:
        with trio.move_on_after(limits.WRITE_S) as scope:
            async with self._writing:
                if self._torn:
                    raise TransportError("the stream ended inside a frame of ours")
                self._torn = True
                try:
                    await self._stream.write(octets)
                except IOException as error:
                    raise TransportError("the peer is gone or takes no bytes") from error
                self._torn = False
        if scope.cancelled_caught:
            raise TooSlow(f"the peer took no bytes for {limits.WRITE_S:g} s")

    async def _read(self, count: int) -> bytes:
        try:
            octets = await self._stream.read(count)
            self._note_unframed(len(octets))
            return octets
        except StreamEOF as error:
            if cast(Yamux, self._stream.muxed_conn).event_shutting_down.is_set():
                raise TransportError("the connection is lost") from error
            return b""
        except IOException as error:
            raise TransportError("the peer reset the stream") from error

    def _note_unframed(self, more: int = 0) -> None:
        """Tells the muxer what was taken out of it and still waits to be a frame."""
        muxed = cast(CalmStream, self._stream.muxed_stream)
        muxed.unframed_bytes = self._reader.buffered_bytes + more


async def finish(stream: NetStream) -> None:
    """Ends our side and waits for the end of the peer's; resets where that does not come in time.

    What still arrives is thrown away. So a stream counts against its peer until both have ended it.
    """
    muxed = cast(YamuxStream, stream.muxed_stream)
    if muxed.closed:
        return
    unread = FAREWELL_BYTES_MAX
    with trio.move_on_after(limits.IDLE_READ_S):
        try:
            await stream.close()
            while not muxed.closed and unread > 0:
                unread -= len(await muxed.read(READ_BYTES))
        except (MuxedStreamError, IOException):
            pass
    if not muxed.closed:
        await reset(stream)


async def reset(stream: NetStream) -> None:
    """Ends both sides at once, whatever happens to us meanwhile."""
    with trio.move_on_after(limits.CONNECT_S) as scope:
        scope.shield = True
        await stream.reset()
