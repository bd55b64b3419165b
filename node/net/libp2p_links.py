"""Connections: taken, dialled, kept to one per peer, watched and dropped."""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from multiaddr.exceptions import Error as MultiaddrError
from multiaddr.multiaddr import Multiaddr

from node.net.budget import Admission, Backoff
from node.net.libp2p_guards import PlainSwarm, identity_of, peer_id
from node.net.libp2p_socket import BufferedTcpStream
from node.net.peers import ConnectionStatus, Link, Peer, PeerAddress, PeerBook, surplus
from node.ports import Clock
from protocol import limits
from protocol.errors import Code, RemoteProtocolError, TransportError, UserError
from protocol.keys import PublicKey, fingerprint

logger = logging.getLogger(__name__)

WATCH_S: Final = 1.0
UNKNOWN: Final = Multiaddr("/ip4/0.0.0.0/tcp/0")


@dataclass(eq=False, slots=True)
class _Dial:
    """The task that keeps one member connected. `tried` is set once its first attempt is over."""

    addresses: tuple[Multiaddr, ...]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    tried: trio.Event = field(default_factory=trio.Event)


class Links:
    """All connections of a node, and who may have one.

    Strangers may not fill the room: two connections per member stay free of `connections_max`.
    """

    def __init__(
        self,
        own: PublicKey,
        *,
        clock: Clock,
        dial: bool,
        connections_max: int,
        on_member: Callable[[PublicKey], None],
        on_end: Callable[[PublicKey], None],
    ) -> None:
        self.book = PeerBook()
        self._own = own
        self._clock = clock
        self._dials_out = dial
        self._connections_max = connections_max
        self._on_member = on_member
        self._on_end = on_end
        self._admission = Admission(limits.HANDSHAKES_MAX, limits.HANDSHAKES_PER_ADDRESS_MAX)
        self._dials: dict[PublicKey, _Dial] = {}
        self._swarm: PlainSwarm | None = None
        self._nursery: trio.Nursery | None = None

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        """Replaces the members. Connections of those whose standing changed are closed, and made anew.

        Raises:
            UserError: an address is not a multiaddr.
        """
        wanted = {
            member.id_key: tuple(parse_address(text) for text in member.addresses)
            for member in members
            if member.id_key != self._own
        }
        for peer in self.book.set_members(wanted):
            self._close_peer(peer)
        for key, dial in list(self._dials.items()):
            if wanted.get(key) != dial.addresses:
                self._dials.pop(key).scope.cancel()
        for key, addresses in wanted.items():
            if addresses and self._dials_out and key not in self._dials:
                dial = self._dials[key] = _Dial(addresses)
                if self._nursery is not None:
                    self._nursery.start_soon(self._keep_connected, key, dial)

    def admit(self, key: PublicKey) -> bool:
        """Whether an identity that has just been proved may stay."""
        if self.book.is_member(key):
            return True
        now_ms = self._clock.elapsed_ms()
        return self.book.strangers() < self._room() and self.book.peer(key, now_ms).spend(now_ms)

    async def find(self, key: PublicKey) -> Link:
        """A connection with a peer; waits for the first attempt to dial it and for no other.

        Raises:
            TransportError: there is none.
        """
        link = self.book.live(key)
        if link is None and key in self._dials:
            await self._dials[key].tried.wait()
            link = self.book.live(key)
        if link is None:
            raise TransportError(f"{fingerprint(key)} is not connected", "see `chartmesh peers`")
        return link

    def blame(self, key: PublicKey, error: Exception) -> None:
        """Counts a mistake of a peer and closes its connections."""
        now_ms = self._clock.elapsed_ms()
        peer = self.book.peer(key, now_ms)
        peer.penalties += 1
        logger.info("dropping peer %s: %s", fingerprint(key), type(error).__name__)
        self._close_peer(peer)

    def handshakes(self) -> int:
        return self._admission.taken

    def statuses(self) -> list[ConnectionStatus]:
        return [self._status(link) for link in self.book.links()]

    async def run(self, swarm: PlainSwarm, sockets: Sequence[trio.SocketListener]) -> None:
        """Takes and makes connections until cancelled."""
        self._swarm = swarm
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                for key, dial in self._dials.items():
                    nursery.start_soon(self._keep_connected, key, dial)
                nursery.start_soon(self._watch, swarm)
                if sockets:
                    nursery.start_soon(trio.serve_listeners, self._accept, sockets)
                await trio.sleep_forever()
            finally:
                self._nursery = None
                await self._close_all()

    async def _close_all(self) -> None:
        """Closes all connections, side by side: one after the other takes a fifth of a second each."""
        with trio.move_on_after(limits.SHUTDOWN_GRACE_S) as scope:
            scope.shield = True
            async with trio.open_nursery() as nursery:
                for connection in self._swarm.get_connections() if self._swarm is not None else ():
                    nursery.start_soon(connection.close)

    async def _accept(self, socket: trio.SocketStream) -> None:
        try:
            host, port = socket.socket.getpeername()[:2]
        except OSError:  # gone already
            return
        if not self._admission.enter(host):
            return
        try:
            connection = await self._shake_hands(socket)
        finally:
            self._admission.leave(host)
        if connection is not None:
            family = "ip6" if ":" in host else "ip4"
            peer, link = self._register(connection, f"/{family}/{host}/tcp/{port}", outbound=False)
            await self._hold(peer, link)

    async def _shake_hands(self, socket: trio.SocketStream) -> Any:
        """The library's connection behind a new socket, or None where the handshake failed.

        Not the library's own entry, which keeps a token and a task of every connection for ever.
        """
        assert self._swarm is not None
        raw = RawConnection(BufferedTcpStream(socket), False)
        try:
            muxed = await self._swarm.upgrade_inbound_raw_conn(raw, UNKNOWN)
        except Exception as error:  # whatever a stranger's first bytes provoke costs that connection
            logger.debug("handshake failed: %s", type(error).__name__)
            return None
        known = self._swarm.get_connections(muxed.peer_id)
        return next((each for each in known if each.muxed_conn is muxed), None)

    async def _dial(self, key: PublicKey, addresses: Sequence[Multiaddr]) -> tuple[Any, str] | None:
        """One attempt at each address: a connection and its address, or None.

        Not through the library's own dialling, which waits 250 ms after each address, also on success, and
        remembers failures for a minute.
        """
        assert self._swarm is not None
        for address in addresses:
            with trio.move_on_after(limits.CONNECT_S):
                try:
                    return await self._swarm.dial_addr(address, peer_id(key)), str(address)
                except (SwarmException, IOException) as error:
                    logger.debug("cannot reach %s: %s", fingerprint(key), error)
        return None

    async def _keep_connected(self, key: PublicKey, dial: _Dial) -> None:
        """Dials a member whenever there is no connection with it.

        Both ends dial, so that the one that restarts is back at once; the one with the larger key waits a
        moment first, so that they seldom do it at the same time.
        """
        assert self._nursery is not None
        backoff = Backoff(limits.REDIAL_FIRST_S, limits.REDIAL_MOST_S)
        with dial.scope:
            if self._own > key:
                await trio.sleep(backoff.next_s())
            while True:
                dialled = None if self.book.live(key) else await self._dial(key, dial.addresses)
                if dialled is not None:
                    peer, link = self._register(*dialled, outbound=True)
                    self._nursery.start_soon(self._hold, peer, link)
                dial.tried.set()
                since_ms = self._clock.elapsed_ms()
                await self.book.peer(key, since_ms).away.wait()
                if self._clock.elapsed_ms() - since_ms > 1000 * limits.REDIAL_MOST_S:
                    backoff.reset()
                await trio.sleep(backoff.next_s())

    def _register(self, connection: Any, address: str, *, outbound: bool) -> tuple[Peer, Link]:
        """Enters a new connection in the book, and closes what it makes superfluous."""
        key = identity_of(connection.muxed_conn.peer_id)
        assert key is not None, "the upgrader admits no other identity"
        link = Link(key, address, outbound, self._clock.elapsed_ms(), self._clock.wall_ms(), connection)
        peer = self.book.add(link)
        if key in self._dials:
            self._dials[key].tried.set()
        superfluous = surplus([each for each in peer.links if not each.is_doomed], self._own)
        if not self.book.is_member(key):
            if self.book.strangers() > self._room():  # several were let in at once
                superfluous.append(link)
        elif link not in superfluous:
            self._on_member(key)
        for each in superfluous:
            self._close_soon(each)
        return peer, link

    def _room(self) -> int:
        """How many connections strangers may have."""
        return max(1, self._connections_max - 2 * len(self.book.members))

    async def _hold(self, peer: Peer, link: Link) -> None:
        """Keeps a connection in the book until it is over."""
        try:
            await link.connection.muxed_conn.event_closed.wait()
        finally:
            self.book.remove(peer, link)
            self._on_end(peer.id_key)

    def _close_peer(self, peer: Peer) -> None:
        """Closes all connections with a peer, those too that are not yet in the book."""
        for link in peer.links:
            link.is_doomed = True
        if self._nursery is not None and self._swarm is not None:
            for connection in self._swarm.get_connections(peer_id(peer.id_key)):
                self._nursery.start_soon(connection.close)

    def _close_soon(self, link: Link) -> None:
        link.is_doomed = True
        if self._nursery is not None:
            self._nursery.start_soon(link.connection.close)

    async def _watch(self, swarm: PlainSwarm) -> None:
        """Closes connections that send more than is read: the muxer holds no one to its window."""
        while True:
            await trio.sleep(WATCH_S)
            swarm.forget_departed()
            self.book.forget_strangers(self._clock.elapsed_ms())
            for peer in self.book.peers():
                if sum(map(buffered_bytes, peer.links)) > limits.PEER_BUFFER_BYTES_MAX:
                    self.blame(peer.id_key, RemoteProtocolError("the peer sends more than is read"))

    def _status(self, link: Link) -> ConnectionStatus:
        muxed = link.connection.muxed_conn
        peer = self.book.known(link.peer)
        return ConnectionStatus(
            id_key=link.peer,
            address=link.address,
            direction="out" if link.outbound else "in",
            round_trip_ms=round(1000 * muxed.rtt(), 2) or None,
            agent="",
            opened_ms=link.opened_ms,
            streams=len(link.connection.get_streams()),
            penalties=peer.penalties if peer is not None else 0,
        )


