"""Copies among the clinics that should hold a blob: given to one that lacks it, asked for, looked for.

Only ciphertext travels, and only between clinics that placement names. Each chunk is verified against the
root that the ledger has before it is kept or counted.
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Container, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from node.chain.ledger import Ledger
from node.ports import Offload, Stream, Transport
from node.records.holders import placed
from node.records.runs import receive_runs, send_runs
from node.records.vault import BlobReader, Vault
from node.records.vault_import import blob_bytes, take_frames
from protocol import limits, merkle
from protocol.access import Freshness, allows_copy, is_fresh
from protocol.codec import encode
from protocol.errors import Malformed, Refused, StorageError, TransportError
from protocol.keys import PublicKey
from protocol.messages.blob import CopyGo, CopyRequest, Refusal, decode_blob_reply, decode_chunk_frame
from protocol.state import TokenState
from protocol.transactions import TokenId

PROTOCOL: Final = "blob"
REFUSAL: Final = encode(Refusal())
_log = logging.getLogger(__name__)


class CopyExchange:
    """Both ends of a copy. `suspended` are shut out at sight."""

    def __init__(
        self,
        *,
        transport: Transport,
        vault: Vault,
        ledger: Ledger,
        suspended: Container[PublicKey],
        freshness: Callable[[], Freshness],
        offload: Offload,
    ) -> None:
        self._transport, self._vault, self._ledger = transport, vault, ledger
        self._suspended, self._freshness, self._offload = suspended, freshness, offload
        self.identity = transport.identity

    @property
    def is_fresh(self) -> bool:
        """Whether this node knows the present well enough to go by the ledger."""
        return is_fresh(self._freshness(), self._ledger.state.limits)

    def holders(self, token: TokenState) -> Collection[PublicKey]:
        """The clinics that should hold a token's ciphertext now."""
        return placed(token, self._ledger.membership.keys, self._ledger.state.limits.holders)

    def sources(self, token: TokenState) -> list[PublicKey]:
        """Whom to ask for a copy: the token's other holders, then whoever may have been one."""
        connected = set(self._transport.connected()) & set(self._ledger.membership.keys)
        first = [peer for peer in self.holders(token) if peer in connected]
        return first + sorted(connected - set(first))

    # As the one that has it.

    async def give(self, stream: Stream, request: CopyRequest) -> None:
        """Answers a CopyRequest. Raises TransportError where the stream fails."""

        def check(_: int) -> None:
            self._check(stream.peer, request.token)

        try:
            reader = await self._open(stream.peer, request)
            await stream.send(encode(CopyGo()))
            await send_runs(
                stream,
                request.first_chunk,
                request.chunk_count,
                reader.frames,
                offload=self._offload,
                before=check,
            )
        except (Refused, StorageError) as error:
            _log.info("%s gets no copy: %s", stream.peer.hex()[:12], error)
            await stream.send(REFUSAL)

    async def _open(self, peer: PublicKey, request: CopyRequest) -> BlobReader:
        """Raises Refused."""
        token = self._check(peer, request.token)
        if request.first_chunk + request.chunk_count > token.content.chunks:
            raise Refused
        reader = await self._vault.open(token.issuer, token.content.root)
        if reader is None:
            raise Refused
        return reader

    def _check(self, peer: PublicKey, name: TokenId) -> TokenState:
        """Raises Refused where `peer` may have nothing of the token now."""
        state = self._ledger.state
        token = state.token(name)
        if token is None or not allows_copy(
            peer,
            server=self.identity,
            token=token,
            holders=self.holders(token),
            suspended=self._suspended,
            state=state,
            freshness=self._freshness(),
        ):
            raise Refused
        return token

    # As the one that asks.

    async def bring(self, name: TokenId, token: TokenState, source: PublicKey) -> None:
        """Takes the blob in from `source`; what came before it broke off is kept for the next attempt.

        Raises:
            Refused: it has none, or gives none.
            TransportError, Malformed: it broke off, or sent what is not the blob.
            UserError: LIMIT, there is no room. StorageError: the disk.
        """
        content = token.content
        allowed_s = limits.PUSH_S + blob_bytes(content.length) / limits.PUSH_BYTES_PER_S_MIN
        arriving = await self._vault.resume(token.issuer, content)
        try:

            async def take(frames: Sequence[bytes]) -> None:
                end = frames.index(REFUSAL) if REFUSAL in frames else len(frames)
                await self._offload.run(lambda: take_frames(arriving, content, frames[:end]))
                if end < len(frames):
                    raise Refused

            first, count = arriving.next_chunk, content.chunks - arriving.next_chunk
            with trio.move_on_after(allowed_s) as deadline:
                if count:
                    async with self._asked(source, CopyRequest(name, first, count)) as stream:
                        await receive_runs(stream, count, take)
                await self._offload.run(lambda: arriving.finish(content))
            if deadline.cancelled_caught:
                raise TransportError("a copy came too slowly")
        finally:
            await self._vault.close(arriving)

    async def look(self, name: TokenId, token: TokenState, peer: PublicKey, index: int) -> bool:
        """Whether `peer` shows chunk `index` of what it should hold.

        Raises:
            TransportError: it does not answer, which says nothing.
        """
        content = token.content
        try:
            async with self._asked(peer, CopyRequest(name, index, 1)) as stream:
                raw = await stream.receive(limits.CHUNK_FRAME_BYTES_MAX, limits.REQUEST_S)
            if raw is None:
                raise TransportError("the stream ended before the chunk")
            chunk = decode_chunk_frame(raw)
        except (Refused, Malformed):
            return False
        return chunk.index == index and merkle.verify(
            chunk.ciphertext, index, content.chunks, chunk.path, content.root
        )

    @asynccontextmanager
    async def _asked(self, peer: PublicKey, request: CopyRequest) -> AsyncIterator[Stream]:
        """A stream on which the chunks asked for come next. Raises Refused, TransportError, Malformed."""
        stream = await self._transport.open_stream(peer, PROTOCOL)
        try:
            await stream.send(encode(request))
            raw = await stream.receive(limits.CONTROL_FRAME_BYTES_MAX, limits.REQUEST_S)
            if raw is None:
                raise TransportError("the peer closed the stream without a reply")
            match decode_blob_reply(raw):
                case CopyGo():
                    yield stream
                case Refusal():
                    raise Refused
                case _:
                    raise Malformed("a copy was asked for and something else came")
        finally:
            with trio.CancelScope(deadline=trio.current_time() + limits.WRITE_S, shield=True):
                await stream.aclose()
