"""Budgets of the network as plain arithmetic: token buckets, counters, back-off. No clock, no tasks."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass


class TokenBucket:
    """`rate_per_s` tokens a second, at most `burst` saved up, full at first. Times are elapsed ms."""

    def __init__(self, rate_per_s: float, burst: float, now_ms: int) -> None:
        self._rate_per_ms = rate_per_s / 1000
        self._burst = burst
        self._tokens = float(burst)
        self._filled_ms = now_ms

    def take(self, now_ms: int, count: int = 1) -> bool:
        """Takes so many tokens; False where there are fewer, and then nothing is taken."""
        self._fill(now_ms)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def is_full(self, now_ms: int) -> bool:
        """Whether nothing was taken for so long that a new bucket would be no different."""
        self._fill(now_ms)
        return self._tokens >= self._burst

    def _fill(self, now_ms: int) -> None:
        self._tokens = min(self._burst, self._tokens + (now_ms - self._filled_ms) * self._rate_per_ms)
        self._filled_ms = now_ms


class Slots:
    """A counter that refuses to pass `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def enter(self) -> bool:
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        self.taken -= 1


@dataclass(eq=False, slots=True)
class Place:
    """One handshake under way. `give_up` ends it where another takes its place."""

    address: Hashable
    since_ms: int
    give_up: Callable[[], None]


class Admission:
    """Places for connections not yet proved: at most `total`, and at most `per_address` of one address.

    Where all are taken the oldest gives way, once it has had `safe_ms`: an honest handshake takes a
    fraction of that, and silence must not shut the door.
    """

    def __init__(self, total: int, per_address: int, safe_ms: int) -> None:
        self._total, self._per_address, self._safe_ms = total, per_address, safe_ms
        self._places: dict[Place, None] = {}  # in order of arrival
        self._addresses: Counter[Hashable] = Counter()

    @property
    def taken(self) -> int:
        return len(self._places)

    def enter(self, address: Hashable, now_ms: int, give_up: Callable[[], None]) -> Place | None:
        """A place, to be given back by `leave`; None where there is none."""
        rivals: Iterable[Place] = ()
        if self._addresses[address] >= self._per_address:
            rivals = (place for place in self._places if place.address == address)
        elif len(self._places) >= self._total:
            rivals = self._places
        oldest = next(iter(rivals), None)
        if oldest is not None:
            if now_ms - oldest.since_ms < self._safe_ms:
                return None
            self.leave(oldest)
            oldest.give_up()
        place = Place(address, now_ms, give_up)
        self._places[place] = None
        self._addresses[address] += 1
        return place

    def leave(self, place: Place) -> None:
        """Harmless for a place that has given way."""
        if place not in self._places:
            return
        del self._places[place]
        self._addresses[place.address] -= 1
        if not self._addresses[place.address]:
            del self._addresses[place.address]


class Buckets:
    """One bucket for each of many. Full ones are forgotten, so that strangers cannot fill the memory."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: Hashable, now_ms: int) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate_per_s, self._burst, now_ms)
        return bucket.take(now_ms)

    def forget_full(self, now_ms: int) -> None:
        self._buckets = {name: one for name, one in self._buckets.items() if not one.is_full(now_ms)}


class Shares:
    """What each of many holds of one room of `total`."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[Hashable, int] = {}

    def put(self, holder: Hashable, count: int) -> None:
        """`holder` now holds so much; nothing ends its share."""
        if count:
            self._held[holder] = count
        else:
            self._held.pop(holder, None)

    def clear(self) -> None:
        self._held.clear()

    def is_over(self) -> bool:
        return sum(self._held.values()) > self._total

    def largest(self) -> Hashable:
        """Who holds most."""
        return max(self._held, key=self._held.__getitem__)


class Backoff:
    """Waits that double from `first_s` to `most_s` seconds."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """How long to wait now; the wait after it is twice as long."""
        wait_s = self._next_s
        self._next_s = min(self._most_s, 2 * wait_s)
        return wait_s

    def reset(self) -> None:
        self._next_s = self._first_s