def buffered_bytes(link: Link) -> int:
    """What has arrived on a connection and was not yet read."""
    return sum(map(len, link.connection.muxed_conn.stream_buffers.values()))


def parse_address(text: str) -> Multiaddr:
    """Raises UserError where `text` is not a multiaddr with a TCP port."""
    try:
        address = Multiaddr(text)
        address.value_for_protocol("tcp")
    except (MultiaddrError, ValueError) as error:
        raise UserError(
            f"not an address: {text}", "write it as /ip4/192.0.2.7/tcp/4001", code=Code.CONFIG
        ) from error
    return address


async def bind(addresses: Sequence[str]) -> list[trio.SocketListener]:
    """Sockets that listen on the multiaddrs. The library would share their ports with any other process.

    Raises:
        UserError: an address is wrong, not of this machine, or taken.
    """
    parsed = [parse_address(text) for text in addresses]
    listeners: list[trio.SocketListener] = []
    try:
        for address in parsed:
            listeners += await _bind_one(address)
    except UserError:
        for listener in listeners:
            await listener.aclose()
        raise
    return listeners


async def _bind_one(address: Multiaddr) -> Sequence[trio.SocketListener]:
    host = next(str(part) for _, part in address.items())
    try:
        return await trio.open_tcp_listeners(int(address.value_for_protocol("tcp") or 0), host=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port in use: {address}",
                "stop the other process, or set another address under [network] listen",
                code=Code.PORT_IN_USE,
            ) from error
        raise UserError(
            f"cannot listen on {address}: {error.strerror}", "check [network] listen", code=Code.CONFIG
        ) from error
