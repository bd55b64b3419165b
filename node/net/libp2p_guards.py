"""The guards between py-libp2p 0.8.1 and the rest: what it gets wrong, put right in one place.

`install` replaces names of the library and is called before any host exists; the classes below it take the
place of the library's own. All of it leans on private names, so the version is pinned, and every trap has a
hostile test that runs again at each upgrade.
"""

import functools
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import libp2p.io.msgio
import libp2p.protocol_muxer.multiselect_communicator
import libp2p.pubsub.gossipsub
import libp2p.pubsub.pubsub
import libp2p.stream_muxer.yamux.yamux
import trio
from libp2p.abc import IMuxedConn, INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.exceptions import ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import Reader
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError, IOException
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID, PROTOCOL_NOT_FOUND_MSG
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_ACK,
    FLAG_RST,
    HEADER_SIZE,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)
from libp2p.transport.exceptions import MuxerUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from protocol import limits
from protocol.codec import digest
from protocol.errors import RemoteProtocolError
from protocol.keys import ED25519, PublicKey

PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
PEER_ID_BYTES: Final = 38
GOSSIP_RPC_BYTES_MAX: Final = limits.GOSSIP_BYTES_MAX + 4 * limits.KIB
SEQUENCE_BYTES_MAX: Final = 8
CLOSE_S: Final = 1.0
PROPOSALS_MAX: Final = 8
CLOSED_CHECK_S: Final = 0.05
FLAGS_AT: Final = slice(2, 4)  # in the header of a muxer's frame
ANSWERS_MAX: Final = 4096
# A full frame fills one Noise message; the library's overflow it by 17 bytes.
FRAME_BYTES_MAX: Final = MAX_PLAINTEXT_LENGTH - HEADER_SIZE

Entry = Callable[[INetStream], Awaitable[None]]
"""Serves an inbound stream."""

Report = Callable[[PublicKey, Exception], None]
"""Tells of a peer's mistake."""


def peer_id(key: PublicKey) -> ID:
    """The libp2p name of an identity key, which holds the key itself."""
    return ID(PEER_ID_PREFIX + key[1:])


def identity_of(peer: ID) -> PublicKey | None:
    """The Ed25519 key inside a libp2p name; None for a name of any other kind."""
    raw = peer.to_bytes()
    if len(raw) != PEER_ID_BYTES or not raw.startswith(PEER_ID_PREFIX):
        return None
    return PublicKey(bytes((ED25519,)) + raw[len(PEER_ID_PREFIX) :])


async def read_line(reader: Reader) -> bytes:
    """One line of protocol negotiation: short and in UTF-8, or the one error its caller expects.

    The library's own believes any length up to 1 GiB, before the peer has said who it is, and lets a line
    that is not UTF-8 stop the process.
    """
    try:
        line = await read_varint_prefixed_bytes_limited(reader, limits.NEGOTIATION_LINE_BYTES_MAX)
        line.decode()
    except (IOException, UnicodeDecodeError) as error:
        raise ParseError(f"negotiation failed: {type(error).__name__}") from error
    if line[-1:] != b"\n":
        raise ParseError("negotiation line without an end")
    return line[:-1]


async def read_exactly(reader: Reader, count: int) -> bytes:
    """`count` bytes, in however many pieces they come.

    The library's own gives up after 100 pieces, and asks 100 times at the end of a stream.

    Raises:
        IncompleteReadError: the stream ended before.
    """
    octets = bytearray()
    while len(octets) < count:
        piece = await reader.read(count - len(octets))
        if not piece:
            raise IncompleteReadError("the stream ended", count, len(octets))
        octets += piece
    return bytes(octets)


async def negotiate(stream: INetStream, handlers: Mapping[TProtocol, Entry]) -> Entry:
    """Agrees with the peer that opened `stream` on one of `handlers`, within a few lines.

    Raises:
        ParseError: what the peer says is no negotiation.
        MultiselectCommunicatorError: the peer went away, or wrote no proper line.
        trio.TooSlowError: not within `limits.STREAM_OPEN_S`.
    """
    words = MultiselectCommunicator(stream)
    with trio.fail_after(limits.STREAM_OPEN_S):
        await words.write(MULTISELECT_PROTOCOL_ID)
        if await words.read() != MULTISELECT_PROTOCOL_ID:
            raise ParseError("not the negotiation protocol")
        for _ in range(PROPOSALS_MAX):
            proposal = TProtocol(await words.read())
            if proposal in handlers:
                await words.write(proposal)
                return handlers[proposal]
            await words.write(PROTOCOL_NOT_FOUND_MSG)
    raise ParseError("no protocol in common")


