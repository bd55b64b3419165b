"""A stream of a node with itself, so that reading its own copy takes the same way as everyone's."""

import trio

from protocol import limits
from protocol.errors import Malformed, TransportError
from protocol.keys import PublicKey


class LoopbackStream:
    """One end of a stream in memory, a `ports.Stream`; `pair` makes both."""

    def __init__(
        self,
        peer: PublicKey,
        outgoing: trio.MemorySendChannel[bytes],
        incoming: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self._peer, self._outgoing, self._incoming = peer, outgoing, incoming

    @classmethod
    def pair(cls, near: PublicKey, far: PublicKey) -> tuple["LoopbackStream", "LoopbackStream"]:
        """The ends at `near` and at `far`."""
        to_far, at_far = trio.open_memory_channel[bytes](limits.RUN_CHUNKS)
        to_near, at_near = trio.open_memory_channel[bytes](limits.RUN_CHUNKS)
        return cls(far, to_far, at_near), cls(near, to_near, at_far)

    @property
    def peer(self) -> PublicKey:
        return self._peer

    async def send(self, frame: bytes) -> None:
        with trio.move_on_after(limits.WRITE_S):
            try:
                await self._outgoing.send(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise TransportError("the other end is gone") from error
            return
        raise TransportError("the other end takes no bytes")

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        frame: bytes | None = None
        with trio.move_on_after(limits.IDLE_READ_S if timeout_s is None else timeout_s) as waiting:
            try:
                frame = await self._incoming.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                return None
        if waiting.cancelled_caught:
            raise TransportError("the other end sent nothing")
        if frame is not None and len(frame) > limit:
            raise Malformed(f"a frame of {len(frame)} bytes is over its limit of {limit}")
        return frame

    async def aclose(self) -> None:
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()
