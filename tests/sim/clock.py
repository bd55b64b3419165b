"""A node's clocks on virtual time: wall time that drifts and is set wrong, elapsed time that is right."""

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
        self._now_ms = now_ms
        self._origin_ms = origin_ms
        self.drift_ppm = drift_ppm
        self.offset_ms = offset_ms

    def wall_ms(self) -> int:
        now_ms = self._now_ms()
        return EPOCH_MS + now_ms + now_ms * self.drift_ppm // 1_000_000 + self.offset_ms

    def elapsed_ms(self) -> int:
        return self._origin_ms + self._now_ms()

    def step(self, by_ms: int) -> None:
        """Sets the wall clock forward or back at once."""
        self.offset_ms += by_ms
