"""The `blob` protocol's server: ciphertext to whoever the gate admits, and one refusal for all others.

A refusal is always the same bytes, sent at the same time after its request. A fetch that stops being
allowed while it runs ends with the refusal in place of the next chunk.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from node.nonces import StreamNonce
from node.ports import Clock, Entropy, Offload, Stream, Transport
from node.records.audit_log import AuditLog
from node.records.gate import Admitted, Gate
from node.records.pacing import wait_refusal_time
from node.records.places import Places
from node.records.runs import send_runs
from node.records.vault import BlobReader, Vault
from protocol import limits
from protocol.access import SignedFetchRequest
from protocol.blobs import ciphertext_length
from protocol.codec import encode
from protocol.errors import ChartmeshError, Malformed, StorageError
from protocol.messages.blob import (
    CopyRequest,
    FetchCall,
    Nonce,
    NonceRequest,
    PacedCall,
    PushRequest,
    ReadCall,
    Refusal,
    Serve,
    decode_blob_question,
)
from protocol.transactions import Content

PROTOCOL: Final = "blob"
REFUSAL: Final = encode(Refusal())
BROKEN_OFF: Final = "broken-off"
DAMAGED: Final = "damaged"
_log = logging.getLogger(__name__)

ReceivePush = Callable[[Stream, Content], Awaitable[None]]
GiveCopy = Callable[[Stream, CopyRequest], Awaitable[None]]


class _Stopped(ChartmeshError):
    """The fetch is not allowed any more; the message is why, for the audit log."""


class BlobServer:
    """Serves the `blob` protocol; what members push goes to `receive_push`, and what other holders ask for
    to `give_copy`.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        gate: Gate,
        vault: Vault,
        audit: AuditLog,
        clock: Clock,
        entropy: Entropy,
        offload: Offload,
        receive_push: ReceivePush,
        give_copy: GiveCopy,
    ) -> None:
        self._gate, self._vault, self._audit = gate, vault, audit
        self._clock, self._entropy, self._offload = clock, entropy, offload
        self._receive_push, self._give_copy = receive_push, give_copy
        self._places = Places(limits.SERVES_MAX, limits.SERVES_PER_PEER_MAX)
        transport.serve(PROTOCOL, self.serve, strangers=True)

    async def serve(self, stream: Stream) -> None:
        """Answers one stream, exchange after exchange, until the peer is done."""
        nonce = StreamNonce(self._entropy)
        while (raw := await stream.receive(limits.CONTROL_FRAME_BYTES_MAX, math.inf)) is not None:
            came_s = trio.current_time()
            match decode_blob_question(raw):
                case NonceRequest():
                    await stream.send(encode(Nonce(nonce.draw())))
                case FetchCall(signed):
                    await self._answer(stream, signed, nonce.take() or b"", came_s, self._send_all)
                case PacedCall(signed):
                    await self._answer(stream, signed, nonce.take() or b"", came_s, self._send_asked)
                case PushRequest(content):
                    await self._receive_push(stream, content)
                case CopyRequest() as request:
                    async with self._places.taken_by(stream.peer):
                        await self._give_copy(stream, request)
                case ReadCall():
                    raise Malformed("chunks were asked for under no request")

    async def drain(self) -> None:
        """Begins no more transfers, and returns when those that run have ended."""
        await self._places.close()

    async def _answer(
        self, stream: Stream, signed: SignedFetchRequest, nonce: bytes, came_s: float, send: "SendChunks"
    ) -> None:
        admitted = await self._gate.admit(stream.peer, signed, nonce)
        if admitted is None:
            await wait_refusal_time(came_s)
            await stream.send(REFUSAL)
            return
        transfer = _Transfer(self._gate, admitted, self._clock)
        reason = BROKEN_OFF
        try:
            reason = await self._serve(stream, transfer, send)
        finally:
            self._audit.outcome(admitted.sequence, sent_bytes=transfer.sent_bytes, reason=reason)
        if reason:
            if not transfer.has_begun:
                await wait_refusal_time(came_s)
            await stream.send(REFUSAL)

    async def _serve(self, stream: Stream, transfer: "_Transfer", send: "SendChunks") -> str:
        """Sends what was asked for; returns why not all of it, or nothing. Raises TransportError."""
        admitted = transfer.admitted
        failure: ChartmeshError | None = None
        async with self._places.taken_by(stream.peer), trio.open_nursery() as nursery:
            nursery.start_soon(transfer.watch, nursery.cancel_scope)
            try:
                reader = await self._vault.open(admitted.issuer, admitted.content.root)
                if reader is None:
                    raise StorageError("the blob is gone")
                transfer.check()
                transfer.has_begun = True
                await stream.send(encode(Serve(admitted.content, admitted.sequence)))
                await send(stream, transfer, reader)
            except ChartmeshError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is None or isinstance(failure, _Stopped):
            return transfer.stopped
        if isinstance(failure, StorageError):
            _log.error("stopped serving a blob: %s", failure)
            return DAMAGED
        raise failure

    async def _send_all(self, stream: Stream, transfer: "_Transfer", reader: BlobReader) -> None:
        request = transfer.admitted.fetch.request
        await self._send_chunks(stream, transfer, reader, request.first_chunk, request.chunk_count)

    async def _send_asked(self, stream: Stream, transfer: "_Transfer", reader: BlobReader) -> None:
        """Until the asker ends the stream. Raises Malformed: more, or others, than its request has."""
        request = transfer.admitted.fetch.request
        stop, left = request.first_chunk + request.chunk_count, request.chunk_count
        while left:
            raw = await stream.receive(limits.CONTROL_FRAME_BYTES_MAX, limits.PACED_WAIT_S)
            if raw is None:
                return
            match decode_blob_question(raw):
                case ReadCall(first, count) if (
                    request.first_chunk <= first and first + count <= stop and count <= left
                ):
                    await self._send_chunks(stream, transfer, reader, first, count)
                    left -= count
                case _:
                    raise Malformed("other chunks were asked for than the request has")

    async def _send_chunks(
        self, stream: Stream, transfer: "_Transfer", reader: BlobReader, first: int, count: int
    ) -> None:
        await send_runs(stream, first, count, reader.frames, offload=self._offload, before=transfer.count)


