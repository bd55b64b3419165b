"""What happens to bytes between two nodes: delay, loss, doubling, cuts and clogs, all by dice."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim.world import Act, Timeline


@dataclass
class Weather:
    """The conditions of all links, changed while the world runs. Shares are of 1.

    Latency is 1 ms plus an exponential share of mean `latency_ms`; a `straggler` takes 2 s more.
    Arrivals are rounded up to whole `tick_ms`, so that in a large cluster more arrives at once. Without
    `gossip` nothing travels by it.
    With `fixed`, every latency is exactly `latency_ms`: many things then happen at the same time.
    """

    loss: float = 0.0
    doubled: float = 0.02
    straggler: float = 0.01
    stream_reset: float = 0.0
    latency_ms: int = 50
    fixed: bool = False
    tick_ms: int = 1
    gossip: bool = True

    def calm(self) -> None:
        self.loss, self.stream_reset, self.gossip = 0.0, 0.0, True


STRAGGLER_MS = 2_000


class Link:
    """One direction between two nodes. Cut: datagrams are lost, streams stall. Clogged: all stalls."""

    def __init__(self, timeline: Timeline, weather: Weather, dice: random.Random) -> None:
        self._timeline, self._weather, self._dice = timeline, weather, dice
        self._stalled: list[tuple[Act, tuple[Any, ...]]] = []
        self.is_cut = False
        self.is_clogged = False

    def is_lost(self) -> bool:
        """Throws the dice for one datagram."""
        return self.is_cut or self._dice.random() < self._weather.loss

    def is_doubled(self) -> bool:
        return self._dice.random() < self._weather.doubled

    def resets_stream(self) -> bool:
        return self._weather.stream_reset > 0 and self._dice.random() < self._weather.stream_reset

    def delay_ms(self) -> int:
        weather = self._weather
        if weather.fixed:
            return weather.latency_ms
        delay_ms = 1 + int(self._dice.expovariate(1.0) * weather.latency_ms)
        delay_ms += STRAGGLER_MS if self._dice.random() < weather.straggler else 0
        return delay_ms + -(self._timeline.now_ms() + delay_ms) % weather.tick_ms

    def carry(self, act: Act, *arguments: Any) -> None:
        """Calls `act` once the latency is over and the link lets it through; never drops it."""
        self._timeline.after(self.delay_ms(), self._arrive, act, arguments)

    def cut(self) -> None:
        self.is_cut = True

    def clog(self) -> None:
        self.is_clogged = True

    def uncut(self) -> None:
        self.is_cut = False
        self._let_through()

    def unclog(self) -> None:
        self.is_clogged = False
        self._let_through()

    def _let_through(self) -> None:
        """Sends what stalled on its way again; it stalls again where the link is still closed."""
        stalled, self._stalled = self._stalled, []
        for act, arguments in stalled:
            self.carry(act, *arguments)

    def _arrive(self, act: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if self.is_cut or self.is_clogged:
            self._stalled.append((act, arguments))
        else:
            act(*arguments)
