"""The simulated adapter of `ports.Transport`: one life of one node on the simulated network."""

from collections.abc import Callable, Collection, Container, Sequence

import trio

from node.net.peers import Peer, PeerBook
from node.ports import DatagramHandler, GossipMessage, PeerAddress, StreamHandler, TaskStatus
from protocol import limits
from protocol.errors import (
    LocalProtocolError,
    Malformed,
    RemoteProtocolError,
    StorageError,
    TransportError,
)
from protocol.keys import PublicKey
from tests.sim.network import Connection, SimNetwork
from tests.sim.streams import SimStream

INBOX_MESSAGES = 512


class SimTransport:
    """`members` are admitted to everything; others reach protocols registered with `strangers`.

    `dials` are the peers to which this node keeps a connection up: for a member every other member,
    for a light client the clinics that it knows.
    """

    def __init__(
        self,
        network: SimNetwork,
        identity: PublicKey,
        *,
        members: Collection[PublicKey],
        dials: Collection[PublicKey],
    ) -> None:
        self._network, self._identity = network, identity
        self._book = PeerBook()
        self._book.set_members(members)
        self.dials = frozenset(dials)
        self._streams: dict[str, tuple[StreamHandler, bool]] = {}
        self._datagrams: dict[str, tuple[DatagramHandler, int]] = {}
        self._topics: dict[str, trio.MemorySendChannel[GossipMessage]] = {}
        self._callbacks: list[Callable[[PublicKey], None]] = []
        self._inboxes: dict[PublicKey, trio.MemorySendChannel[tuple[str, bytes]]] = {}
        self._met: set[PublicKey] = set()
        self._shut_out: Container[PublicKey] = ()
        self._nursery: trio.Nursery | None = None
        self._came_up = trio.lowlevel.ParkingLot()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """On the network until cancelled.

        Raises:
            LocalProtocolError, StorageError: one of our own handlers failed.
        """
        async with trio.open_nursery() as self._nursery:
            self._network.attach(self)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # At once, and not when the last handler is done: nothing more may start.
                self.power_off()

    def power_off(self) -> None:
        """Off the network at once, as by a crash. Nothing sent afterwards leaves."""
        self._nursery = None
        self._network.detach(self)

    # The port.

    @property
    def is_on(self) -> bool:
        return self._nursery is not None

    @property
    def identity(self) -> PublicKey:
        return self._identity

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        keys = {member.id_key for member in members}
        changed = keys ^ self._book.members
        self._book.set_members(keys)
        self.dials = frozenset(keys - {self._identity})
        self._network.standing_changed(self, sorted(changed))

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        self._streams[protocol] = (handler, strangers)

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        self._datagrams[protocol] = (handler, limit)

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        if self.is_on:
            self._network.datagram(self, peer, protocol, payload)

    async def open_stream(self, peer: PublicKey, protocol: str) -> SimStream:
        stream: SimStream | None = None
        with trio.move_on_after(limits.STREAM_OPEN_S):
            connection = await self._connection(peer)
            server = connection.other(self)
            stream, far = SimStream.pair(self._network, self, server, protocol)
            connection.streams[far] = self._identity
            stream.spend = self._spender(self._peer(peer))
            self._network.link(self._identity, peer).carry(server.accept_stream, far, protocol)
            await stream.wait_opened()
            return stream
        if stream is not None:
            stream.reset("the peer did not answer")
        raise TransportError("the peer did not answer in time", "")

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        self._topics[topic], receive = trio.open_memory_channel[GossipMessage](limits.GOSSIP_QUEUE_MAX)
        return receive

    async def publish(self, topic: str, payload: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if topic not in self._topics or len(payload) > limits.GOSSIP_BYTES_MAX:
            raise LocalProtocolError(f"cannot publish {len(payload)} bytes on topic {topic}")
        if self.is_on:
            self._network.gossip(self, topic, payload)

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        peers = (connection.other(self) for connection in self._network.connections_of(self))
        return {peer.identity for peer in peers if topic in peer._topics}

    def connected(self) -> Sequence[PublicKey]:
        return sorted(item.other(self).identity for item in self._network.connections_of(self))

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        self._callbacks.append(callback)

    def shut_out(self, peers: Container[PublicKey]) -> None:
        self._shut_out = peers

    def drop(self, peer: PublicKey) -> None:
        self._network.hang_up(self, peer)

    # What the network calls.

    def shuts_out(self, peer: PublicKey) -> bool:
        """Whether no connection with `peer` is taken; where the disk failed, none with anyone."""
        try:
            return peer in self._shut_out
        except StorageError:
            return True

    def admits(self, peer: PublicKey) -> bool:
        return self._book.is_member(peer)

    def came_up(self, peer: PublicKey) -> None:
        self._met.add(peer)
        self._came_up.unpark_all()
        if self.admits(peer):
            for callback in self._callbacks:
                callback(peer)

    def accept_datagram(self, sender: PublicKey, protocol: str, payload: bytes) -> None:
        if self._nursery is None:
            return
        if not self.admits(sender):
            self._network.world.trace.note("refuse", self._network.name_of(self._identity), "", payload)
            return
        inbox = self._inboxes.get(sender)
        if inbox is None:
            inbox, receive = trio.open_memory_channel[tuple[str, bytes]](INBOX_MESSAGES)
            self._inboxes[sender] = inbox
            self._nursery.start_soon(self._receive, sender, receive)
        try:
            inbox.send_nowait((protocol, payload))
        except trio.WouldBlock:
            self._overflow(protocol)

    def accept_gossip(self, origin: PublicKey, topic: str, payload: bytes) -> bool:
        """Whether it waits for its reader now."""
        channel = self._topics.get(topic)
        if channel is not None:
            try:
                channel.send_nowait(GossipMessage(topic, origin, payload))
                return True
            except trio.WouldBlock:
                self._overflow(topic)
            except trio.BrokenResourceError:
                del self._topics[topic]
        return False

    def accept_stream(self, stream: SimStream, protocol: str) -> None:
        """Starts the handler of an inbound stream, or refuses the stream."""
        served, peer = self._streams.get(protocol), self._peer(stream.peer)
        if stream.is_over or self._nursery is None:
            return
        if served is None or not (served[1] or self.admits(stream.peer)) or not peer.streams.enter():
            stream.reset("the peer does not take the stream")
            return
        stream.spend = self._spender(peer, prepaid=1)
        self._nursery.start_soon(self._serve, served[0], stream, peer)
        self._network.link(self._identity, stream.peer).carry(stream.other.answer)

    # Inside.

    def _peer(self, identity: PublicKey) -> Peer:
        return self._book.peer(identity, self._network.world.timeline.now_ms())

    def _spender(self, peer: Peer, *, prepaid: int = 0) -> Callable[[], None]:
        """What each frame of a stream costs; the first `prepaid` were paid for with the stream."""
        left = prepaid

        def spend() -> None:
            nonlocal left
            left -= 1
            if left < 0 and not peer.spend(self._network.world.timeline.now_ms()):
                error = RemoteProtocolError("the peer is over its budget of requests")
                self._network.drop(self, peer.id_key, error)
                raise error

        return spend

    async def _connection(self, peer: PublicKey) -> Connection:
        """Waits for the first connection with a peer that is there, and for no other."""
        await trio.lowlevel.checkpoint()
        while True:
            connection = self._network.connection(self._identity, peer)
            if connection is not None and self in connection.ends:
                return connection
            if peer in self._met or peer not in self.dials or self._network.online(peer) is None:
                raise TransportError("the peer is not connected", "")
            await self._came_up.park()

    async def _receive(
        self, sender: PublicKey, inbox: trio.MemoryReceiveChannel[tuple[str, bytes]]
    ) -> None:
        async for protocol, payload in inbox:
            served = self._datagrams.get(protocol)
            if served is None:
                continue
            handler, limit = served
            try:
                if len(payload) > limit:
                    raise Malformed(f"datagram of {len(payload)} bytes is over its limit of {limit}")
                await handler(sender, payload)
            except Exception as error:  # the guard: a peer's mistake costs that peer its connection
                self._judge(sender, error)

    async def _serve(self, handler: StreamHandler, stream: SimStream, peer: Peer) -> None:
        try:
            if not peer.spend(self._network.world.timeline.now_ms()):
                raise RemoteProtocolError("the peer is over its budget of requests")
            await handler(stream)
        except Exception as error:  # the guard
            self._judge(stream.peer, error)
            stream.reset("the peer broke off")
        finally:
            peer.streams.leave()
            stream.close()

    def _judge(self, peer: PublicKey, error: Exception) -> None:
        """Our own failures stop the node, an unreachable peer is nobody's fault, all else is the peer's."""
        if isinstance(error, LocalProtocolError | StorageError):
            raise error
        if not isinstance(error, TransportError):
            self._network.drop(self, peer, error)

    def _overflow(self, what: str) -> None:
        name = self._network.name_of(self._identity)
        self._network.world.trace.note("overflow", name, "", what.encode())
