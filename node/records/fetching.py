"""Fetching a record: holders are asked one after the other, and nothing they send is believed.

Each chunk is verified against the token's root and decrypted before it is handed on, in order; a holder
that fails, lies or is slow is followed by the next from the same chunk on. In the end the whole is compared
with the token's commitment. Clinics sign as grantees under their identity key, owners under their owner
key.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from node.ports import Clock, Offload, Stream, StreamHandler, Transport
from node.records.fetch_run import REFUSAL, FetchAsk, Fetched, FetchRun, RefusedMidway, Write
from node.records.loopback import LoopbackStream
from node.records.patience import patience, paused
from node.records.runs import receive_runs
from protocol import limits
from protocol.access import sign_fetch
from protocol.blocks import NetworkId
from protocol.codec import encode
from protocol.errors import ChartmeshError, Malformed, ProtocolError, TooSlow, TransportError
from protocol.keys import PublicKey
from protocol.messages.blob import (
    FetchCall,
    Nonce,
    NonceRequest,
    Refusal,
    Serve,
    decode_blob_reply,
)

PROTOCOL: Final = "blob"
_log = logging.getLogger(__name__)


class Fetcher:
    """Fetches from other nodes, and from this one where `serve_self` is its own `blob` handler."""

    def __init__(
        self,
        *,
        transport: Transport,
        clock: Clock,
        offload: Offload,
        network: NetworkId,
        serve_self: StreamHandler | None = None,
    ) -> None:
        self._transport, self._clock, self._offload = transport, clock, offload
        self._network, self._serve_self = network, serve_self

    async def fetch(self, ask: FetchAsk, sources: Sequence[PublicKey], write: Write) -> Fetched:
        """Hands the record's plaintext to `write`, piece by piece, from whichever of `sources` serves it.

        Raises:
            FetchRefused: those that could be asked refused.
            TransportError: no source could be reached, or none served all of it.
            Malformed: the key, or the whole in the end, is not what the token commits to.
        """
        run = FetchRun(ask, write)
        remaining = list(sources)
        while True:
            before = run.next_chunk
            for peer in list(remaining):
                run.is_patient = not set(remaining) - run.slow - {peer}
                if not await self._try(peer, run):
                    remaining.remove(peer)
                if run.is_complete:
                    return run.finish()
            if run.next_chunk == before:
                raise run.failure()

    async def _try(self, peer: PublicKey, run: FetchRun) -> bool:
        """Asks one source for what is missing; whether to come back to it if others fail too."""
        error: ChartmeshError | None
        if peer == self._transport.identity:
            if self._serve_self is None:
                return False
            near, far = LoopbackStream.pair(peer, peer)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_serve, self._serve_self, far)
                error = await self._attempt(near, run)
                await near.aclose()
        else:
            try:
                stream = await self._transport.open_stream(peer, PROTOCOL)
            except TransportError as unreachable:
                _log.info("%s cannot be asked: %s", peer.hex()[:12], unreachable)
                return False
            try:
                error = await self._attempt(stream, run)
            finally:
                with trio.CancelScope(deadline=trio.current_time() + limits.WRITE_S, shield=True):
                    await stream.aclose()
        match error:
            case TooSlow():
                _log.info("%s is slow: %s", peer.hex()[:12], error)
                run.slow.add(peer)
                return True
            case None | TransportError():
                return error is not None
            case ProtocolError():
                _log.warning("%s sent what is not the record: %s", peer.hex()[:12], error)
                return False
            case _:
                raise error

    async def _attempt(self, stream: Stream, run: FetchRun) -> ChartmeshError | None:
        """One exchange; what went wrong in it, or None where the source did all it would."""
        try:
            await stream.send(encode(NonceRequest()))
            nonce = decode_blob_reply(await _reply(stream))
            if not isinstance(nonce, Nonce):
                raise Malformed("a nonce was asked for and something else came")
            request = run.request(stream.peer, nonce.nonce, self._clock.wall_ms())
            await stream.send(encode(FetchCall(sign_fetch(request, run.ask.signer, self._network))))
            raw = await _reply(stream)
            match decode_blob_reply(raw):
                case Refusal():
                    run.refused(stream.peer, raw)
                case Serve(content, sequence):
                    run.served(stream.peer, content, sequence)
                    with patience(is_endless=run.is_patient) as scope:
                        await receive_runs(stream, request.chunk_count, self._take(run, scope))
                case _:
                    raise Malformed("a fetch was answered with something else")
        except RefusedMidway:
            run.refused(stream.peer, REFUSAL)
        except ChartmeshError as error:
            return error
        return None

    def _take(self, run: FetchRun, scope: trio.CancelScope) -> Callable[[Sequence[bytes]], Awaitable[None]]:
        async def take(frames: Sequence[bytes]) -> None:
            with paused(scope):
                pieces, error = await self._offload.run(lambda: run.open(frames))
                for piece in pieces:
                    if piece:
                        await run.write(piece)
            if error is not None:
                raise error
            scope.deadline += sum(map(len, frames)) / limits.FETCH_BYTES_PER_S_MIN

        return take


async def _reply(stream: Stream) -> bytes:
    raw = await stream.receive(limits.CONTROL_FRAME_BYTES_MAX, limits.REQUEST_S)
    if raw is None:
        raise TransportError("the peer closed the stream without a reply")
    return raw


async def _serve(handler: StreamHandler, stream: LoopbackStream) -> None:
    """This node's own handler on its end of a loopback, which the other end may leave at any time."""
    try:
        await handler(stream)
    except TransportError as error:
        _log.debug("an own fetch was broken off: %s", error)
    finally:
        await stream.aclose()