class CalmStream(YamuxStream):
    """A stream that sends credit by the half window and waits for credit without polling.

    The library answers each read, even of one byte, with an update, lets the window grow to 16 MiB after a
    few of them, and looks for credit every 10 ms. Here the window is 256 KiB, as the protocol has it, and
    `RECEIVE_WINDOW_BYTES` once half of that was read.
    """

    _send_window = 0
    _credit: trio.Event | None = None

    @property
    def send_window(self) -> int:
        """Bytes that we may send."""
        return self._send_window

    @send_window.setter
    def send_window(self, count: int) -> None:
        self._send_window = count
        if count > 0 and self._credit is not None:
            self._credit.set()

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self.send_window <= 0:
                await self._wait_for_credit()
            if self.send_closed or self.closed:
                raise MuxedStreamError("stream is closed for sending")
            count = min(len(rest), self.send_window, FRAME_BYTES_MAX)
            self.send_window -= count
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, count)
            await self.conn._write_frame(header + rest[:count])
            rest = rest[count:]

    async def _wait_for_credit(self) -> None:
        """Until there is credit or the stream is closed, of which nothing tells us."""
        deadline = trio.current_time() + limits.WRITE_S
        while self.send_window <= 0 and not self.closed:
            if trio.current_time() > deadline:
                raise MuxedStreamError("the peer reads nothing")
            self._credit = trio.Event()
            with trio.move_on_after(CLOSED_CHECK_S):
                await self._credit.wait()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        waiting = len(self.conn.stream_buffers.get(self.stream_id, b""))
        credit = self.target_recv_window - self.recv_window - waiting
        if credit < self.target_recv_window // 2 or self.recv_closed:
            return
        credit += limits.RECEIVE_WINDOW_BYTES - self.target_recv_window
        self.target_recv_window = limits.RECEIVE_WINDOW_BYTES
        self.recv_window += credit
        # The bytes are out of the buffer already: a cancelled update would lose them.
        with trio.CancelScope() as scope:
            scope.shield = True
            await self.send_window_update(credit)


class GuardedYamux(Yamux):
    """One connection's muxer. Its failures, and writes that block, cost that connection only.

    What it must answer to the peer, such as the opening of a stream, has a queue and a writer of its own.
    The library writes it from the loop that reads; two ends that both send much then wait for each other.
    """

    def __init__(self, secured: ISecureConn, peer: ID, report: Callable[[Exception], None]) -> None:
        super().__init__(secured, peer)
        self._report = report
        self._answers: list[bytes] = []
        self._has_answers = trio.Event()

    async def start(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_answers)
                await super().start()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self._report(error)
            await self._cut()

    async def _write_frame(self, data: bytes) -> None:
        flags = int.from_bytes(data[FLAGS_AT], "big")
        if not flags & (FLAG_ACK | FLAG_RST):
            await self._write_whole(data)
        elif len(self._answers) < ANSWERS_MAX:
            self._answers.append(data)
            self._has_answers.set()
            await trio.lowlevel.checkpoint()
        else:
            self._report(RemoteProtocolError("the peer asks much and reads nothing"))
            await self._cut()

    async def _write_answers(self) -> None:
        try:
            while True:
                await self._has_answers.wait()
                self._has_answers = trio.Event()
                answers, self._answers = self._answers, []
                await self._write_whole(b"".join(answers))
        except IOException:
            pass  # the connection is over, as the loop that reads has seen too

    async def _write_whole(self, data: bytes) -> None:
        """Writes all of `data`, or ends the connection: half a frame would garble all that follows."""
        async with self._write_lock:
            if self.event_closed.is_set():
                raise ConnectionClosedError("connection is closed")
            with trio.move_on_after(limits.WRITE_S) as scope:
                scope.shield = True
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self._cut()
            raise ConnectionClosedError("connection closed: the peer takes no bytes")

    async def close(self, error_code: int = 0) -> None:
        with trio.move_on_after(CLOSE_S) as scope:
            scope.shield = True
            await super().close(error_code)
        if scope.cancelled_caught:
            await self._cut()

    async def _cut(self) -> None:
        """Ends the connection without a word to the peer."""
        with trio.CancelScope(shield=True):
            await self.secured_conn.close()
            await self._cleanup_on_error()


class GuardedUpgrader(TransportUpgrader):
    """Asks `admit` about every peer as soon as it has proved who it is, and builds the guarded muxer."""

    def __init__(
        self, security: Any, muxers: Any, *, admit: Callable[[PublicKey], bool], report: Report
    ) -> None:
        super().__init__(security, muxers)
        self._admit = admit
        self._report = report

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        key = identity_of(peer_id)
        if key is None or not self._admit(key):
            raise MuxerUpgradeFailure("peer is not admitted")
        try:
            await self.muxer_multistream.select_transport(conn)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("no muxer in common") from error
        return GuardedYamux(conn, peer_id, functools.partial(self._report, key))


