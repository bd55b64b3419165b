"""Attackers: what a stranger, or a member gone bad, throws at a node from outside.

Each attack is a coroutine over a `Target` and returns when the node has had it all: it was cut off, or it
has answered something sent afterwards. Whoever calls then checks that the node still serves the honest.
Frames and lines are made by hand, so that they can be wrong.
"""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport

from protocol.keys import PublicKey
from tests.e2e.payloads import (
    BARE_BYTES as BARE_BYTES,
)
from tests.e2e.payloads import (
    FRAMES as FRAMES,
)
from tests.e2e.payloads import (
    HELLO as HELLO,
)
from tests.e2e.payloads import (
    PEER_ID_PREFIX as PEER_ID_PREFIX,
)
from tests.e2e.payloads import (
    PROPOSALS as PROPOSALS,
)
from tests.e2e.payloads import (
    fake_subscriptions as fake_subscriptions,
)
from tests.e2e.payloads import (
    gossip_in as gossip_in,
)
from tests.e2e.payloads import (
    gossip_with_garbage_key as gossip_with_garbage_key,
)
from tests.e2e.payloads import (
    line as line,
)
from tests.e2e.payloads import (
    malformed_gossip as malformed_gossip,
)
from tests.e2e.payloads import (
    signed_gossip as signed_gossip,
)
from tests.e2e.payloads import (
    subscription as subscription,
)
from tests.e2e.payloads import (
    unsigned_gossip as unsigned_gossip,
)
from tests.e2e.payloads import (
    varint as varint,
)

YAMUX = "/yamux/1.0.0"
MESHSUB = "/meshsub/1.1.0"
PING = "/ipfs/ping/1.0.0"
DATA, WINDOW, PINGING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8
GONE = (BaseLibp2pError, trio.BrokenResourceError, trio.ClosedResourceError)
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Target:
    """A node to attack: where it listens, and the identity key it will prove."""

    host: str
    port: int
    id_key: PublicKey
    source: str | None = None  # the attacker's own address

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.host, self.port, local_address=self.source)


Attack = Callable[[Target], Awaitable[None]]


# Before authentication.


async def send_bytes(target: Target, octets: bytes) -> bool:
    """Sends `octets` on a bare socket; True once the node has cut the connection."""
    socket = await target.connect()
    with trio.fail_after(PATIENCE_S):
        async with socket:
            try:
                await socket.send_all(octets)
                await socket.send_eof()
                while await socket.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
            return True


async def is_offer_taken(target: Target, protocol: str) -> bool:
    """Whether the node agrees to another way of securing a connection than Noise."""
    socket = await target.connect()
    with trio.fail_after(PATIENCE_S):
        async with socket:
            await socket.send_all(line(HELLO) + line(protocol.encode()))
            heard = b""
            while b"na\n" not in heard and protocol.encode() not in heard:
                piece = await socket.receive_some()
                if not piece:
                    return False
                heard += piece
            return protocol.encode() in heard


async def stream_endless_line(target: Target, *, pieces: int) -> int:
    """Announces a line of 1 GiB and sends up to so many pieces of it; how many went out before the cut."""
    socket = await target.connect()
    sent = 0
    with trio.fail_after(PATIENCE_S):
        async with socket:
            try:
                await socket.send_all(line(HELLO) + varint(1 << 30))
                while sent < pieces:
                    await socket.send_all(bytes(65_536))
                    sent += 1
                    await trio.sleep(0.002)
            except trio.BrokenResourceError:
                pass
    return sent


@asynccontextmanager
async def idle_sockets(target: Target, count: int) -> AsyncIterator[None]:
    """Holds `count` connections that never say anything."""
    sockets: list[trio.SocketStream] = []
    try:
        for _ in range(count):
            sockets.append(await target.connect())
        yield
    finally:
        with trio.CancelScope(shield=True):
            for socket in sockets:
                await trio.aclose_forcefully(socket)


# After authentication.


