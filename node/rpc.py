"""Requests and replies, one frame each, on kept streams: no stream is opened on a warm path."""

import math
from collections.abc import Awaitable, Callable

import trio

from node.ports import Stream, Transport
from protocol import limits
from protocol.errors import TransportError
from protocol.keys import PublicKey

# A light client speaks four protocols and may hold limits.STRANGER_STREAMS_MAX streams in all.
# Of three protocols, with room below limits.STRANGER_STREAMS_MAX for a fetch and for the ping, without
# which a light client would take its clinic for dead.
IDLE_STREAMS_MAX = 2


class Caller:
    """Asks peers on one protocol. A stream carries one exchange at a time and is then kept."""

    def __init__(self, transport: Transport, protocol: str, *, reply_limit: int) -> None:
        self._transport, self._protocol, self._reply_limit = transport, protocol, reply_limit
        self._idle: dict[PublicKey, list[Stream]] = {}

    async def call(self, peer: PublicKey, request: bytes) -> bytes:
        """The reply of `peer`.

        Raises:
            TransportError: unreachable, gone, or no reply within limits.REQUEST_S.
            Malformed: a reply over the limit.
        """
        return await self.converse(peer, request)

    async def converse(
        self, peer: PublicKey, request: bytes, then: Callable[[bytes], bytes] | None = None
    ) -> bytes:
        """As `call`, but the reply to `request` is passed to `then`, which gives a second request for
        the same stream: such as one signed over a nonce from the first."""
        idle = self._idle.setdefault(peer, [])
        while idle:
            # A kept stream may have died unnoticed; only a fresh one's failure counts.
            try:
                return await self._exchange(idle.pop(), request, then)
            except TransportError:
                continue
        stream = await self._transport.open_stream(peer, self._protocol)
        return await self._exchange(stream, request, then)

    async def _exchange(
        self, stream: Stream, request: bytes, then: Callable[[bytes], bytes] | None
    ) -> bytes:
        is_done = False
        try:
            reply = await self._ask(stream, request)
            if then is not None:
                reply = await self._ask(stream, then(reply))
            is_done = True
            return reply
        finally:
            idle = self._idle.setdefault(stream.peer, [])
            if is_done and len(idle) < IDLE_STREAMS_MAX:
                idle.append(stream)
            else:
                with trio.CancelScope(deadline=trio.current_time() + limits.WRITE_S, shield=True):
                    await stream.aclose()

    async def _ask(self, stream: Stream, request: bytes) -> bytes:
        await stream.send(request)
        reply = await stream.receive(self._reply_limit, limits.REQUEST_S)
        if reply is None:
            raise TransportError("the peer closed the stream without a reply")
        return reply


async def answer_frames(
    stream: Stream, answer: Callable[[PublicKey, bytes], Awaitable[bytes]], *, limit: int
) -> None:
    """Serves one stream: each frame of at most `limit` bytes gets one reply, until the peer is done."""
    while (frame := await stream.receive(limit, math.inf)) is not None:
        await stream.send(await answer(stream.peer, frame))
