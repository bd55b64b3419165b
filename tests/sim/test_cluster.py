"""The ledger's services on a hostile network: no fork, nothing lost, and peace after the heal."""

import random
from dataclasses import replace

import pytest

from tests.sim.ledger_story import LedgerStory
from tests.sim.profile import SIZES, Profile
from tests.sim.seeds import FAILED, fresh_seeds, seeds_to_run
from tests.sim.world import simulate

SEEDS = seeds_to_run(32)


@pytest.mark.parametrize("seed", SEEDS)
def test_clusters_neither_fork_nor_lose_anything_and_converge_after_the_heal(seed: int) -> None:
    story = LedgerStory(for_s=60, profile=FAILED.get(seed))
    simulate(story, seed)
    assert story.told.final, "nothing became final: the adversary or the nodes do not work"


@pytest.mark.parametrize("size", SIZES)
def test_a_cluster_of_every_size_takes_changes_of_members_under_load(size: int) -> None:
    seed = fresh_seeds(1)[0]
    drawn = Profile.of(random.Random(f"{seed}/{size}"), size=size)
    profile = replace(drawn, newcomers=2, leavers=2, act_every_ms=(500, 4_000))
    # Larger clusters are tormented for a third of this.
    story = LedgerStory(for_s=40 * min(size / 4, 3), profile=profile)
    simulate(story, seed)
    assert story.told.final
    assert story.changes
