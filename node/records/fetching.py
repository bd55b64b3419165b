"""Fetching a record: holders are asked one after the other, for a long record some at the same time, and
nothing they send is believed.

Each chunk is verified against the token's root and decrypted before it is handed on, in order; a holder
that fails, lies or is slow is followed by the next from the same chunk on. In the end the whole is compared
with the token's commitment. Clinics sign as grantees under their identity key, owners under their owner
key.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from node.ports import Clock, Offload, Stream, StreamHandler, Transport
from node.records.fetch_run import Earlier, FetchAsk, Fetched, FetchRun, RefusedBySource, Write
from node.records.loopback import LoopbackStream
from node.records.patience import patience, paused
from node.records.runs import receive_runs
from node.records.several import Several
from protocol import limits
from protocol.access import FetchRequest, sign_fetch
from protocol.blocks import NetworkId
from protocol.codec import encode
from protocol.errors import ChartmeshError, Malformed, ProtocolError, TooSlow, TransportError
from protocol.keys import PublicKey
from protocol.messages.blob import (
    FetchCall,
    Nonce,
    NonceRequest,
    PacedCall,
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

    async def fetch(
        self, ask: FetchAsk, sources: Sequence[PublicKey], write: Write, earlier: Earlier | None = None
    ) -> Fetched:
        """Hands the record's plaintext to `write`, piece by piece, from whichever of `sources` serves it;
        where there is `earlier`, what comes after that.

        Raises:
            FetchRefused: those that could be asked refused.
            TransportError: no source could be reached, or none served all of it.
            Malformed: the key, or the whole in the end, is not what the token commits to.
        """
        run = FetchRun(ask, write)
        if earlier is not None:
            await self._recall(run, earlier)
        remaining = list(sources)
        before = -1
        while run.next_chunk > before and len(together := self._together(run, remaining)) > 1:
            before = run.next_chunk
            several = Several(run, offload=self._offload, begin=self._begin_paced)
            await several.fetch(together)
            for peer, error in several.failed.items():
                if not _is_asked_again(peer, error, run):
                    remaining.remove(peer)
            if run.is_complete:
                return run.finish()
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

    async def _recall(self, run: FetchRun, earlier: Earlier) -> None:
        most = limits.RUN_CHUNKS * limits.PIECE_BYTES
        waiting = bytearray()
        async for octets in earlier:
            waiting += octets
            while len(waiting) >= most:
                await self._offload.run(partial(run.recall, bytes(waiting[:most])))
                del waiting[:most]
        await self._offload.run(partial(run.recall, bytes(waiting)))

    def _together(self, run: FetchRun, sources: Sequence[PublicKey]) -> Sequence[PublicKey]:
        """Whom to ask at the same time: nobody where the record is short, or here already."""
        if run.chunks_left <= limits.FETCH_ALONE_CHUNKS_MAX or self._transport.identity in sources:
            return ()
        return sources[: limits.FETCH_SOURCES_MAX]

    async def _try(self, peer: PublicKey, run: FetchRun) -> bool:
        """Asks one source for what is missing; whether to come back to it if others fail too."""
        try:
            if peer != self._transport.identity:
                async with self._stream(peer) as stream:
                    await self._attempt(stream, run)
            elif self._serve_self is not None:
                await self._try_self(self._serve_self, run)
        except ChartmeshError as error:
            return _is_asked_again(peer, error, run)
        return False

    async def _try_self(self, serve: StreamHandler, run: FetchRun) -> None:
        failure: ChartmeshError | None = None
        near, far = LoopbackStream.pair(self._transport.identity, self._transport.identity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, serve, far)
            try:
                await self._attempt(near, run)
            except ChartmeshError as error:  # not in the nursery's group
                failure = error
            await near.aclose()
        if failure is not None:
            raise failure

    @asynccontextmanager
    async def _stream(self, peer: PublicKey) -> AsyncIterator[Stream]:
        stream = await self._transport.open_stream(peer, PROTOCOL)
        try:
            yield stream
        finally:
            with trio.CancelScope(deadline=trio.current_time() + limits.WRITE_S, shield=True):
                await stream.aclose()

    @asynccontextmanager
    async def _begin_paced(self, peer: PublicKey, run: FetchRun) -> AsyncIterator[Stream]:
        async with self._stream(peer) as stream:
            await self._begin(stream, run, PacedCall)
            yield stream

    async def _begin(
        self, stream: Stream, run: FetchRun, call: type[FetchCall | PacedCall]
    ) -> FetchRequest:
        """Asks for all that is missing, and returns once it is served.

        Raises:
            RefusedBySource: it is not. TransportError, Malformed: no answer to this.
        """
        await stream.send(encode(NonceRequest()))
        nonce = decode_blob_reply(await _reply(stream))
        if not isinstance(nonce, Nonce):
            raise Malformed("a nonce was asked for and something else came")
        request = run.request(stream.peer, nonce.nonce, self._clock.wall_ms())
        await stream.send(encode(call(sign_fetch(request, run.ask.signer, self._network))))
        raw = await _reply(stream)
        match decode_blob_reply(raw):
            case Refusal():
                raise RefusedBySource(raw)
            case Serve(content, sequence):
                run.served(stream.peer, content, sequence)
            case _:
                raise Malformed("a fetch was answered with something else")
        return request

    async def _attempt(self, stream: Stream, run: FetchRun) -> None:
        """One exchange, in which the source serves all it would. Raises ChartmeshError."""
        request = await self._begin(stream, run, FetchCall)
        with patience(is_endless=run.is_patient) as scope:
            take = self._take(run, stream.peer, scope)
            await receive_runs(stream, request.chunk_count, take)

    def _take(
        self, run: FetchRun, source: PublicKey, scope: trio.CancelScope
    ) -> Callable[[Sequence[bytes]], Awaitable[None]]:
        async def take(frames: Sequence[bytes]) -> None:
            with paused(scope):
                pieces, error = await self._offload.run(lambda: run.open(frames, source))
                for piece in pieces:
                    if piece:
                        await run.write(piece)
            if error is not None:
                raise error
            scope.deadline += sum(map(len, frames)) / limits.FETCH_BYTES_PER_S_MIN

        return take


def _is_asked_again(peer: PublicKey, error: ChartmeshError, run: FetchRun) -> bool:
    """Notes why a source was left; whether to come back to it if others fail too. Raises what is no fault
    of a source's."""
    name = peer.hex()[:12]
    match error:
        case RefusedBySource(raw=raw):
            run.refused(peer, raw)
        case TooSlow():
            _log.info("%s is slow: %s", name, error)
            run.slow.add(peer)
            return True
        case TransportError():
            _log.info("%s did not serve all of it: %s", name, error)
            return True
        case ProtocolError():
            _log.warning("%s sent what is not the record: %s", name, error)
        case _:
            raise error
    return False


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
