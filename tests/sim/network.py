"""The simulated network: links between named nodes, connections over them, and gossip.

Two nodes hold a connection while both run, one of them dials the other and at least one direction is
open. What left with a crash or a cut is noticed late; what healed is dialled again late. Datagrams and
gossip pass while there is a connection; streams also need both directions.

Left out on purpose: bandwidth, addresses and handshakes, and gossip's own repair.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from protocol.errors import ChartmeshError
from protocol.keys import PublicKey
from tests.sim.links import Link, Weather
from tests.sim.streams import SimStream
from tests.sim.world import Violation, World

if TYPE_CHECKING:
    from tests.sim.transport import SimTransport

Pair = tuple[PublicKey, PublicKey]
Watch = Callable[[PublicKey, PublicKey, str, bytes], None]

NOTICE_MS_MAX = 4_000
REDIAL_MS_MAX = 1_500


def _pair(one: PublicKey, two: PublicKey) -> Pair:
    return (one, two) if one < two else (two, one)


class Connection:
    """Two running transports that reach each other, and the streams between them."""

    def __init__(self, ends: tuple["SimTransport", "SimTransport"]) -> None:
        self.ends = ends
        self.streams: dict[SimStream, PublicKey] = {}
        """The server's end of each stream, with the peer that opened it."""

    def other(self, end: "SimTransport") -> "SimTransport":
        return self.ends[1] if end is self.ends[0] else self.ends[0]


