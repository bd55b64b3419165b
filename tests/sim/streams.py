"""A simulated stream: reliable and in order until a reset, with latency and a bounded window."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from protocol import limits
from protocol.errors import Malformed, TransportError
from protocol.keys import PublicKey

if TYPE_CHECKING:
    from tests.sim.network import SimNetwork
    from tests.sim.transport import SimTransport

WINDOW_BYTES = 1 * limits.MIB


class SimStream:
    """One end of a stream, a `ports.Stream`. `pair` makes both ends.

    A frame in flight sits in the receiver's `_wire`; its arrival only lets the next one in, so frames
    keep their order whatever their latencies. None is the end of the stream.
    """

    def __init__(
        self, network: "SimNetwork", host: "SimTransport", peer: PublicKey, protocol: str, is_server: bool
    ) -> None:
        self._network, self._host, self._peer = network, host, peer
        self.protocol, self.is_server = protocol, is_server
        self._link = network.link(host.identity, peer)
        self.other: SimStream
        self.spend: Callable[[], None] = lambda: None
        """Called for each frame received; raises where the peer is over its budget."""
        self._wire: deque[bytes | None] = deque()
        self._inbox: deque[bytes | None] = deque()
        self._unread_bytes = 0
        self._news = trio.lowlevel.ParkingLot()
        self._fault = ""
        self._is_open = False
        self._is_closed = False

    @classmethod
    def pair(
        cls, network: "SimNetwork", opener: "SimTransport", server: "SimTransport", protocol: str
    ) -> tuple["SimStream", "SimStream"]:
        """The opener's end and the server's end."""
        near = cls(network, opener, server.identity, protocol, False)
        far = cls(network, server, opener.identity, protocol, True)
        near.other, far.other = far, near
        return near, far

    @property
    def local(self) -> PublicKey:
        return self._host.identity

    @property
    def peer(self) -> PublicKey:
        return self._peer

    @property
    def is_over(self) -> bool:
        return bool(self._fault) or (self._is_closed and self.other._is_closed)

    def answer(self) -> None:
        """The peer took the stream."""
        self._is_open = True
        self._news.unpark_all()

    async def wait_opened(self) -> None:
        """Until the peer took the stream. Raises TransportError where it did not."""
        while not self._is_open and not self._fault:
            await self._news.park()
        if self._fault:
            raise TransportError(self._fault, "")

    async def send(self, frame: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if not self._host.is_on:
            self.reset("this node is down")
        with trio.move_on_after(limits.WRITE_S):
            while self.other._unread_bytes >= WINDOW_BYTES and not self._fault:
                await self._news.park()
        if self._is_closed:
            raise TransportError("the stream was closed here", "")
        if self._fault:
            raise TransportError(self._fault, "")
        if self.other._unread_bytes >= WINDOW_BYTES:
            self.reset("the peer reads too slowly")
            raise TransportError(self._fault, "")
        self._put(frame)

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(limits.IDLE_READ_S if timeout_s is None else timeout_s):
            while not self._inbox and not self._fault:
                await self._news.park()
        if not self._inbox:
            self.reset(self._fault or "nothing came within the deadline")
            raise TransportError(self._fault, "")
        if self._inbox[0] is None:
            return None
        frame = self._inbox.popleft()
        assert frame is not None
        self._unread_bytes -= len(frame)
        self.other._news.unpark_all()
        if len(frame) > limit:
            self.reset("a frame over its limit")
            raise Malformed(f"frame of {len(frame)} bytes is over its limit of {limit}")
        self.spend()
        for watch in self._network.read_watches:
            watch(self, frame)
        return frame

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Says that nothing more comes. What was sent before still arrives."""
        if not self._is_closed and not self._fault and self._host.is_on:
            self._is_closed = True
            self._put(None)
            self._network.forget_if_over(self)

    def reset(self, reason: str) -> None:
        """Breaks the stream from this end. A node that is down reaches only its own."""
        self._fail(reason)
        if self._host.is_on:
            self.sever(reason)

    def sever(self, reason: str) -> None:
        """Breaks both ends; what was not read yet is lost."""
        self._fail(reason)
        self.other._fail(reason)
        self._network.forget_if_over(self)

    def _fail(self, reason: str) -> None:
        if not self._fault:
            self._fault = reason
            self._wire.clear()
            self._inbox.clear()
            self._news.unpark_all()

    def _put(self, frame: bytes | None) -> None:
        self._network.trace_frame(self, frame)
        other = self.other
        other._wire.append(frame)
        other._unread_bytes += 0 if frame is None else len(frame)
        if self._link.resets_stream():
            self.sever("the connection was reset")
        else:
            self._link.carry(other._let_in)

    def _let_in(self) -> None:
        if self._wire:
            self._inbox.append(self._wire.popleft())
            self._news.unpark_all()
