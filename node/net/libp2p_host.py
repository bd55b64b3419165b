"""The real transport: py-libp2p over TCP, with Noise and Yamux only, behind its guards.

The listener, the dialling and the book of peers are ours; the library does the handshake, the muxing and
the gossip. Every inbound stream runs under one guard, `_enter`, so that a peer's mistake costs that peer
its connection and never the process.
"""

import logging
import math
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING_ID
from libp2p.host.ping import PING_LENGTH
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamError
from libp2p.tools.anyio_service import background_trio_service

from node.net.libp2p_gossip import GuardedPubsub, build_router
from node.net.libp2p_guards import Entry, PlainSwarm, identity_of, negotiate
from node.net.libp2p_links import Links
from node.net.libp2p_listening import bind
from node.net.libp2p_setup import build_host
from node.net.libp2p_stream import Libp2pStream, finish, reset
from node.net.offenders import Offence
from node.net.outbox import Outbox
from node.net.peers import ConnectionStatus, Peer
from node.ports import Clock, DatagramHandler, GossipMessage, PeerAddress, StreamHandler, TaskStatus
from protocol import limits
from protocol.blocks import NetworkId
from protocol.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    StorageError,
    TooSlow,
    TransportError,
)
from protocol.keys import PublicKey, SigningKey

logger = logging.getLogger(__name__)

NETWORK_CHARS: Final = 16
NS_PER_MS: Final = 1_000_000
HARMLESS: Final = (TransportError, IOException, MultiselectCommunicatorError, trio.TooSlowError)

__all__ = ["ConnectionStatus", "Libp2pTransport", "PeerAddress"]


