"""The world proved on toy nodes: it is quiet where they are right, and finds what is planted in them."""

import pytest

from tests.sim.seeds import fresh_seeds
from tests.sim.stories import toy_story
from tests.sim.toy import Bugs
from tests.sim.world import Violation, simulate

FRESH = fresh_seeds(4)


@pytest.mark.parametrize("seed", FRESH)
def test_right_toys_survive_the_adversary_and_agree_after_the_heal(seed: int) -> None:
    simulate(toy_story(for_s=60), seed)


def finding(bugs: Bugs, seeds: range) -> str:
    """The first invariant that a run with these bugs breaks, or nothing."""
    for seed in seeds:
        try:
            simulate(toy_story(for_s=60, bugs=bugs), seed)
        except Violation as violation:
            return violation.invariant
    return ""


def test_a_count_told_before_it_is_saved_is_found() -> None:
    assert finding(Bugs(tells_first=True), range(12)) == "L3"


def test_a_count_saved_without_sync_is_found() -> None:
    assert finding(Bugs(forgets_sync=True), range(3)) == "L3"


def test_a_node_that_fails_on_an_honest_message_is_found() -> None:
    assert finding(Bugs(chokes=True), range(1)) == "guard"
