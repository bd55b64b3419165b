"""What is under way of one record when several holders bring it, each some spans of its chunks.

Spans are taken in order and at most `limits.SPANS_MAX` are under way, so that what came early and waits for
what comes before it is bounded. What a holder did not bring goes to the next that is free.
"""

from collections import deque
from dataclasses import dataclass, field

import trio

from protocol import limits
from protocol.keys import PublicKey


@dataclass(slots=True)
class Span:
    """`count` chunks from `first` on, without those that were handed on. `source` is asked for them, and
    `frames` are those that came from it."""

    first: int
    count: int
    source: PublicKey | None = None
    frames: list[bytes] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many its source has yet to bring."""
        return self.count - len(self.frames)


class Spans:
    """The chunks `first` to `stop`, in spans."""

    def __init__(self, first: int, stop: int) -> None:
        self._next, self._stop = first, stop
        self._under_way: deque[Span] = deque()
        self._changed = trio.Event()

    @property
    def head(self) -> Span | None:
        """The span that is to be handed on next; None where all were."""
        if not self._under_way and self._next < self._stop:
            self._begin()
        return self._under_way[0] if self._under_way else None

    @property
    def has_free(self) -> bool:
        """Whether `take` would give a span."""
        is_room = self._next < self._stop and len(self._under_way) < limits.SPANS_MAX
        return is_room or any(span.source is None for span in self._under_way)

    async def changed(self) -> None:
        """Returns at the next change of any span."""
        await self._changed.wait()

    def take(self, source: PublicKey) -> Span | None:
        """A span for `source` to bring; None where none is free, or too much is under way."""
        if not self.has_free:
            return None
        free = next((span for span in self._under_way if span.source is None), None) or self._begin()
        free.source = source
        return free

    def put(self, span: Span, frame: bytes) -> None:
        """The next chunk of a span came."""
        span.frames.append(frame)
        self._change()

    def pick(self, most: int) -> list[bytes]:
        """Takes out what came of the head, at most so many frames: they count as handed on."""
        head = self._under_way[0]
        picked, head.frames = head.frames[:most], head.frames[most:]
        head.first += len(picked)
        head.count -= len(picked)
        if not head.count:
            self._under_way.popleft()
            self._change()
        return picked

    def put_back(self, first: int, count: int) -> None:
        """Of what was handed on, these chunks were not what they should be."""
        self._under_way.appendleft(Span(first, count))
        self._change()

    def leave(self, source: PublicKey) -> None:
        """Nothing more comes from `source`: others bring what it did not, but for spans that came whole."""
        for span in self._under_way:
            if span.source == source and span.left:
                span.source, span.frames = None, []
        self._change()

    def _begin(self) -> Span:
        span = Span(self._next, min(limits.SPAN_CHUNKS, self._stop - self._next))
        self._next += span.count
        self._under_way.append(span)
        return span

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
