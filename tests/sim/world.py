"""A world in which everything follows from one seed: virtual time, order of tasks, faults, randomness.

`simulate` runs a story under a clock that moves to the next deadline when every task waits, and with
trio's scheduler seeded. The same commit and seed give the same trace, byte for byte,
in any process. What would break that (threads, sockets, wall time, operating-system randomness, the
order of sets) stays outside: services reach the world through `node.ports` alone.
"""

import gc
import hashlib
import math
import os
import platform
import random
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from heapq import heappop, heappush
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import trio
import trio._core._run

from tests.sim.signatures import remember_signatures

TAIL_LINES = 60

Act = Callable[..., object]


LIVENESS = frozenset(("L9", "V1"))


class Violation(AssertionError):
    """An invariant does not hold; `invariant` is its short name, such as L1."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant

    @property
    def is_of_liveness(self) -> bool:
        """Whether only progress failed, and nothing wrong was done."""
        return self.invariant in LIVENESS


class Timeline:
    """Acts of the world itself (deliveries, restarts, heals) by due time.

    Time is counted in whole milliseconds, so that ties are frequent and seen by the scheduler's dice.
    """

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Act, tuple[Any, ...]]] = []
        self._order = 0
        self._wait: trio.CancelScope | None = None

    def now_ms(self) -> int:
        return round(trio.current_time() * 1000)

    def after(self, delay_ms: int, act: Act, *arguments: Any) -> None:
        """Calls `act` in `delay_ms`; acts due at the same time are called in the order of asking."""
        at_ms = self.now_ms() + delay_ms
        self._order += 1
        heappush(self._due, (at_ms, self._order, act, arguments))
        if self._wait is not None and at_ms / 1000 < self._wait.deadline:
            self._wait.deadline = at_ms / 1000

    @property
    def next_s(self) -> float:
        """When the next act is due, in seconds; infinite where none is."""
        return self._due[0][0] / 1000 if self._due else math.inf

    def act_until(self, now_ms: int) -> None:
        """Carries out what is due by now."""
        while self._due and self._due[0][0] <= now_ms:
            _, _, act, arguments = heappop(self._due)
            act(*arguments)

    async def run(self) -> None:
        """Acts by itself, where another clock than `VirtualTime` drives the run."""
        while True:
            self.act_until(self.now_ms())
            with trio.CancelScope(deadline=self.next_s) as self._wait:
                await trio.sleep_forever()


class VirtualTime(trio.abc.Clock):
    """Time that stands still while any task runs, and then moves to what comes next.

    trio asks how long to sleep exactly when every task waits: then the world acts, or a deadline is due.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._now_s = 0.0

    def start_clock(self) -> None:
        """Nothing: it starts at zero."""

    def current_time(self) -> float:
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        next_s = self._timeline.next_s
        if math.isinf(min(next_s, deadline)):
            raise RuntimeError("every task waits for ever")
        self._now_s = max(self._now_s, min(next_s, deadline))
        if next_s <= self._now_s:
            self._timeline.act_until(round(next_s * 1000))
        return 0.0


class Trace:
    """SHA-256 over one line for each event of the world, and the last lines in words."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._hash = hashlib.sha256()
        self._tail: deque[tuple[str, bytes]] = deque(maxlen=TAIL_LINES)
        self._all: list[str] | None = [] if os.environ.get("CHARTMESH_SIM_TRACE") else None
        self.lines = 0

    def note(self, kind: str, who: str = "", whom: str = "", content: bytes = b"") -> None:
        """One event: what, by whom, to whom, and the bytes or words it carried."""
        line = f"{self._now_ms()} {kind} {who} {whom} {len(content)} "
        self._hash.update(line.encode())
        self._hash.update(content)
        self._tail.append((line, content))
        self.lines += 1
        if self._all is not None:
            self._all.append(_in_words(line, content))

    def digest(self) -> str:
        return self._hash.hexdigest()

    def tail(self) -> str:
        return "\n".join(_in_words(line, content) for line, content in self._tail)

    def save(self) -> None:
        """Writes every line to the file that CHARTMESH_SIM_TRACE names, if it does."""
        if self._all is not None:
            with open(os.environ["CHARTMESH_SIM_TRACE"], "w", encoding="utf-8") as file:
                file.write("\n".join(self._all) + "\n")


def _in_words(line: str, content: bytes) -> str:
    words = content.decode() if content.isascii() and len(content) < 100 else ""
    return line + (words if words.isprintable() and words else hashlib.sha256(content).hexdigest()[:12])


class World:
    """The seed, the time, the trace, and what was found wrong. One world is one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.timeline = Timeline()
        self.trace = Trace(self.timeline.now_ms)
        self.violations: list[Violation] = []
        self.nursery: trio.Nursery | None = None

    def dice(self, name: str) -> random.Random:
        """A random source of its own for each part of the world, by the part's name."""
        return random.Random(f"{self.seed}/{name}")

    def report(self, violation: Violation) -> None:
        """Ends the run. Never raises: the caller may stand inside a service that guards itself."""
        self.violations.append(violation)
        self.trace.note("violation", violation.invariant, "", str(violation).encode())
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    async def run(self, story: Callable[["World"], Awaitable[None]]) -> None:
        """Plays `story` until it returns.

        Raises:
            Violation: the first one reported.
        """
        try:
            async with trio.open_nursery() as self.nursery:
                await story(self)
                self.nursery.cancel_scope.cancel()
        except* Violation as group:
            self.violations += [error for error in leaves(group) if isinstance(error, Violation)]
        finally:
            self.nursery = None
            self.trace.save()
        if self.violations:
            raise self.violations[0]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups of errors."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def run_simulation(
    main: Callable[[], Awaitable[None]], clock: trio.abc.Clock, seed: int, *, seeded: bool = True
) -> None:
    """`main` under `clock`; with `seeded`, in the order of tasks that the seed gives.

    The two names of trio's own are private; the canary test fails if a release renames them.
    """
    core: Any = trio._core._run
    collecting = gc.isenabled()
    with ExitStack() as stack:
        stack.enter_context(remember_signatures())
        if seeded:
            dice = random.Random(f"{seed}/scheduler")
            stack.enter_context(patch.multiple(core, _ALLOW_DETERMINISTIC_SCHEDULING=True, _r=dice))
        gc.disable()
        try:
            trio.run(main, clock=clock)
        finally:
            if collecting:
                gc.enable()


def simulate(story: Callable[[World], Awaitable[None]], seed: int, *, seeded: bool = True) -> World:
    """Plays `story` in a fresh world and returns it. What it raises carries how to see it again."""
    world = World(seed)

    async def main() -> None:
        await world.run(story)

    try:
        run_simulation(main, VirtualTime(world.timeline), seed, seeded=seeded)
    except BaseException as error:
        error.add_note(f"{reproduction(seed)}\nthe last events:\n{world.trace.tail()}")
        raise
    return world


def reproduction(seed: int) -> str:
    """What is needed to run a seed again."""
    versions = f"Python {platform.python_version()}, trio {version('trio')}"
    return f"to repeat: CHARTMESH_SIM_SEED={seed} at commit {commit()} ({versions})"


def commit() -> str:
    """The checked-out commit, or a fixed word outside a clone."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=os.path.dirname(__file__)
        )
    except OSError:
        return "none"
    return found.stdout.strip() or "none"
