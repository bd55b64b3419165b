"""What the charts show: how the node was, looked at again and again since its page was opened."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import trio

from node.ports import Clock
from node.web.asking import Asking
from protocol import limits
from protocol.control import Status, StoreStat
from protocol.errors import ChartmeshError


@dataclass(frozen=True, slots=True)
class Moment:
    """One look. `at_ms` is Unix time, `databases` bytes by name."""

    at_ms: int
    height: int
    final_age_s: float
    databases: dict[str, int]


class History:
    """The newest looks, the oldest first."""

    def __init__(self, asking: Asking, clock: Clock) -> None:
        self._asking, self._clock = asking, clock
        self.moments: deque[Moment] = deque(maxlen=limits.PAGE_MOMENTS_MAX)

    async def run(self) -> None:
        """Looks until cancelled. A node without a network shows nothing yet."""
        while True:
            # A node that has no network yet, or is between two, has nothing to show.
            with suppress(ChartmeshError):
                await self.look()
            await trio.sleep(limits.PAGE_MOMENT_S)

    async def look(self) -> None:
        status, stores = await self._asking(Status()), await self._asking(StoreStat())
        if status.final_age_s is not None:
            databases = {one.name: one.bytes for one in stores.databases}
            moment = Moment(self._clock.wall_ms(), status.height, status.final_age_s, databases)
            self.moments.append(moment)
