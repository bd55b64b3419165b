"""A node's clocks on virtual time: a wall clock that drifts, is set wrong or stops, and elapsed time."""

from collections.abc import Callable

EPOCH_MS = 1_767_225_600_000
"""Unix time at the start of every simulation: 2026-01-01."""


class SimClock:
    """A `ports.Clock`. Wall time = epoch + time · (1 + drift) + offset; `now_ms` is virtual time.

    `origin_ms` makes the elapsed times of two nodes incomparable, as those of two machines are.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        drift_ppm: int = 0,
        offset_ms: int = 0,
        origin_ms: int = 0,
    ) -> None:
        self._true_ms = now_ms
        self._origin_ms = origin_ms
        self._missed_ms = 0
        self._paused_ms: int | None = None
        self._shown_ms: int | None = None
        self.drift_ppm = drift_ppm
        self.offset_ms = offset_ms

    def wall_ms(self) -> int:
        if self._shown_ms is not None:
            return self._shown_ms
        now_ms = self._now_ms()
        return EPOCH_MS + now_ms + now_ms * self.drift_ppm // 1_000_000 + self.offset_ms

    def elapsed_ms(self) -> int:
        return self._origin_ms + self._now_ms()

    def step(self, by_ms: int) -> None:
        """Sets the wall clock forward or back at once."""
        self.offset_ms += by_ms

    def stand_still(self) -> None:
        """From now on the wall clock shows the same time, until it is set right."""
        self._shown_ms = self.wall_ms()

    def set_right(self) -> None:
        """The wall clock shows the time."""
        self._shown_ms, self.offset_ms = None, self._missed_ms

    def pause(self) -> None:
        """Both clocks stop, as those of a virtual machine that is paused."""
        self._paused_ms = self._now_ms()

    def resume(self) -> None:
        """Both go on, and miss what has passed."""
        paused_ms = self._now_ms()
        self._paused_ms = None
        self._missed_ms += self._now_ms() - paused_ms

    def skip(self, by_ms: int) -> None:
        """Both show at once that so much time has passed, as to a process that was stopped meanwhile."""
        self._missed_ms -= by_ms

    def _now_ms(self) -> int:
        return self._true_ms() - self._missed_ms if self._paused_ms is None else self._paused_ms
