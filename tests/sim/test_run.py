"""The runner counts honestly, and ends as its worst finding says."""

import json

import pytest

from tests.sim import run
from tests.sim.run import Count, Exit, Outcome
from tests.sim.world import Violation

CLEAN, UNSAFE, STUCK, BROKEN = (
    Outcome(1, 4, 3_600.0),
    Outcome(2, 4, 360.0, "L1: a fork", Exit.SAFETY),
    Outcome(3, 7, 360.0, "V1: no peace", Exit.LIVENESS),
    Outcome(4, 7, 0.0, "KeyError: 1", Exit.BROKEN),
)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([CLEAN], Exit.CLEAN),
        ([STUCK, CLEAN], Exit.LIVENESS),
        ([STUCK, UNSAFE, CLEAN], Exit.SAFETY),
        ([UNSAFE, STUCK], Exit.SAFETY),
        ([CLEAN, UNSAFE, BROKEN, STUCK], Exit.BROKEN),
    ],
)
def test_a_run_ends_as_its_worst_finding_says(outcomes: list[Outcome], status: Exit) -> None:
    count = Count("word", 0, 60.0)
    for outcome in outcomes:
        count.add(outcome)
    assert count.status == status


def test_the_ledger_line_says_what_ran_and_what_was_found() -> None:
    count = Count("word", 5, 60.0)
    for outcome in (CLEAN, UNSAFE, STUCK):
        count.add(outcome)
    line = json.loads(count.line())
    assert line["seeds"] == [5, 8]
    assert line["node_hours"] == 1.2
    assert line["by_size"] == {"4": 1.1, "7": 0.1}
    assert line["findings"] == ["2: L1: a fork", "3: V1: no peace"]


@pytest.mark.parametrize(("invariant", "status"), [("L1", Exit.SAFETY), ("V1", Exit.LIVENESS)])
def test_a_seed_that_breaks_an_invariant_counts_as_what_it_broke(
    monkeypatch: pytest.MonkeyPatch, invariant: str, status: Exit
) -> None:
    def simulate(story: object, seed: int) -> None:
        raise Violation(invariant, "planted")

    monkeypatch.setattr(run, "simulate", simulate)
    outcome = run.play(1, 60.0)
    assert (outcome.status, outcome.finding) == (status, f"{invariant}: planted")
