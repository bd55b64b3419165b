"""Budgets of the network as plain arithmetic: token buckets, counters, back-off. No clock, no tasks."""

from collections import Counter
from collections.abc import Hashable


class TokenBucket:
    """`rate_per_s` tokens a second, at most `burst` saved up, full at first. Times are elapsed ms."""

    def __init__(self, rate_per_s: float, burst: float, now_ms: int) -> None:
        self._rate_per_ms = rate_per_s / 1000
        self._burst = burst
        self._tokens = float(burst)
        self._filled_ms = now_ms

    def take(self, now_ms: int) -> bool:
        """Takes one token; False where there is none, and then nothing is taken."""
        self._fill(now_ms)
        if self._tokens < 1:
            return False
        self._tokens -= 1
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


class Admission:
    """Counts connections not yet proved: at most `total`, and at most `per_address` from one address."""

    def __init__(self, total: int, per_address: int) -> None:
        self._slots = Slots(total)
        self._per_address = per_address
        self._addresses: Counter[Hashable] = Counter()

    @property
    def taken(self) -> int:
        return self._slots.taken

    def enter(self, address: Hashable) -> bool:
        if self._addresses[address] >= self._per_address or not self._slots.enter():
            return False
        self._addresses[address] += 1
        return True

    def leave(self, address: Hashable) -> None:
        self._slots.leave()
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


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
