"""How long a view may take: patience first, then a timeout that doubles with every failure."""

from protocol.limits import NetworkLimits

DOUBLINGS_MAX = 8


class Pace:
    """The timer of the current view, in milliseconds of elapsed time. It runs only while there is work."""

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self._entered_ms, self._failures = 0, 0
        self._timeout_ms: int | None = None

    @property
    def patience_ms(self) -> int:
        """How long a leader waits for the finalization of the block before its own."""
        return self._limits.view_timeout_ms // 4

    def enter(self, now_ms: int) -> None:
        """Another view begins."""
        self._entered_ms, self._timeout_ms = now_ms, None

    def succeed(self) -> None:
        """A block became final: the next timeout is the shortest again."""
        self._failures = 0

    def fail(self) -> None:
        """The view timed out."""
        self._failures += 1
        self._timeout_ms = None

    def run(self, now_ms: int, *, has_work: bool) -> None:
        """Starts the timer where there is work, and stops it where there is none."""
        if not has_work:
            self._timeout_ms = None
        elif self._timeout_ms is None:
            timeout_ms = self._limits.view_timeout_ms << min(self._failures, DOUBLINGS_MAX)
            self._timeout_ms = now_ms + min(timeout_ms, self._limits.view_timeout_max_ms)

    def is_over(self, now_ms: int) -> bool:
        return self._timeout_ms is not None and now_ms >= self._timeout_ms

    def is_patience_over(self, now_ms: int) -> bool:
        return now_ms >= self._entered_ms + self.patience_ms

    def wake_ms(self, now_ms: int) -> int | None:
        """When the timer has something to say next."""
        patience_ends_ms = self._entered_ms + self.patience_ms
        if self._timeout_ms is None or patience_ends_ms <= now_ms:
            return self._timeout_ms
        return min(self._timeout_ms, patience_ends_ms)
