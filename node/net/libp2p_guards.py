"""The guards between py-libp2p 0.8.1 and the rest: what it gets wrong, put right in one place.

`install` replaces names of the library and is called before any host exists; the classes below it take the
place of the library's own. All of it leans on private names, so the version is pinned, and every trap has a
hostile test that runs again at each upgrade.
"""

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import libp2p.io.msgio
import libp2p.protocol_muxer.multiselect_communicator
import libp2p.pubsub.gossipsub
import libp2p.pubsub.pubsub
import libp2p.stream_muxer.yamux.yamux
import libp2p.transport.tcp.tcp
import trio
from libp2p.abc import IMuxedConn, INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.exceptions import ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import Reader
from libp2p.io.exceptions import IncompleteReadError, IOException, MessageTooLarge
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID, PROTOCOL_NOT_FOUND_MSG
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.transport.exceptions import MuxerUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from node.net.libp2p_muxer import CalmStream, GuardedYamux, MuxerRules
from node.net.libp2p_socket import BufferedTcpStream
from protocol import limits
from protocol.errors import RemoteProtocolError, TransportError
from protocol.keys import ED25519, PublicKey

PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
PEER_ID_BYTES: Final = 38
GOSSIP_RPC_BYTES_MAX: Final = limits.GOSSIP_BYTES_MAX + 4 * limits.KIB
PROPOSALS_MAX: Final = 8

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
        if len(piece) == count:
            return piece
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


class NotAdmitted(MuxerUpgradeFailure):
    """A peer that proved who it is, and may not come in now."""


class GuardedUpgrader(TransportUpgrader):
    """Asks `admit` about every peer as soon as it has proved who it is, and builds the guarded muxer."""

    def __init__(
        self,
        security: Any,
        muxers: Any,
        *,
        admit: Callable[[PublicKey], bool],
        rules: Callable[[PublicKey], MuxerRules],
        report: Report,
    ) -> None:
        super().__init__(security, muxers)
        self._admit = admit
        self._rules = rules
        self._report = report

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        key = identity_of(peer_id)
        if key is None or not self._admit(key):
            raise NotAdmitted("peer is not admitted")
        try:
            await self.muxer_multistream.select_transport(conn)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("no muxer in common") from error
        return GuardedYamux(conn, peer_id, functools.partial(self._report, key), self._rules(key))


class QuietHost(BasicHost):
    """A host that asks nobody to identify itself, so nobody fills its address book.

    `open_stream` opens the streams of gossip: on the connection that is to stay, and never by dialling.
    `judge` is asked about all that comes in on them, and refuses by raising.
    """

    def __init__(
        self, *, open_stream: Callable[[PublicKey, TProtocol], Awaitable[INetStream]], **options: Any
    ) -> None:
        super().__init__(**options)
        self._open_stream = open_stream
        self.judge: Callable[[rpc_pb2.RPC, ID], None] = lambda _rpc, _peer: None

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[TProtocol]) -> INetStream:
        """Raises SwarmException, after which gossip tries again."""
        key = identity_of(peer_id)
        try:
            if key is None:
                raise TransportError("not a peer of ours")
            stream = await self._open_stream(key, protocol_ids[0])
        except TransportError as error:
            raise SwarmException(error.message) from error
        stream.set_protocol(protocol_ids[0])
        return stream

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


def _no_record(_host: object) -> tuple[bytes, bool]:
    return b"", False


def _ignore_record(_message: object, _host: object, _peer: object) -> bool:
    return True


def _judge(rpc: rpc_pb2.RPC, host: QuietHost, peer: ID) -> bool:
    """In place of the look at the signed record: the first thing done with what a peer says in gossip."""
    host.judge(rpc, peer)
    return True


async def read_rpc(reader: Reader, length_max: int) -> bytes:
    """What a peer says at once in gossip. The library takes an over-long one for nobody's fault.

    Raises:
        RemoteProtocolError: it is too long.
    """
    try:
        return await read_varint_prefixed_bytes_limited(reader, length_max)
    except MessageTooLarge as error:
        raise RemoteProtocolError("gossip that is too long") from error


def install() -> None:
    """Replaces what cannot be reached by a subclass. Harmless when repeated."""
    communicator: Any = libp2p.protocol_muxer.multiselect_communicator
    communicator.read_delim = read_line
    msgio: Any = libp2p.io.msgio
    msgio.read_exactly = read_exactly
    yamux: Any = libp2p.stream_muxer.yamux.yamux
    yamux.read_exactly = read_exactly
    yamux.YamuxStream = CalmStream
    tcp: Any = libp2p.transport.tcp.tcp
    tcp.TrioTCPStream = BufferedTcpStream
    pubsub: Any = libp2p.pubsub.pubsub
    gossipsub: Any = libp2p.pubsub.gossipsub
    for module in (pubsub, gossipsub):
        # Signed address records: made and verified for each message, and nobody dials by them.
        module.env_to_send_in_RPC = _no_record
        module.maybe_consume_signed_record = _ignore_record
    pubsub.maybe_consume_signed_record = _judge
    pubsub.read_varint_prefixed_bytes_limited = read_rpc
    pubsub.RpcQueue = functools.partial(RpcQueue, max_message_size=GOSSIP_RPC_BYTES_MAX)
    # Its messages name topics and peers, and at debug level hold what was said.
    for name in logging.Logger.manager.loggerDict:
        if name.split(".")[0] == "libp2p":
            logging.getLogger(name).setLevel(logging.CRITICAL)