class Libp2pTransport:
    """A `ports.Transport`. Register everything, then `run` it.

    `seed` is the 32-byte Ed25519 seed of the identity, `members` whom to dial and to trust as members,
    `listen` multiaddrs (none for a light client). `connections_max` bounds all connections together.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        network: NetworkId,
        clock: Clock,
        listen: Sequence[str] = (),
        members: Sequence[PeerAddress] = (),
        dial: bool = True,
        connections_max: int = limits.CONNECTIONS_MAX,
    ) -> None:
        self._identity = SigningKey(seed).public
        self._prefix = f"/chartmesh/{network.hex()[:NETWORK_CHARS]}/"
        self._clock = clock
        self._listen = tuple(listen)
        self._callbacks: list[Callable[[PublicKey], None]] = []
        self._topics: dict[str, list[trio.MemorySendChannel[GossipMessage]]] = {}
        self._outboxes: dict[tuple[PublicKey, str], Outbox] = {}
        self._links = Links(
            self._identity,
            clock=clock,
            dial=dial,
            connections_max=connections_max,
            on_member=self._announce,
            on_end=self._renew_gossip,
        )
        self._links.set_members(members)
        self._host = build_host(
            seed,
            self._identity,
            connections_max=connections_max,
            admit=self._links.admit,
            rules=self._links.rules,
            report=self._links.blame,
            open_stream=self._open_raw,
            answer_ping=self._answer_ping,
        )
        self._swarm = cast(PlainSwarm, self._host.get_network())
        self._swarm.set_stream_handler(self._enter)
        # Members may open whatever is registered with the host.
        self._for_members = cast(Mapping[TProtocol, Entry], self._host.multiselect.handlers)
        self._for_strangers: dict[TProtocol, Entry] = {PING_ID: self._answer_ping}
        self._pubsub: GuardedPubsub | None = None
        self._nursery: trio.Nursery | None = None
        self._failed = trio.Event()
        self._failure: Exception | None = None
        self.listening: tuple[str, ...] = ()

    @property
    def identity(self) -> PublicKey:
        return self._identity

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        async def entry(raw: INetStream) -> None:
            await handler(self._wrap(raw, prepaid=1))

        self._host.set_stream_handler(self._protocol_id(protocol), entry)
        if strangers:
            self._for_strangers[self._protocol_id(protocol)] = entry

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        async def entry(raw: INetStream) -> None:
            stream = self._wrap(raw)
            while (body := await stream.receive(limit, math.inf)) is not None:
                await handler(stream.peer, body)

        self._host.set_stream_handler(self._protocol_id(protocol), entry)

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        sending, receiving = trio.open_memory_channel[GossipMessage](limits.GOSSIP_QUEUE_MAX)
        self._topics.setdefault(topic, []).append(sending)
        return receiving

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        self._callbacks.append(callback)

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        """Replaces the members, before the transport runs or while it does."""
        self._links.set_members(members)

    def shut_out(self, peers: Container[PublicKey]) -> None:
        self._links.shut_out(peers)

    def drop(self, peer: PublicKey) -> None:
        self._links.drop(peer)

    def connected(self) -> Sequence[PublicKey]:
        return self._links.book.connected()

    def connections(self) -> list[ConnectionStatus]:
        """Every connection, oldest first."""
        return sorted(self._links.statuses(), key=lambda status: status.opened_ms)

    def offences(self) -> list[Offence]:
        """Who misbehaved lately, the newest first."""
        return self._links.offences()

    def block(self, peer: PublicKey, for_ms: float) -> None:
        """Keeps a peer out for so long; with 0, lets it in again."""
        self._links.block(peer, for_ms)

    def handshakes(self) -> int:
        """Connections whose other end has not yet proved who it is."""
        return self._links.handshakes()

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        if self._nursery is None or self._links.book.live(peer) is None:
            return
        outbox = self._outboxes.get((peer, protocol))
        if outbox is None:
            outbox = self._outboxes[peer, protocol] = Outbox(partial(self._open, peer, protocol))
            self._nursery.start_soon(outbox.run)
        outbox.put(payload)

    async def open_stream(self, peer: PublicKey, protocol: str) -> Libp2pStream:
        return await self._open(peer, protocol)

    async def publish(self, topic: str, payload: bytes) -> None:
        if topic not in self._topics or len(payload) > limits.GOSSIP_BYTES_MAX:
            raise LocalProtocolError(f"cannot publish {len(payload)} bytes on topic {topic}")
        if self._pubsub is not None:
            await self._pubsub.publish(self._prefix + topic, payload)

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        named = () if self._pubsub is None else self._pubsub.peer_topics.get(self._prefix + topic, ())
        return {key for peer in named if (key := identity_of(peer)) is not None}

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listens, dials and serves until cancelled.

        Raises:
            UserError: a port is in use, or an address is wrong.
            Exception: libp2p failed, or one of our own handlers did: neither is ever passed over.
        """
        sockets = await bind(self._listen)
        self.listening = tuple(_address_of(socket) for socket in sockets)
        async with self._host.run([]), self._gossiping(), trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                nursery.start_soon(self._links.run, self._swarm, sockets)
                task_status.started()
                await self._failed.wait()
                nursery.cancel_scope.cancel()
            finally:
                self._nursery = None
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def _gossiping(self) -> AsyncIterator[None]:
        """Takes part in the topics subscribed to, if any: a light client does not gossip."""
        if not self._topics:
            yield
            return
        router = build_router()
        pubsub = GuardedPubsub(
            self._host,
            router,
            topics=frozenset(self._prefix + topic for topic in self._topics),
            is_member=self._links.book.is_member,
            may_speak=self._may_speak,
            may_control=self._may_control,
            deliver=self._deliver,
            report=self._links.blame,
            sequence=self._clock.wall_ms() * NS_PER_MS,
        )
        try:
            async with background_trio_service(pubsub), background_trio_service(router):
                await pubsub.wait_until_ready()
                for topic in self._topics:
                    await pubsub.subscribe(self._prefix + topic)
                self._pubsub = pubsub
                yield
        finally:
            self._pubsub = None
            pubsub.seen_messages.stop()

    def _deliver(self, topic: str, sender: PublicKey, payload: bytes) -> None:
        name = topic.removeprefix(self._prefix)
        if sender == self._identity:
            return
        for channel in self._topics[name]:
            try:
                channel.send_nowait(GossipMessage(name, sender, payload))
            except trio.WouldBlock:
                logger.info("a message on topic %s was lost: nobody reads fast enough", name)
            except trio.BrokenResourceError:
                pass  # its reader is gone

    def _may_speak(self, member: PublicKey, size: int) -> bool:
        """Whether a member is within its quota of gossip with a message of so many bytes. What is over it
        is dropped, and who keeps on being over it, too."""
        now_ms = self._clock.elapsed_ms()
        peer = self._links.book.peer(member, now_ms)
        if peer.gossip.take(now_ms) and peer.gossip_bytes.take(now_ms, size):
            return True
        if not (peer.excess.take(now_ms) and peer.excess_bytes.take(now_ms, size)):
            self._links.blame(member, RemoteProtocolError("the peer gossips too much"))
        return False

    def _may_control(self, member: PublicKey) -> bool:
        """Whether a member may ask for, announce or subscribe to something in gossip now."""
        now_ms = self._clock.elapsed_ms()
        return self._links.book.peer(member, now_ms).controls.take(now_ms)

    def _announce(self, member: PublicKey) -> None:
        if self._pubsub is not None:
            self._pubsub.join(member)
        for callback in self._callbacks:
            callback(member)

    def _renew_gossip(self, peer: PublicKey) -> None:
        if self._pubsub is not None:
            self._pubsub.renew(peer)

    def _protocol_id(self, protocol: str) -> TProtocol:
        return TProtocol(f"{self._prefix}{protocol}/1")

    def _peer_of(self, stream: INetStream) -> Peer:
        key = identity_of(stream.muxed_conn.peer_id)
        assert key is not None, "the upgrader admits no other identity"
        return self._links.book.peer(key, self._clock.elapsed_ms())

    def _wrap(self, raw: INetStream, *, prepaid: float = 0) -> Libp2pStream:
        """`prepaid` frames were paid for when the stream was opened."""
        peer, left = self._peer_of(raw), prepaid

        def spend() -> None:
            nonlocal left
            left -= 1
            if left < 0 and not peer.spend(self._clock.elapsed_ms()):
                error = RemoteProtocolError("the peer is over its budget of requests")
                self._links.blame(peer.id_key, error)
                raise error

        return Libp2pStream(cast(NetStream, raw), peer.id_key, spend=spend, part=self._part)

    def _part(self, raw: NetStream) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(finish, raw)

    async def _enter(self, stream: INetStream) -> None:
        """The one way in for streams: counts them, and turns whatever goes wrong in them on their peer."""
        raw = cast(NetStream, stream)
        peer = self._peer_of(raw)
        is_member = self._links.book.is_member(peer.id_key)
        if not peer.streams.enter():
            if not peer.refusals.take(self._clock.elapsed_ms()):
                self._links.blame(peer.id_key, RemoteProtocolError("the peer opens too many streams"))
            await reset(raw)
            return
        try:
            if not peer.spend(self._clock.elapsed_ms()):
                raise RemoteProtocolError("the peer is over its budget of requests")
            entry = await negotiate(raw, self._for_members if is_member else self._for_strangers)
            await entry(raw)
            await finish(raw)
        except Exception as error:
            self._judge(peer, error)
            await reset(raw)
        finally:
            peer.streams.leave()

    def _judge(self, peer: Peer, error: Exception) -> None:
        """Our own failures stop the node, a lost peer is nobody's fault, and all else is this peer's."""
        causes = list(_leaves(error))
        ours = next(
            (cause for cause in causes if isinstance(cause, LocalProtocolError | StorageError)), None
        )
        if ours is not None:
            self._failure = self._failure or ours
            self._failed.set()
        elif not all(isinstance(cause, HARMLESS) and not isinstance(cause, TooSlow) for cause in causes):
            self._links.blame(peer.id_key, error)

    async def _answer_ping(self, raw: INetStream) -> None:
        await self._wrap(raw, prepaid=1).echo(PING_LENGTH)

    async def _open(self, key: PublicKey, protocol: str) -> Libp2pStream:
        # What comes on it was asked for, and is nobody's request.
        return self._wrap(await self._open_raw(key, self._protocol_id(protocol)), prepaid=math.inf)

    async def _open_raw(self, key: PublicKey, protocol: TProtocol) -> NetStream:
        """A new stream with a connected peer. Raises as `open_stream` does."""
        raw: NetStream | None = None
        agreed = False
        with trio.move_on_after(limits.STREAM_OPEN_S):
            try:
                link = await self._links.find(key)
                raw = cast(NetStream, await link.connection.new_stream())
                await self._host.multiselect_client.select_one_of(
                    [protocol], MultiselectCommunicator(raw), math.ceil(limits.STREAM_OPEN_S)
                )
                agreed = True
                return raw
            except (MultiselectClientError, MuxedConnError, MuxedStreamError, IOException) as error:
                raise TransportError(
                    f"the peer does not open {protocol}", "try again, or another clinic"
                ) from error
            finally:
                if raw is not None and not agreed:
                    await reset(raw)
        raise TransportError(f"the peer did not answer within {limits.STREAM_OPEN_S:g} s")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups of errors."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _address_of(socket: trio.SocketListener) -> str:
    host, port = socket.socket.getsockname()[:2]
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}"
