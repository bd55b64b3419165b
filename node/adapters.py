"""The real clock, randomness and offload behind the ports. Their simulated kin live with the simulator."""

import os
import secrets  # noqa: TID251
import time
from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

_NS_PER_MS: Final = 1_000_000
OFFLOAD_THREADS_MAX: Final = 4
# Where the system has no CLOCK_BOOTTIME (macOS), its monotonic clock counts suspend.
_ELAPSED: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """A `ports.Clock` over the machine's clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // _NS_PER_MS

    def elapsed_ms(self) -> int:
        return time.clock_gettime_ns(_ELAPSED) // _NS_PER_MS


class SystemEntropy:
    """A `ports.Entropy` over the operating system's generator."""

    def bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def below(self, bound: int) -> int:
        return secrets.randbelow(bound)


class ThreadOffload:
    """A `ports.Offload` over worker threads. Waits for the work even when cancelled."""

    def __init__(self, threads: int | None = None) -> None:
        self._limiter = trio.CapacityLimiter(threads or min(OFFLOAD_THREADS_MAX, os.cpu_count() or 1))

    async def run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineOffload:
    """A `ports.Offload` that does the work at once, for the simulator: threads would break replay."""

    async def run(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return work()
