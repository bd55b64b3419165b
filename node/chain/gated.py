"""A transport with a gate: once it is shut, nothing comes in or goes out but on the protocols left open.

One place for "this node has stopped": no service has to ask for itself, and none that is added later can
forget to.
"""

from collections.abc import Callable, Collection, Container, Sequence

import trio

from node.ports import DatagramHandler, GossipMessage, PeerAddress, Stream, StreamHandler, Transport
from protocol.errors import TransportError
from protocol.keys import PublicKey


class GatedTransport:
    """A `ports.Transport` around another. `is_shut` is asked at every frame."""

    def __init__(
        self, inner: Transport, is_shut: Callable[[], bool], *, left_open: Collection[str]
    ) -> None:
        self._inner, self._is_shut, self._left_open = inner, is_shut, frozenset(left_open)

    @property
    def identity(self) -> PublicKey:
        return self._inner.identity

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        async def serve(stream: Stream) -> None:
            if not self._stops(protocol):
                await handler(_GatedStream(stream, lambda: self._stops(protocol)))

        self._inner.serve(protocol, serve, strangers=strangers)

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        async def receive(peer: PublicKey, payload: bytes) -> None:
            if not self._stops(protocol):
                await handler(peer, payload)

        self._inner.serve_datagrams(protocol, receive, limit=limit)

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        self._inner.set_members(members)

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        if not self._stops(protocol):
            self._inner.send(peer, protocol, payload)

    async def open_stream(self, peer: PublicKey, protocol: str) -> Stream:
        if self._stops(protocol):
            await trio.lowlevel.checkpoint()
            raise _stopped()
        return _GatedStream(await self._inner.open_stream(peer, protocol), lambda: self._stops(protocol))

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        return self._inner.subscribe(topic)

    async def publish(self, topic: str, payload: bytes) -> None:
        if self._is_shut():
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.publish(topic, payload)

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        return self._inner.subscribers(topic)

    def connected(self) -> Sequence[PublicKey]:
        return self._inner.connected()

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        self._inner.on_connected(callback)

    def shut_out(self, peers: Container[PublicKey]) -> None:
        self._inner.shut_out(peers)

    def drop(self, peer: PublicKey) -> None:
        self._inner.drop(peer)

    def _stops(self, protocol: str) -> bool:
        return protocol not in self._left_open and self._is_shut()


class _GatedStream:
    """A `ports.Stream` that ends where the gate is shut while it is open."""

    def __init__(self, inner: Stream, is_shut: Callable[[], bool]) -> None:
        self._inner, self._is_shut = inner, is_shut

    @property
    def peer(self) -> PublicKey:
        return self._inner.peer

    async def send(self, frame: bytes) -> None:
        if self._is_shut():
            await trio.lowlevel.checkpoint()
            raise _stopped()
        await self._inner.send(frame)

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        frame = await self._inner.receive(limit, timeout_s)
        if self._is_shut():
            raise _stopped()
        return frame

    async def aclose(self) -> None:
        await self._inner.aclose()


def _stopped() -> TransportError:
    return TransportError("this node has stopped", "see: chartmesh status")