class _Transfer:
    """A fetch being served: the most that can have left, and why no more may."""

    def __init__(self, gate: Gate, admitted: Admitted, clock: Clock) -> None:
        self._gate, self.admitted, self._clock = gate, admitted, clock
        self._unchecked_bytes, self._checked_ms = 0, clock.elapsed_ms()
        self.has_begun = False
        self.sent_bytes = 0
        self.stopped = ""

    def count(self, index: int) -> None:
        """Chunk `index` goes next. Raises _Stopped where it may not."""
        # A process that was stopped, or slept with its machine, wakes up here as likely as in `watch`.
        unchecked_ms = self._clock.elapsed_ms() - self._checked_ms
        if self._unchecked_bytes >= limits.SERVE_CHECK_BYTES or unchecked_ms >= 1000 * limits.SERVE_CHECK_S:
            self.check()
        size = ciphertext_length(self.admitted.content, index)
        self._unchecked_bytes += size
        self.sent_bytes += size

    def check(self) -> None:
        """Raises _Stopped where the fetch is not allowed any more."""
        reason = self._gate.still_allows(self.admitted)
        if reason is not None:
            self.stopped = reason.value
            raise _Stopped(reason.value)
        self._unchecked_bytes, self._checked_ms = 0, self._clock.elapsed_ms()

    async def watch(self, serving: trio.CancelScope) -> None:
        """Looks again now and then, also while a send waits for a slow reader."""
        while not self.stopped:
            await trio.sleep(limits.SERVE_CHECK_S)
            try:
                self.check()
            except _Stopped:
                serving.cancel()
            except StorageError as error:
                _log.error("stopped serving a blob: %s", error)
                self.stopped = DAMAGED
                serving.cancel()


SendChunks = Callable[[Stream, _Transfer, BlobReader], Awaitable[None]]