class SimNetwork:
    """All links and connections. `watches` see every datagram as it is sent, lost ones included."""

    def __init__(self, world: World, weather: Weather | None = None) -> None:
        self.world = world
        self.weather = weather or Weather()
        self.watches: list[Watch] = []
        self.gossip_watches: list[Callable[[PublicKey, str, bytes], None]] = []
        self.hearing_watches: list[Callable[[PublicKey, str, bytes], None]] = []
        """See what arrives by gossip, by whom it is heard."""
        self.frame_watches: list[Callable[[SimStream, bytes | None], None]] = []
        """See every frame that is put on a stream, from the sender's end; None is the end of it."""
        self.read_watches: list[Callable[[SimStream, bytes], None]] = []
        """See every frame that is taken from a stream, from the reader's end."""
        self._dice = world.dice("connections")
        self._names: dict[PublicKey, str] = {}
        self._links: dict[Pair, Link] = {}
        self._online: dict[PublicKey, SimTransport] = {}
        self._connections: dict[Pair, Connection] = {}
        self._dialling: set[Pair] = set()

    # Places.

    def name(self, identity: PublicKey, name: str) -> None:
        """Gives a node the name that stands in the trace."""
        self._names[identity] = name

    def name_of(self, identity: PublicKey) -> str:
        return self._names.get(identity) or identity.hex()[:8]

    def link(self, sender: PublicKey, receiver: PublicKey) -> Link:
        """The one direction from `sender` to `receiver`."""
        link = self._links.get((sender, receiver))
        if link is None:
            name = f"link/{self.name_of(sender)}>{self.name_of(receiver)}"
            link = Link(self.world.timeline, self.weather, self.world.dice(name))
            self._links[sender, receiver] = link
        return link

    def attach(self, transport: "SimTransport") -> None:
        """A node comes up. What an earlier life of it left behind breaks now."""
        identity = transport.identity
        for pair, connection in list(self._connections.items()):
            if identity in pair:
                self._break(pair, connection, "the peer restarted")
        self._online[identity] = transport
        self.world.trace.note("online", self.name_of(identity))
        for other in list(self._online):
            self._settle(identity, other)

    def detach(self, transport: "SimTransport") -> None:
        """A node goes down, at once; its peers notice later."""
        identity = transport.identity
        if self._online.get(identity) is transport:
            del self._online[identity]
            self.world.trace.note("offline", self.name_of(identity))
            for pair in list(self._connections):
                if identity in pair:
                    self._settle(*pair)

    def online(self, identity: PublicKey) -> "SimTransport | None":
        return self._online.get(identity)

    # Faults.

    def set_cuts(self, cuts: Iterable[Pair]) -> None:
        """Cuts exactly these directions and mends all others that were cut."""
        wanted = set(cuts)
        for pair in [*self._links, *(pair for pair in sorted(wanted) if pair not in self._links)]:
            link = self.link(*pair)
            if pair in wanted:
                link.cut()
            elif link.is_cut:
                link.uncut()
        for one, two in self._pairs():
            self._settle(one, two)

    def cut_off(self, ones: Iterable[PublicKey], others: Iterable[PublicKey]) -> None:
        """Cuts both directions between each of `ones` and each of `others`, and mends all that was cut."""
        far = list(others)
        self.set_cuts(pair for one in ones for two in far for pair in ((one, two), (two, one)))

    def heal(self) -> None:
        """Opens every link and lets the weather calm down."""
        self.weather.calm()
        for link in self._links.values():
            link.unclog()
        self.set_cuts(())

    # Connections.

    def connection(self, one: PublicKey, two: PublicKey) -> Connection | None:
        return self._connections.get(_pair(one, two))

    def connections_of(self, transport: "SimTransport") -> list[Connection]:
        return [item for item in self._connections.values() if transport in item.ends]

    def standing_changed(self, transport: "SimTransport", peers: Iterable[PublicKey]) -> None:
        """Who became a member or ceased to be one is met anew."""
        for peer in peers:
            pair = _pair(transport.identity, peer)
            connection = self._connections.get(pair)
            if connection is not None and transport in connection.ends:
                self._break(pair, connection, "the peer's standing changed")
            elif self._online.get(transport.identity) is transport:
                self._settle(transport.identity, peer)

    def drop(self, transport: "SimTransport", peer: PublicKey, error: Exception) -> None:
        """A peer made a mistake: its connection ends. An error of no kind of ours is a finding."""
        who, whom = self.name_of(transport.identity), self.name_of(peer)
        self.world.trace.note("drop", who, whom, f"{type(error).__name__}: {error}".encode())
        if not isinstance(error, ChartmeshError):
            self.world.report(Violation("guard", f"{who} failed on what {whom} sent: {error!r}"))
        self.hang_up(transport, peer)

    def hang_up(self, transport: "SimTransport", peer: PublicKey) -> None:
        """The connection of a node with a peer ends at once, if there is one."""
        connection = self.connection(transport.identity, peer)
        if connection is not None and transport in connection.ends:
            self._break(_pair(transport.identity, peer), connection, "the peer dropped us")

    def _pairs(self) -> list[Pair]:
        names = list(self._online)
        return [_pair(one, two) for at, one in enumerate(names) for two in names[at + 1 :]]

    def _may_connect(self, one: PublicKey, two: PublicKey) -> bool:
        left, right = self._online.get(one), self._online.get(two)
        if left is None or right is None or left is right:
            return False
        if two not in left.dials and one not in right.dials:
            return False
        if left.shuts_out(two) or right.shuts_out(one):
            return False
        return not (self.link(one, two).is_cut and self.link(two, one).is_cut)

    def _settle(self, one: PublicKey, two: PublicKey) -> None:
        """Sets on its way what brings the pair to where it should be."""
        pair = _pair(one, two)
        connection = self._connections.get(pair)
        if self._may_connect(one, two):
            if connection is None and pair not in self._dialling:
                self._dialling.add(pair)
                self.world.timeline.after(self._patience_ms(REDIAL_MS_MAX), self._connect, pair)
            elif connection is not None and self._is_one_way(pair) and connection.streams:
                self.world.timeline.after(self._patience_ms(NOTICE_MS_MAX), self._notice, pair, connection)
        elif connection is not None:
            self.world.timeline.after(self._patience_ms(NOTICE_MS_MAX), self._notice, pair, connection)

    def _patience_ms(self, most_ms: int) -> int:
        return self.weather.latency_ms if self.weather.fixed else self._dice.randrange(20, most_ms)

    def _is_one_way(self, pair: Pair) -> bool:
        return self.link(*pair).is_cut or self.link(pair[1], pair[0]).is_cut

    def _connect(self, pair: Pair) -> None:
        self._dialling.discard(pair)
        if pair in self._connections or not self._may_connect(*pair):
            return
        ends = (self._online[pair[0]], self._online[pair[1]])
        self._connections[pair] = Connection(ends)
        self.world.trace.note("connect", self.name_of(pair[0]), self.name_of(pair[1]))
        ends[0].came_up(pair[1])
        ends[1].came_up(pair[0])

    def _notice(self, pair: Pair, connection: Connection) -> None:
        """The peers find out, unless the connection healed or was replaced meanwhile."""
        if self._connections.get(pair) is not connection:
            return
        if not self._may_connect(*pair):
            self._break(pair, connection, "the connection was lost")
        elif self._is_one_way(pair):
            for stream in list(connection.streams):
                stream.sever("the connection was lost")

    def _break(self, pair: Pair, connection: Connection, reason: str) -> None:
        del self._connections[pair]
        self.world.trace.note("disconnect", self.name_of(pair[0]), self.name_of(pair[1]))
        for stream in list(connection.streams):
            stream.sever(reason)
        self._settle(*pair)

    # Traffic.

    def datagram(self, sender: "SimTransport", receiver: PublicKey, protocol: str, payload: bytes) -> None:
        """Sends one frame on its way, or loses it."""
        who, whom = self.name_of(sender.identity), self.name_of(receiver)
        self.world.trace.note(f"send/{protocol}", who, whom, payload)
        for watch in self.watches:
            watch(sender.identity, receiver, protocol, payload)
        connection = self.connection(sender.identity, receiver)
        if connection is None or sender not in connection.ends:
            self.world.trace.note("unconnected", who, whom)
            return
        link = self.link(sender.identity, receiver)
        if link.is_lost():
            self.world.trace.note("lost", who, whom)
            return
        target = connection.other(sender)
        for _ in range(2 if link.is_doubled() else 1):
            link.carry(self._deliver, link, sender.identity, target, protocol, payload)

    def _deliver(
        self, link: Link, sender: PublicKey, target: "SimTransport", protocol: str, payload: bytes
    ) -> None:
        if self._online.get(target.identity) is target:
            self.world.trace.note("arrive", self.name_of(sender), self.name_of(target.identity))
            target.accept_datagram(sender, protocol, payload)

    def gossip(self, origin: "SimTransport", topic: str, payload: bytes) -> None:
        """Floods `payload` to every member reached over open connections, one dice of loss for each."""
        self.world.trace.note(f"gossip/{topic}", self.name_of(origin.identity), "", payload)
        for watch in self.gossip_watches:
            watch(origin.identity, topic, payload)
        reached, edge = {origin.identity}, [(origin, 0)]
        for relay, waited_ms in edge:
            for connection in self.connections_of(relay):
                target = connection.other(relay)
                link = self.link(relay.identity, target.identity)
                if target.identity in reached:
                    continue
                if not (target.admits(relay.identity) and relay.admits(target.identity)):
                    continue
                if not self.weather.gossip or link.is_clogged or link.is_lost():
                    continue
                reached.add(target.identity)
                arrives_ms = waited_ms + link.delay_ms()
                edge.append((target, arrives_ms))
                for _ in range(2 if link.is_doubled() else 1):
                    self.world.timeline.after(
                        arrives_ms, self._deliver_gossip, origin.identity, target, topic, payload
                    )

    def _deliver_gossip(
        self, origin: PublicKey, target: "SimTransport", topic: str, payload: bytes
    ) -> None:
        if self._online.get(target.identity) is target:
            self.world.trace.note("hear", self.name_of(origin), self.name_of(target.identity))
            if target.accept_gossip(origin, topic, payload):
                for watch in self.hearing_watches:
                    watch(target.identity, topic, payload)

    # Streams.

    def trace_frame(self, sender: SimStream, frame: bytes | None) -> None:
        kind = "close" if frame is None else "frame"
        who, whom = self.name_of(sender.local), self.name_of(sender.peer)
        self.world.trace.note(kind, who, whom, frame or b"")
        for watch in self.frame_watches:
            watch(sender, frame)

    def forget_if_over(self, stream: SimStream) -> None:
        connection = self.connection(stream.local, stream.peer)
        if connection is not None and stream.is_over:
            connection.streams.pop(stream, None)
            connection.streams.pop(stream.other, None)
