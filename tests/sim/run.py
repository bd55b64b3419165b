"""Runs fresh seeds by the hour and keeps count: `python -m tests.sim.run --hours 10`.

Seeds follow from a word, by default the checked-out commit, and a number. Every seed that breaks an
invariant is printed with what is needed to repeat it. The count goes to a ledger file as one line of
JSON for each run: what ran, on which commit, how many simulated node-hours, and what was found.

It ends with status 3 where safety was broken, with 4 where only progress was, and with 1 where the
simulator itself failed.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from tests.sim.ledger_story import LedgerStory
from tests.sim.seeds import seed_of
from tests.sim.world import Violation, commit, reproduction, simulate

LEDGER = Path(__file__).with_name("node-hours.jsonl")
HOUR_S = 3_600
TORMENT_S = 600.0
SAVE_EVERY_S = 120


class Exit(IntEnum):
    """How a run ends."""

    CLEAN = 0
    BROKEN = 1
    SAFETY = 3
    LIVENESS = 4


@dataclass(frozen=True)
class Outcome:
    """What one seed gave: its cluster's size and simulated node-seconds, and what it found, if anything."""

    seed: int
    size: int
    node_s: float
    finding: str = ""
    status: Exit = Exit.CLEAN


@dataclass
class Count:
    """The sum over the seeds of one run."""

    base: str
    first: int
    for_s: float
    seeds: int = 0
    node_s: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    findings: list[str] = field(default_factory=list)
    status: Exit = Exit.CLEAN

    @property
    def hours(self) -> float:
        return sum(self.node_s.values()) / HOUR_S

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.node_s[outcome.size] += outcome.node_s
        if outcome.finding:
            self.findings.append(f"{outcome.seed}: {outcome.finding}")
        # The worst stands: a simulator that failed has shown nothing, then safety, then progress.
        self.status = min(self.status or outcome.status, outcome.status or self.status)

    def line(self) -> str:
        """One line of the ledger file."""
        by_size = {str(size): round(self.node_s[size] / HOUR_S, 2) for size in sorted(self.node_s)}
        return json.dumps(
            {
                "date": datetime.now(UTC).date().isoformat(),
                "commit": commit()[:12],
                "base": self.base,
                "seeds": [self.first, self.first + self.seeds],
                "torment_s": self.for_s,
                "node_hours": round(self.hours, 2),
                "by_size": by_size,
                "findings": self.findings,
            }
        )


def play(seed: int, for_s: float) -> Outcome:
    """One seed, from the start to peace."""
    story = LedgerStory(for_s=for_s)
    try:
        simulate(story, seed)
    except Violation as violation:
        status = Exit.LIVENESS if violation.is_of_liveness else Exit.SAFETY
        return Outcome(seed, story.size, story.node_s, str(violation), status)
    except Exception as error:
        return Outcome(seed, story.size, story.node_s, f"{type(error).__name__}: {error}", Exit.BROKEN)
    return Outcome(seed, story.size, story.node_s)


def play_all(count: Count, hours: float, jobs: int) -> Iterator[Outcome]:
    """Outcomes in the order of their seeds until `hours` are full."""
    with ProcessPoolExecutor(jobs, max_tasks_per_child=20) as pool:
        place = count.first
        waiting: list[Future[Outcome]] = []
        while count.hours < hours or waiting:
            while len(waiting) < jobs and count.hours < hours:
                waiting.append(pool.submit(play, seed_of(count.base, place), count.for_s))
                place += 1
            outcome = waiting.pop(0).result()
            count.add(outcome)
            yield outcome


def main(arguments: list[str]) -> Exit:
    asked = _asked(arguments)
    count = Count(asked.base or commit(), asked.first, asked.torment)
    saved_at = time.monotonic()
    try:
        for outcome in play_all(count, asked.hours, asked.jobs):
            if outcome.finding:
                print(f"{outcome.finding}\n{reproduction(outcome.seed)}", flush=True)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                saved_at = time.monotonic()
                print(count.line(), flush=True)
    finally:
        # An interrupted run counts for what it did.
        if count.seeds:
            print(count.line(), flush=True)
            if asked.ledger != "-":
                with Path(asked.ledger).open("a", encoding="utf-8") as file:
                    file.write(count.line() + "\n")
    return count.status


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.sim.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0, help="simulated node-hours to run")
    parser.add_argument(
        "--torment", type=float, default=TORMENT_S, help="simulated seconds of faults a seed"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--base", default="", help="the word that seeds follow from, else the commit")
    parser.add_argument("--first", type=int, default=0, help="the number of the first seed")
    parser.add_argument("--ledger", default=str(LEDGER), help="the file to append to, - for none")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
