"""Places of which everyone gets a fair share, and nobody all."""

from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import trio


class Places:
    """`total` places, `each` at most for one holder. A free one goes to whom holds fewest, in order of
    arrival among equals."""

    def __init__(self, total: int, each: int) -> None:
        self._total, self._each = total, each
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[trio.Event, Hashable] = {}  # in order of arrival
        self._is_closed = False
        self._is_empty = trio.Event()
        self._is_empty.set()

    @asynccontextmanager
    async def taken_by(self, holder: Hashable) -> AsyncIterator[None]:
        """Waits for a place, and holds it until the block ends. Once closed, waits for ever."""
        await self._enter(holder)
        try:
            yield
        finally:
            self._leave(holder)

    async def close(self) -> None:
        """Gives no more places, and returns when all are free."""
        self._is_closed = True
        await self._is_empty.wait()

    async def _enter(self, holder: Hashable) -> None:
        turn = trio.Event()
        self._waiting[turn] = holder
        self._give()
        try:
            await turn.wait()
        except BaseException:
            # The place may have been given at the very moment in which its taker was cancelled.
            if self._waiting.pop(turn, None) is None:
                self._leave(holder)
            raise

    def _leave(self, holder: Hashable) -> None:
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        if not self._held:
            self._is_empty.set()
        self._give()

    def _give(self) -> None:
        while not self._is_closed and self._held.total() < self._total:
            able = [turn for turn, holder in self._waiting.items() if self._held[holder] < self._each]
            if not able:
                return
            turn = min(able, key=lambda turn: self._held[self._waiting[turn]])
            self._held[self._waiting.pop(turn)] += 1
            self._is_empty = trio.Event()
            turn.set()
