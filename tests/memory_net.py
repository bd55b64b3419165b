"""Streams between the nodes of one test, in memory: for tests of what is above it."""

from collections.abc import Callable, Collection, Container, Sequence
from contextlib import suppress

import trio

from node.ports import DatagramHandler, GossipMessage, PeerAddress, Stream, StreamHandler
from node.records.loopback import LoopbackStream
from protocol.errors import TransportError
from protocol.keys import PublicKey

Tamper = Callable[[bytes], bytes | None]
"""What becomes of a frame that a server sends; None breaks the stream there."""


class Net:
    """Streams between the nodes of one test. `down` are not reached; `tampers` sit on what servers send."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.transports: dict[PublicKey, MemoryTransport] = {}
        self.down: set[PublicKey] = set()
        self.tampers: dict[PublicKey, Tamper] = {}
        self.delays_s: dict[PublicKey, float] = {}  # before each frame of a server
        self.sent: list[tuple[PublicKey, bytes]] = []
        self.dropped: list[tuple[PublicKey, Exception]] = []
        self.on_sent: Callable[[PublicKey, bytes], None] = lambda server, frame: None

    async def guard(self, handler: StreamHandler, stream: "_ServerEnd") -> None:
        try:
            with suppress(TransportError):
                await handler(stream)
        except Exception as error:  # the guard of this fake; tests look at what was dropped
            self.dropped.append((stream.server, error))
        finally:
            await stream.aclose()


class MemoryTransport:
    """A `ports.Transport` on a Net: streams only, everybody is always connected."""

    def __init__(self, net: Net, identity: PublicKey) -> None:
        self._net, self._identity = net, identity
        self._handlers: dict[str, StreamHandler] = {}
        net.transports[identity] = self

    @property
    def identity(self) -> PublicKey:
        return self._identity

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        assert strangers or protocol not in ("blob", "audit"), "patients use this protocol"
        self._handlers[protocol] = handler

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        pass

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        pass

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        pass

    async def open_stream(self, peer: PublicKey, protocol: str) -> Stream:
        await trio.lowlevel.checkpoint()
        if {peer, self._identity} & self._net.down:
            raise TransportError("the peer is down")
        near, far = LoopbackStream.pair(self._identity, peer)
        handler = self._net.transports[peer]._handlers[protocol]
        self._net.nursery.start_soon(self._net.guard, handler, _ServerEnd(self._net, peer, far))
        return near

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        return trio.open_memory_channel[GossipMessage](1)[1]

    async def publish(self, topic: str, payload: bytes) -> None:
        pass

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        return ()

    def connected(self) -> Sequence[PublicKey]:
        return sorted(set(self._net.transports) - self._net.down - {self._identity})

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        pass

    def shut_out(self, peers: Container[PublicKey]) -> None:
        pass

    def drop(self, peer: PublicKey) -> None:
        pass


class _ServerEnd:
    """A server's end of a stream, on which its frames are noted and perhaps tampered with."""

    def __init__(self, net: Net, server: PublicKey, stream: LoopbackStream) -> None:
        self._net, self.server, self._stream = net, server, stream
        self.receive, self.aclose = stream.receive, stream.aclose

    @property
    def peer(self) -> PublicKey:
        return self._stream.peer

    async def send(self, frame: bytes) -> None:
        self._net.on_sent(self.server, frame)
        self._net.sent.append((self.server, frame))
        await trio.sleep(self._net.delays_s.get(self.server, 0))
        tamper = self._net.tampers.get(self.server)
        tampered = frame if tamper is None else tamper(frame)
        if tampered is None or self.server in self._net.down:
            raise TransportError("cut")
        await self._stream.send(tampered)