class Attacker:
    """A connection that has passed Noise, on which anything may be written.

    While it reads it answers pings, so that it is not taken for dead, and agrees to what is in `speaks`;
    what the node then says there is in `heard`, and `asked` are the protocols it wanted.
    """

    def __init__(self, secured: object) -> None:
        self._secured: object = secured
        self._next_id = 1
        self._theirs: dict[int, str] = {}
        self.speaks = {PING}
        self.asked: list[str] = []
        self.heard = b""

    async def write(self, octets: bytes) -> None:
        await self._secured.write(octets)  # type: ignore[attr-defined]

    async def frame(
        self,
        kind: int,
        flags: int,
        stream: int,
        body: bytes = b"",
        *,
        length: int | None = None,
        version: int = 0,
    ) -> None:
        header = struct.pack(
            "!BBHII", version, kind, flags, stream, len(body) if length is None else length
        )
        await self.write(header + body)

    async def open(self) -> int:
        """A new stream, nothing negotiated on it."""
        stream, self._next_id = self._next_id, self._next_id + 2
        await self.frame(WINDOW, SYN, stream)
        return stream

    async def open_protocol(self, protocol: str) -> int | None:
        """A new stream on which the node agreed to `protocol`; None where it did not."""
        stream = await self.open()
        await self.frame(DATA, 0, stream, line(HELLO) + line(protocol.encode()))
        heard = b""
        while not heard.endswith(line(protocol.encode())):
            kind, flags, which, body = await self.read_frame()
            if which == stream and kind == DATA:
                heard += body
            if heard.endswith(line(b"na")) or (which == stream and flags & RST):
                return None
        return stream

    async def read_frame(self) -> tuple[int, int, int, bytes]:
        """(type, flags, stream, body); for other frames than data the body is their number."""
        _, kind, flags, stream, length = struct.unpack("!BBHII", await self._read(12))
        body = await self._read(length) if kind == DATA else length.to_bytes(4, "big")
        if stream and stream % 2 == 0:
            await self._oblige(kind, flags, stream, body)
        return kind, flags, stream, body

    async def is_cut(self) -> bool:
        """Waits for the node to close the connection."""
        try:
            while True:
                await self.read_frame()
        except GONE:
            return True

    async def settle(self) -> None:
        """Waits until the node's muxer has taken all that was sent, or has cut us off."""
        try:
            await self.frame(PINGING, SYN, 0, length=77)
            while True:
                kind, flags, _, body = await self.read_frame()
                if kind == PINGING and flags == ACK and body == (77).to_bytes(4, "big"):
                    return
        except GONE:
            return

    async def answer_streams(self, octets: bytes) -> None:
        """Sends `octets` on every stream that the node opens, and ends it, until cancelled or cut off."""
        self._oblige = self._ignore  # type: ignore[method-assign]
        try:
            while True:
                _, flags, stream, _ = await self.read_frame()
                if flags & SYN and stream:
                    await self.frame(DATA, FIN, stream, octets)
        except GONE:
            return

    async def _oblige(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        """Plays the polite peer on a stream that the node opened."""
        if flags & SYN:
            self._theirs[stream] = ""
            await self.frame(DATA, 0, stream, line(HELLO))
        if kind != DATA or stream not in self._theirs:
            return
        if self._theirs[stream] == PING:
            await self.frame(DATA, 0, stream, body)
        elif self._theirs[stream]:
            self.heard += body
        else:
            await self._agree(stream, body)

    async def _agree(self, stream: int, body: bytes) -> None:
        for text in body.split(b"\n"):
            proposal = text[1:].decode()
            if not proposal or text[1:] == HELLO:
                continue
            self.asked.append(proposal)
            self._theirs[stream] = proposal if proposal in self.speaks else ""
            await self.frame(DATA, 0, stream, line(proposal.encode() if self._theirs[stream] else b"na"))

    async def _ignore(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        pass

    async def _read(self, count: int) -> bytes:
        octets: bytes = await self._secured.read(count)  # type: ignore[attr-defined]
        if len(octets) < count:
            raise trio.ClosedResourceError
        return octets


@asynccontextmanager
async def attack_as(target: Target, seed: bytes) -> AsyncIterator[Attacker]:
    """Connects to the node under the identity of `seed`, and gives up after a while."""
    identity = create_new_key_pair(seed)
    socket = await target.connect()
    with trio.fail_after(PATIENCE_S):
        async with socket:
            raw = RawConnection(TrioTCPStream(socket), True)
            await MultiselectClient().select_one_of([NOISE_ID], MultiselectCommunicator(raw))
            noise = NoiseTransport(identity, noise_privkey=create_noise_key_pair().private_key)
            secured = await noise.secure_outbound(raw, ID(PEER_ID_PREFIX + target.id_key[1:]))
            await MultiselectClient().select_one_of([TProtocol(YAMUX)], MultiselectCommunicator(secured))
            yield Attacker(secured)


async def connect_and_leave(target: Target, seed: bytes) -> None:
    """One whole connection, opened and closed again; returns when the node has closed it too."""
    async with attack_as(target, seed) as attacker:
        await attacker.frame(GO_AWAY, 0, 0)
        await attacker.is_cut()


async def negotiate_badly(target: Target, seed: bytes, octets: bytes) -> None:
    """Opens a stream and sends `octets` where a protocol should be named."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open()
        await attacker.frame(DATA, FIN, stream, line(HELLO) + octets)
        await _until_stream_ends(attacker, stream)


async def send_on(target: Target, seed: bytes, protocol: str, octets: bytes) -> bool:
    """Sends `octets` on a stream of `protocol`, then ends it; False where the node did not agree to it."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open_protocol(protocol)
        if stream is None:
            return False
        await attacker.frame(DATA, FIN, stream, octets)
        await _until_stream_ends(attacker, stream)
        return True


async def flood_with_streams(attacker: Attacker, count: int) -> None:
    """Opens `count` streams at once and says nothing on them."""
    try:
        for _ in range(count):
            await attacker.open()
    except GONE:
        return
    await attacker.settle()


async def overrun_window(target: Target, seed: bytes, protocol: str, octets: int) -> bool:
    """Sends `octets` on one stream with no regard for its window; True once the node has cut us off."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open_protocol(protocol)
        assert stream is not None
        piece = bytes(60_000)
        try:
            for _ in range(octets // len(piece)):
                await attacker.frame(DATA, 0, stream, piece)
        except GONE:
            return True
        return await attacker.is_cut()


async def garble_muxer(target: Target, seed: bytes) -> None:
    """Frames of no known kind, for streams that do not exist, and one much longer than what follows."""
    async with attack_as(target, seed) as attacker:
        await attacker.frame(9, 0xFFFF, 7, length=3, version=5)
        await attacker.frame(DATA, 0, 4711, b"nobody's")
        await attacker.frame(WINDOW, RST | FIN, 4711)
        for number in range(500):
            await attacker.frame(PINGING, SYN, 0, length=number)
        await attacker.settle()
        await attacker.frame(DATA, SYN, 99, bytes(100), length=5_000_000)


async def _until_stream_ends(attacker: Attacker, stream: int) -> None:
    """Reads until the node ends `stream`, in whatever way, or the connection."""
    try:
        while True:
            _, flags, which, _ = await attacker.read_frame()
            if which == stream and flags & (FIN | RST):
                return
    except GONE:
        return