class QuietHost(BasicHost):
    """A host that asks nobody to identify itself, so nobody fills its address book."""

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        del peer_id, reason


class NoConnector(AutoConnector):
    """Dials nobody, and so remembers nobody who left."""

    async def maybe_connect(self) -> None:
        pass

    def record_disconnect(self, peer_id: ID) -> None:
        pass


class PlainSwarm(Swarm):
    """A swarm that dials only when told to; the library's wants half of its connections filled."""

    def _init_connection_management(self) -> None:
        super()._init_connection_management()
        self.auto_connector = NoConnector(self)


class GuardedPubsub(Pubsub):
    """Gossip among members about known topics. A mistake here costs the peer its connection."""

    def __init__(
        self,
        host: BasicHost,
        router: GossipSub,
        *,
        topics: frozenset[str],
        is_member: Callable[[PublicKey], bool],
        may_speak: Callable[[PublicKey], bool],
        deliver: Callable[[str, PublicKey, bytes], None],
        report: Report,
        sequence: int,
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=GOSSIP_RPC_BYTES_MAX,
            max_subscriptions_per_rpc=2 * len(topics),
            max_subscriptions_per_peer=len(topics),
            allowed_topics=topics,
        )
        # Message numbers must grow over restarts; the library begins at the second of the start.
        self.counter = sequence
        self._topics = topics
        self._is_member = is_member
        self._may_speak = may_speak
        self._deliver = deliver
        self._report_mistake = report

    async def stream_handler(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        try:
            await super().stream_handler(stream)
        except Exception:
            self._handle_dead_peer(peer)
            raise

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        if msg_forwarder == self.my_id:
            await super().push_msg(msg_forwarder, msg)
            return
        forwarder = identity_of(msg_forwarder)
        if forwarder is None or not self._may_speak(forwarder) or not self._is_wanted(msg):
            return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:
            self._report_mistake(forwarder, error)

    def renew(self, member: PublicKey) -> None:
        """One connection with a member is over: speaks on another, if there is one.

        The library keeps to the dead one's stream, silently, where the other came up before this one ended.
        """
        peer = peer_id(member)
        stream = self.peers.get(peer)
        if stream is not None and cast(Yamux, stream.muxed_conn).is_closed:
            self._handle_dead_peer(peer)

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        """A member that is still connected has said what it wants on the connection that is left."""
        if not self._peer_is_connected(peer_id):
            super()._forget_all_subscriptions(peer_id)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        if self._is_member_id(peer_id):
            await super()._handle_new_peer(peer_id)

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Hands a message over at once; the library puts it in a queue of 32 and loses the rest."""
        author = identity_of(ID(publish_message.from_id))
        if author is not None:
            self._deliver(publish_message.topicIDs[0], author, publish_message.data)

    def _is_wanted(self, message: rpc_pb2.Message) -> bool:
        return (
            len(message.topicIDs) == 1
            and message.topicIDs[0] in self._topics
            and len(message.data) <= limits.GOSSIP_BYTES_MAX
            and len(message.seqno) <= SEQUENCE_BYTES_MAX
            and self._is_member_id(ID(message.from_id))
        )

    def _is_member_id(self, peer: ID) -> bool:
        key = identity_of(peer)
        return key is not None and self._is_member(key)


def message_id(message: rpc_pb2.Message) -> bytes:
    """The id of a gossip message: what it says and where, whoever says it."""
    topic = "\n".join(message.topicIDs).encode()
    return digest("gossip", len(topic).to_bytes(4, "big"), topic, message.data)


def _no_record(_host: object) -> tuple[bytes, bool]:
    return b"", False


def _ignore_record(_message: object, _host: object, _peer: object) -> bool:
    return True


def install() -> None:
    """Replaces what cannot be reached by a subclass. Harmless when repeated."""
    communicator: Any = libp2p.protocol_muxer.multiselect_communicator
    communicator.read_delim = read_line
    msgio: Any = libp2p.io.msgio
    msgio.read_exactly = read_exactly
    yamux: Any = libp2p.stream_muxer.yamux.yamux
    yamux.read_exactly = read_exactly
    yamux.YamuxStream = CalmStream
    pubsub: Any = libp2p.pubsub.pubsub
    gossipsub: Any = libp2p.pubsub.gossipsub
    for module in (pubsub, gossipsub):
        # Signed address records: made and verified for each message, and nobody dials by them.
        module.env_to_send_in_RPC = _no_record
        module.maybe_consume_signed_record = _ignore_record
    pubsub.RpcQueue = functools.partial(RpcQueue, max_message_size=GOSSIP_RPC_BYTES_MAX)
    # Its messages name topics and peers, and at debug level hold what was said.
    for name in logging.Logger.manager.loggerDict:
        if name.split(".")[0] == "libp2p":
            logging.getLogger(name).setLevel(logging.CRITICAL)
