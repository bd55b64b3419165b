"""The ledger's services on a hostile network: no fork, nothing lost, and peace after the heal."""

import pytest

from tests.sim.ledger_story import LedgerStory
from tests.sim.seeds import FAILED, seeds_to_run
from tests.sim.world import simulate

SEEDS = seeds_to_run(32)


@pytest.mark.parametrize("seed", SEEDS)
def test_clusters_neither_fork_nor_lose_anything_and_converge_after_the_heal(seed: int) -> None:
    story = LedgerStory(for_s=60, profile=FAILED.get(seed))
    simulate(story, seed)
    assert story.told.final, "nothing became final: the adversary or the nodes do not work"
