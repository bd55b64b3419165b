"""Fetching a long record from several holders at the same time, each bringing some spans of it.

What comes is verified, opened and handed on in order, as from one holder. One that refuses, lies or fails
is left, and so is one for which all others wait; what it did not bring comes from them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from node.ports import Offload, Stream
from node.records.fetch_run import FetchRun
from node.records.patience import patience, paused
from node.records.spans import Span, Spans
from protocol import limits
from protocol.codec import encode
from protocol.errors import ChartmeshError, TooSlow, TransportError
from protocol.keys import PublicKey
from protocol.messages.blob import ReadCall

Begin = Callable[[PublicKey, FetchRun], AbstractAsyncContextManager[Stream]]
"""A stream to a source that has answered a PacedCall for all that is missing with Serve."""


class Several:
    """One fetch from several sources; `failed` says why each that was left was left."""

    def __init__(self, run: FetchRun, *, offload: Offload, begin: Begin) -> None:
        self._run, self._offload, self._begin = run, offload, begin
        self._spans = Spans(run.next_chunk, run.next_chunk + run.chunks_left)
        self._scopes: dict[PublicKey, trio.CancelScope] = {}
        self._is_waiting = False
        self.failed: dict[PublicKey, ChartmeshError] = {}

    async def fetch(self, sources: Sequence[PublicKey]) -> None:
        """Hands on what they bring, until that is all or none of them is left.

        Raises:
            ChartmeshError: what the run's `write` raises, not in a group.
        """
        failure: ChartmeshError | None = None
        self._scopes = {source: trio.CancelScope() for source in sources}
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(self._work, source)
            try:
                await self._hand_on()
            except ChartmeshError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _hand_on(self) -> None:
        """Opens what came, in order, as long as there is a source."""
        while (head := self._spans.head) is not None:
            first, source = head.first, head.source
            # A thread for a run of chunks costs about as much as for one.
            if source is None or len(head.frames) < min(limits.RUN_CHUNKS, head.count):
                if not self._scopes:
                    return
                self._is_waiting = True
                await self._spans.changed()
                self._is_waiting = False
                continue
            frames = self._spans.pick(limits.RUN_CHUNKS)
            pieces, error = await self._offload.run(partial(self._run.open, frames, source))
            for piece in pieces:
                if piece:
                    await self._run.write(piece)
            if error is not None:
                missing = self._run.next_chunk
                self._spans.put_back(missing, first + len(frames) - missing)
                self._leave(source, error)

    async def _work(self, source: PublicKey) -> None:
        """Has one source bring spans until all are there, or it fails."""
        try:
            with self._scopes[source], patience(is_endless=False) as scope:
                async with self._begin(source, self._run) as stream:
                    await self._bring(source, stream, scope)
        except ChartmeshError as error:
            self.failed[source] = error
        finally:
            del self._scopes[source]
            self._spans.leave(source)

    async def _bring(self, source: PublicKey, stream: Stream, scope: trio.CancelScope) -> None:
        asked: deque[Span] = deque()
        while True:
            while len(asked) < limits.SPANS_AHEAD and (span := self._spans.take(source)) is not None:
                await stream.send(encode(ReadCall(span.first, span.count)))
                asked.append(span)
            if asked:
                frame = await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)
                if frame is None:
                    raise TransportError("the peer ended the stream before the last chunk")
                self._spans.put(asked[0], frame)
                scope.deadline += len(frame) / limits.FETCH_BYTES_PER_S_MIN
                if not asked[0].left:
                    asked.popleft()
            elif self._spans.head is None:
                return
            else:
                with paused(scope):
                    await self._wait_for_head()

    async def _wait_for_head(self) -> None:
        """Until the head is another or a span is free; the source that holds all others up is left."""
        head = self._spans.head
        with trio.move_on_after(limits.FETCH_STALL_S) as waiting:
            while self._spans.head is head and not self._spans.has_free:
                await self._spans.changed()
        is_held_up = waiting.cancelled_caught and self._is_waiting
        if is_held_up and head is not None and head.source is not None:
            self._leave(head.source, TooSlow("other sources wait for it"))

    def _leave(self, source: PublicKey, error: ChartmeshError) -> None:
        self.failed[source] = error
        self._spans.leave(source)
        if source in self._scopes:
            self._scopes[source].cancel()
