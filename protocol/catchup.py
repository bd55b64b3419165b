"""Which heights to ask of whom, while a node fetches the blocks that it missed from several peers at once.

A plan cuts what is missing into ranges and gives each idle peer the lowest one that nobody works on, so
that blocks can be taken in order while later ones travel. What has arrived and waits for what is before
it, together with what is under way, is bounded. A peer that keeps all others waiting is overtaken: its
range is given to another too, and whoever answers first has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from protocol.keys import PublicKey
from protocol.limits import (
    CATCH_UP_AVOID_MS,
    CATCH_UP_OVERTAKE_MS,
    CATCH_UP_PATIENCE,
    CATCH_UP_RANGES_MAX,
    CATCH_UP_RETRY_MS,
    RANGE_BLOCKS_MAX,
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Range:
    """Heights `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Asked:
    heights: Range
    since_ms: int


@dataclass(frozen=True, slots=True)
class Arrived(Generic[R]):
    """A reply of `peer` that covers `heights`, not taken in yet."""

    peer: PublicKey
    heights: Range
    reply: R


class Plan(Generic[R]):
    """The ranges above `height`. A peer is asked for one at a time.

    `span` is how many blocks a range has: as many as lately fitted one reply.
    """

    def __init__(self, height: int) -> None:
        self.height = height
        self.span = RANGE_BLOCKS_MAX
        self._heads: dict[PublicKey, int] = {}
        self._asked: dict[PublicKey, _Asked] = {}
        self._arrived: list[Arrived[R]] = []
        self._taken: Arrived[R] | None = None
        self._took_ms: dict[PublicKey, int] = {}

    def heard(self, peer: PublicKey, head: int) -> None:
        """`peer` says that it holds all blocks up to `head`."""
        self._heads[peer] = head

    def is_ahead(self, peer: PublicKey) -> bool:
        """Whether `peer` holds blocks that were not taken in yet."""
        return self._heads.get(peer, 0) > self.height

    def ask(self, peer: PublicKey, now_ms: int) -> Range | None:
        """What to ask of an idle `peer` now; None where there is nothing for it at present."""
        heights = self._next_free(self._heads.get(peer, 0)) or self._overdue(peer, now_ms)
        if heights is not None:
            self._asked[peer] = _Asked(heights, now_ms)
        return heights

    def answered(self, peer: PublicKey, last: int, reply: R, now_ms: int) -> None:
        """The reply of `peer` covers its range up to `last`: less where it was full, and more where only
        a later block has a finalization of its own. What comes from a peer that was released is dropped."""
        owed = self._asked.pop(peer, None)
        if owed is None:
            return
        asked = owed.heights
        self._took_ms[peer] = now_ms - owed.since_ms
        count = last - asked.first + 1
        if last < asked.last:
            self.span = max(1, count)
        elif count >= self.span:
            self.span = min(RANGE_BLOCKS_MAX, 2 * self.span)
        self._arrived.append(Arrived(peer, Range(asked.first, last), reply))

    def release(self, peer: PublicKey) -> None:
        """`peer` failed: its range is for others, and what it said counts no more."""
        self._heads.pop(peer, None)
        self._took_ms.pop(peer, None)
        self._arrived = [item for item in self._arrived if item.peer != peer]
        if self._taken is not None and self._taken.peer == peer:
            self._taken = None
        if self._asked.pop(peer, None) is not None:
            # Where the link is slow, a shorter reply may still come in time.
            self.span = max(1, self.span // 2)

    def take(self) -> Arrived[R] | None:
        """The reply that goes on from `height`, if it is there. Until the next call nobody is asked for it
        again, unless its peer is released meanwhile: to take it in takes time."""
        self._taken = None
        self._arrived = [item for item in self._arrived if item.heights.last > self.height]
        for place, item in enumerate(self._arrived):
            if item.heights.first <= self.height + 1:
                self._taken = self._arrived.pop(place)
                break
        return self._taken

    def reached(self, height: int) -> None:
        """All blocks up to `height` were taken in."""
        self.height = max(self.height, height)

    def overtaken(self, now_ms: int) -> list[PublicKey]:
        """Peers that still owe, after too long, what others have delivered: drop them."""
        return [
            peer
            for peer, asked in self._asked.items()
            if asked.heights.first <= self.height and asked.since_ms + self._patience_ms() <= now_ms
        ]

    def _patience_ms(self) -> int:
        """How long a reply may take. Where even the quickest peer is slow, as on a busy machine, asking
        twice would only make it slower; and no slow one can make this longer."""
        return max(CATCH_UP_OVERTAKE_MS, CATCH_UP_PATIENCE * min(self._took_ms.values(), default=0))

    def _next_free(self, head: int) -> Range | None:
        """The lowest range up to `head` that nobody works on, while there is room for its reply."""
        taken = [item.heights for item in self._arrived]
        taken += [asked.heights for asked in self._asked.values()]
        next_first = first = 1 + max(self.height, self._taken.heights.last if self._taken else 0)
        last = head
        for one in sorted(taken, key=lambda heights: heights.first):
            if one.first > first:
                last = min(last, one.first - 1)
                break
            first = max(first, one.last + 1)
        is_next = first == next_first
        if first > last or (len(taken) >= CATCH_UP_RANGES_MAX and not is_next):
            return None
        return Range(first, min(last, first + self.span - 1))

    def _overdue(self, peer: PublicKey, now_ms: int) -> Range | None:
        """The range that all wait for, where the one asked for it takes too long."""
        first = self.height + 1
        asking = [item for item in self._asked.values() if item.heights.first <= first]
        if not asking or self._heads.get(peer, 0) < first:
            return None
        if max(item.since_ms for item in asking) + self._patience_ms() > now_ms:
            return None
        last = min(asking[0].heights.last, self._heads[peer], first + self.span - 1)
        return Range(first, last)


class Avoided:
    """Which peers failed lately, and so whom to ask at all."""

    def __init__(self) -> None:
        self._failed_ms: dict[PublicKey, int] = {}

    def failed(self, peer: PublicKey, now_ms: int) -> None:
        self._failed_ms[peer] = now_ms

    def left(
        self,
        peers: Sequence[PublicKey],
        height: int,
        heads: Mapping[PublicKey, int],
        wanted: int,
        now_ms: int,
    ) -> list[PublicKey]:
        """Whom of `peers` to ask now, being at `height` while blocks up to `wanted` are said to be final.

        `heads` is how far each says that it is. Whoever failed is passed over for a while, as long as the
        others can help: where blocks are missing and none of them has any, those that failed are tried
        again sooner. Two that are both behind would else have nobody but each other.
        """
        good = [peer for peer in peers if self._rests(peer, now_ms) >= CATCH_UP_AVOID_MS]
        if good and (wanted <= height or any(heads.get(peer, 0) > height for peer in good)):
            return good
        return [peer for peer in peers if self._rests(peer, now_ms) >= CATCH_UP_RETRY_MS]

    def _rests(self, peer: PublicKey, now_ms: int) -> int:
        return now_ms - self._failed_ms.get(peer, now_ms - CATCH_UP_AVOID_MS)


def known_height(heads: Mapping[PublicKey, int], faults: int) -> int:
    """How far the ledger is, by what members say of their own heads: as far as one more than `faults` of
    them say, for so many may lie. 0 where too few say anything."""
    claimed = sorted(heads.values(), reverse=True)
    return claimed[faults] if len(claimed) > faults else 0
