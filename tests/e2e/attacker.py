"""A connection that has passed Noise, on which anything may be written.

Frames and lines are made by hand, so that they can be wrong.
"""

import struct
from collections.abc import AsyncIterator
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
from tests.e2e.payloads import HELLO, PEER_ID_PREFIX, line

YAMUX = "/yamux/1.0.0"
MESHSUB = "/meshsub/1.1.0"
PING = "/ipfs/ping/1.0.0"
DATA, WINDOW, PINGING, GO_AWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8
GONE = (BaseLibp2pError, trio.BrokenResourceError, trio.ClosedResourceError)
PATIENCE_S = 20.0
WINDOW_BYTES = 256 * 1024
FRAME_BYTES = 60_000


@dataclass(frozen=True)
class Target:
    """A node to attack: where it listens, and the identity key it will prove."""

    host: str
    port: int
    id_key: PublicKey
    source: str | None = None  # the attacker's own address

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.host, self.port, local_address=self.source)


class Attacker:
    """A connection that has passed Noise, on which anything may be written.

    While it reads it answers pings, so that it is not taken for dead, and agrees to what is in `speaks`;
    what the node then says there is in `heard`, and `asked` are the protocols it wanted.
    """

    def __init__(self, secured: object) -> None:
        self._secured: object = secured
        self._next_id = 1
        self._theirs: dict[int, str] = {}
        self._credit: dict[int, int] = {}
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

    async def send(self, stream: int, octets: bytes) -> None:
        """Writes on a stream as its window allows. What the node answers is read and thrown away."""
        rest = memoryview(octets)
        while rest:
            while self._credit.get(stream, WINDOW_BYTES) <= 0:
                await self.read_frame()
            piece = rest[: min(FRAME_BYTES, self._credit.get(stream, WINDOW_BYTES))]
            self._credit[stream] = self._credit.get(stream, WINDOW_BYTES) - len(piece)
            await self.frame(DATA, 0, stream, bytes(piece))
            rest = rest[len(piece) :]

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
        if kind == PINGING and flags & SYN:
            await self.frame(PINGING, ACK, 0, length=length)
        if kind == WINDOW:
            self._credit[stream] = self._credit.get(stream, WINDOW_BYTES) + length
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
async def attack_as(
    target: Target, seed: bytes, *, patience_s: float = PATIENCE_S
) -> AsyncIterator[Attacker]:
    """Connects to the node under the identity of `seed`, and gives up after a while."""
    identity = create_new_key_pair(seed)
    socket = await target.connect()
    with trio.fail_after(patience_s):
        async with socket:
            raw = RawConnection(TrioTCPStream(socket), True)
            await MultiselectClient().select_one_of([NOISE_ID], MultiselectCommunicator(raw))
            noise = NoiseTransport(identity, noise_privkey=create_noise_key_pair().private_key)
            secured = await noise.secure_outbound(raw, ID(PEER_ID_PREFIX + target.id_key[1:]))
            await MultiselectClient().select_one_of([TProtocol(YAMUX)], MultiselectCommunicator(secured))
            yield Attacker(secured)
