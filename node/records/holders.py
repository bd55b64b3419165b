"""Copies of a blob at other clinics: pushing one to those that placement names, and taking one in.

Members only. A holder verifies each chunk before it keeps it, and signs for the blob when all of it is
durable.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from node.chain.membership import Membership
from node.ports import Offload, Stream, Transport
from node.records.runs import receive_runs, send_runs
from node.records.vault import BlobReader, Vault
from node.records.vault_import import Import, blob_bytes, take_frames
from protocol import limits
from protocol.blobs import check_content
from protocol.blocks import NetworkId
from protocol.codec import encode
from protocol.errors import (
    Code,
    LocalProtocolError,
    Malformed,
    ProtocolError,
    RemoteProtocolError,
    StorageError,
    TransportError,
    UserError,
)
from protocol.keys import PublicKey, SigningKey, verify
from protocol.messages.blob import (
    Holding,
    PushGo,
    PushRequest,
    Refusal,
    decode_blob_reply,
)
from protocol.placement import holders
from protocol.state import TokenState
from protocol.transactions import Content

PROTOCOL: Final = "blob"
KIND: Final = "holding"
PAUSE_S: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pushed:
    """Who holds a blob of ours, this node first, and which clinics should but could not be reached."""

    holders: tuple[PublicKey, ...]
    missing: tuple[PublicKey, ...]


class Holders:
    """This clinic as issuer and as holder. `key` is its identity key, `copies` the network's k."""

    def __init__(
        self,
        *,
        transport: Transport,
        vault: Vault,
        offload: Offload,
        key: SigningKey,
        network: NetworkId,
        membership: Membership,
        copies: int,
    ) -> None:
        self._transport, self._vault, self._offload = transport, vault, offload
        self._key, self._network, self._membership, self._copies = key, network, membership, copies

    # As issuer.

    async def push(self, content: Content) -> Pushed:
        """Brings a blob that this clinic issued to its other holders, all at once, each by a deadline."""
        reader = await self._vault.open(self._key.public, content.root)
        if reader is None:
            raise LocalProtocolError("a blob was to be pushed that is not here")
        own = self._key.public
        wanted = holders(content.root, own, self._membership.keys, self._copies)
        signed = {own}

        async def bring(peer: PublicKey) -> None:
            allowed_s = limits.PUSH_S + blob_bytes(content.length) / limits.PUSH_BYTES_PER_S_MIN
            with trio.move_on_after(allowed_s):
                if await self._bring(peer, reader):
                    signed.add(peer)

        async with trio.open_nursery() as nursery:
            for peer in wanted:
                if peer != own:
                    nursery.start_soon(bring, peer)
        return Pushed(
            holders=tuple(peer for peer in wanted if peer in signed),
            missing=tuple(peer for peer in wanted if peer not in signed),
        )

    async def _bring(self, peer: PublicKey, reader: BlobReader) -> bool:
        """Whether `peer` signed for the blob. A push that breaks off goes on where it ended."""
        for _ in range(limits.PUSH_ATTEMPTS):
            try:
                stream = await self._transport.open_stream(peer, PROTOCOL)
            except TransportError as error:
                _log.info("%s takes no copy: %s", peer.hex()[:12], error)
                return False
            try:
                if await self._offer(stream, reader):
                    return True
            except (TransportError, ProtocolError) as error:
                _log.info("a push to %s broke off: %s", peer.hex()[:12], error)
            finally:
                with trio.CancelScope(deadline=trio.current_time() + limits.WRITE_S, shield=True):
                    await stream.aclose()
            await trio.sleep(PAUSE_S)
        return False

    async def _offer(self, stream: Stream, reader: BlobReader) -> bool:
        """One push on one stream; False where it is refused."""
        content = reader.content
        await stream.send(encode(PushRequest(content)))
        go = await _receive(stream)
        if isinstance(go, Refusal):
            return False
        if not isinstance(go, PushGo) or go.next_chunk > content.chunks:
            raise Malformed("an offer of a blob was answered with something else")
        first, count = go.next_chunk, content.chunks - go.next_chunk
        await send_runs(stream, first, count, reader.frames, offload=self._offload)
        match await _receive(stream):
            case Holding(holder, root, signature):
                is_right = (holder, root) == (stream.peer, content.root)
                if is_right and verify(holder, KIND, self._network, root, signature):
                    return True
        raise Malformed("a holder did not sign for the blob that it was given")

    # As holder.

    async def receive(self, stream: Stream, content: Content) -> None:
        """Answers a PushRequest.

        Raises:
            RemoteProtocolError: from a stranger, malformed, or a chunk that is not the blob's.
            TransportError: the stream broke off; what came is kept for the next attempt.
        """
        issuer = stream.peer
        if issuer not in self._membership.keys:
            raise RemoteProtocolError("a stranger pushed a blob")
        check_content(content)
        if self._key.public not in holders(content.root, issuer, self._membership.keys, self._copies):
            await stream.send(encode(Refusal()))
            return
        try:
            arriving = await self._vault.resume(issuer, content)
        except UserError as error:
            _log.warning("a blob of %s is not taken: %s", issuer.hex()[:12], error)
            await stream.send(encode(Refusal()))
            return
        try:
            await stream.send(encode(PushGo(arriving.next_chunk)))
            await self._take(stream, arriving, content)
        except StorageError as error:
            if error.code != Code.STORE_FULL:
                raise
            _log.warning("a blob of %s is not taken: %s", issuer.hex()[:12], error)
            await stream.send(encode(Refusal()))
            return
        finally:
            await self._vault.close(arriving)
        signature = self._key.sign(KIND, self._network, content.root)
        await stream.send(encode(Holding(self._key.public, content.root, signature)))

    async def _take(self, stream: Stream, arriving: Import, content: Content) -> None:
        async def take(frames: Sequence[bytes]) -> None:
            await self._offload.run(lambda: take_frames(arriving, content, frames))

        await receive_runs(stream, content.chunks - arriving.next_chunk, take)
        await self._offload.run(lambda: arriving.finish(content))


def placed(token: TokenState, members: Iterable[PublicKey], copies: int) -> tuple[PublicKey, ...]:
    """The clinics that should hold a token's ciphertext, its issuer first where it may serve."""
    return holders(token.content.root, token.issuer, members, copies)


async def _receive(stream: Stream) -> object:
    # A holder answers when all is durable, and its disk may have much to do.
    raw = await stream.receive(limits.CONTROL_FRAME_BYTES_MAX, limits.PUSH_S)
    if raw is None:
        raise TransportError("the peer closed the stream without a reply")
    return decode_blob_reply(raw)
