"""Connections: taken, dialled, kept to one per peer, watched and dropped."""

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from multiaddr.multiaddr import Multiaddr

from node.addresses import dial_problem, without_peer
from node.net.budget import Backoff, Shares
from node.net.door import CROWDED, UNPROVED, Door, place_of
from node.net.libp2p_guards import NotAdmitted, PlainSwarm, identity_of, peer_id
from node.net.libp2p_listening import host_of, parse_address
from node.net.libp2p_muxer import GuardedYamux, MuxerRules
from node.net.libp2p_socket import BUFFER_BYTES, STRANGER_BUFFER_BYTES, BufferedTcpStream
from node.net.offenders import Offence, Offenders, reason_of
from node.net.peers import ConnectionStatus, Link, Peer, PeerBook, surplus
from node.ports import Clock, PeerAddress
from protocol import limits
from protocol.errors import RemoteProtocolError, TransportError, UserError
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
        self._offenders = Offenders()
        self._door = Door()
        self._unread = Shares(limits.STRANGERS_BUFFER_BYTES_MAX)
        self._dials: dict[PublicKey, _Dial] = {}
        self._shut_out: Container[PublicKey] = ()
        self._swarm: PlainSwarm | None = None
        self._nursery: trio.Nursery | None = None

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        """Replaces the members. Connections of those whose standing changed are closed, and made anew."""
        wanted = {member.id_key: tuple(_usable(member)) for member in members if member.id_key != self._own}
        self._door.expect(host_of(str(address)) for addresses in wanted.values() for address in addresses)
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
        now_ms = self._clock.elapsed_ms()
        if key in self._shut_out or self._offenders.is_blocked(key, now_ms):
            return False
        if self.book.is_member(key):
            return True
        return self.book.strangers() < self._room() and self.book.peer(key, now_ms).spend(now_ms)

    def shut_out(self, keys: Container[PublicKey]) -> None:
        """Admits none of `keys` from now on."""
        self._shut_out = keys

    def drop(self, key: PublicKey) -> None:
        """Closes all connections with one identity; it is nobody's fault."""
        peer = self.book.known(key)
        if peer is not None:
            self._close_peer(peer)

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
        """Counts a mistake of a peer and closes its connections; many keep it out for a while."""
        now_ms = self._clock.elapsed_ms()
        peer = self.book.peer(key, now_ms)
        if all(link.is_doomed for link in peer.links) and peer.links:
            return  # what it sent before it was cut off is the same offence
        peer.penalties += 1
        reason = reason_of(error)
        address = peer.links[-1].address if peer.links else ""
        is_blocked = self._offenders.note(
            key, reason, now_ms, address=address, is_member=self.book.is_member(key)
        )
        logger.info("dropping peer %s: %s%s", fingerprint(key), reason, "; blocked" if is_blocked else "")
        self._close_peer(peer)

    def block(self, key: PublicKey, for_ms: float) -> None:
        """Keeps a peer out for so long from now on; with 0, lets it in again and forgets its offences."""
        now_ms = self._clock.elapsed_ms()
        if not for_ms:
            self._offenders.forgive(key)
            return
        self._offenders.block(key, now_ms, now_ms + for_ms, is_member=self.book.is_member(key))
        self._close_peer(self.book.peer(key, now_ms))

    def offences(self) -> list[Offence]:
        return self._offenders.offences(self._clock.elapsed_ms(), self._clock.wall_ms())

    def rules(self, key: PublicKey) -> MuxerRules:
        """What the muxer of a connection with `key` holds it to."""
        if self.book.is_member(key):
            return MuxerRules(limits.RECEIVE_WINDOW_BYTES, self._member_may_hold)
        return MuxerRules(limits.STRANGER_WINDOW_BYTES, self._stranger_may_hold)

    def handshakes(self) -> int:
        return self._door.handshakes

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
                nursery.start_soon(self._watch)
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
        scope = trio.CancelScope()
        place = self._door.enter(host, self._clock.elapsed_ms(), scope.cancel)
        if isinstance(place, str):
            self._blame_address(host, place)
            return
        connection: Any = UNPROVED
        try:
            with scope:
                connection = await self._shake_hands(socket)
        finally:
            self._door.leave(place)
        if isinstance(connection, str):
            self._blame_address(host, connection)
        elif connection is not None:
            family = "ip6" if ":" in host else "ip4"
            peer, link = self._register(connection, f"/{family}/{host}/tcp/{port}", outbound=False)
            await self._hold(peer, link)

    async def _shake_hands(self, socket: trio.SocketStream) -> Any:
        """The library's connection behind a new socket; None where its peer may not come in, and a reason
        where it did not prove who it is.

        Not the library's own entry, which keeps a token and a task of every connection for ever.
        """
        assert self._swarm is not None
        stream = BufferedTcpStream(socket, STRANGER_BUFFER_BYTES)
        raw = RawConnection(stream, False)
        try:
            muxed = await self._swarm.upgrade_inbound_raw_conn(raw, UNKNOWN)
        except Exception as error:  # whatever a stranger's first bytes provoke costs that connection
            logger.debug("handshake failed: %s", type(error).__name__)
            return None if isinstance(error.__cause__, NotAdmitted) else UNPROVED
        key = identity_of(muxed.peer_id)
        if key is not None and self.book.is_member(key):
            stream.buffer_bytes = BUFFER_BYTES
        known = self._swarm.get_connections(muxed.peer_id)
        return next((each for each in known if each.muxed_conn is muxed), None)

    def _blame_address(self, host: str, reason: str) -> None:
        """Names the address of an offender that never said who it is. It is not shut out: a whole clinic
        or a mobile network may be behind it, and the door holds it to its rate anyway."""
        name = place_of(host)
        self._offenders.note(
            name, reason, self._clock.elapsed_ms(), address=host, is_member=False, may_block=False
        )

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
                is_wanted = self.book.live(key) is None and key not in self._shut_out
                dialled = await self._dial(key, dial.addresses) if is_wanted else None
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
            elif self._is_crowded(address):
                superfluous.append(link)
                self._blame_address(host_of(address), CROWDED)
        elif link not in superfluous:
            self._on_member(key)
        for each in superfluous:
            self._close_soon(each)
        return peer, link

    def _is_crowded(self, address: str) -> bool:
        """Whether strangers at one address have more connections than are their due."""
        place = place_of(host_of(address))
        strangers = (link for link in self.book.links() if not self.book.is_member(link.peer))
        here = sum(place_of(host_of(link.address)) == place for link in strangers if not link.outbound)
        return here > limits.CONNECTIONS_PER_ADDRESS_MAX

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

    async def _watch(self) -> None:
        """Forgets who left, and counts again what nobody has read."""
        while True:
            await trio.sleep(WATCH_S)
            now_ms = self._clock.elapsed_ms()
            self.book.forget_strangers(now_ms)
            self._door.forget(now_ms)
            self._count_unread()

    def _member_may_hold(self, muxer: GuardedYamux, count: int) -> bool:
        return count <= limits.PEER_BUFFER_BYTES_MAX

    def _stranger_may_hold(self, muxer: GuardedYamux, count: int) -> bool:
        """Whether so many bytes of a stranger may wait here, unread. Where all strangers together have
        sent too much, whoever sent most goes."""
        if count > limits.STRANGER_BUFFER_BYTES_MAX:
            return False
        self._unread.put(muxer, count)
        if self._unread.is_over():
            self._count_unread()
            self._unread.put(muxer, count)
        while self._unread.is_over():
            largest = cast(GuardedYamux, self._unread.largest())
            self._unread.put(largest, 0)
            if largest is muxer:
                return False
            largest.fail(RemoteProtocolError("the peer sends more than is read"))
        return True

    def _count_unread(self) -> None:
        self._unread.clear()
        for link in self.book.links():
            if not self.book.is_member(link.peer):
                self._unread.put(link.connection.muxed_conn, link.connection.muxed_conn.unread_bytes())

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


def _usable(member: PeerAddress) -> Iterator[Multiaddr]:
    """Where a member can be dialled. What its card says, it wrote itself: nobody may stop over it."""
    for text in member.addresses:
        try:
            address = parse_address(without_peer(text))
        except UserError as error:
            logger.warning("%s cannot be dialled: %s", fingerprint(member.id_key), error)
            continue
        if dial_problem(text):
            logger.warning("%s cannot be dialled: %s", fingerprint(member.id_key), dial_problem(text))
        else:
            yield address
