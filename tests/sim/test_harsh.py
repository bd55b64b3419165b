"""Four nodes under the harshest adversary, alone, with a traitor, and while members come and go: what
planted bugs are found by."""

import pytest

from tests.sim.ledger_story import LedgerStory
from tests.sim.profile import Profile
from tests.sim.seeds import harsh_seeds
from tests.sim.world import simulate

HARSH = Profile(
    size=4,
    all_down=True,
    loss_max=0.2,
    swizzle=True,
    resets=False,
    disk_fails=False,
    act_every_ms=(500, 4_000),
)
BETRAYED = Profile(
    size=4,
    all_down=False,
    loss_max=0.2,
    swizzle=True,
    resets=False,
    disk_fails=False,
    traitors=1,
    tricks=("two_blocks", "vote_for_all", "wrong_root", "bad_transaction", "forge"),
    act_every_ms=(500, 4_000),
)
CHANGING = Profile(
    size=4,
    all_down=False,
    loss_max=0.2,
    swizzle=True,
    resets=False,
    disk_fails=False,
    newcomers=2,
    leavers=2,
    patient=True,
    traitors=1,
    tricks=("mix_epochs", "vote_for_all", "old_views", "stale"),
    act_every_ms=(500, 2_000),
)


@pytest.mark.parametrize("seed", harsh_seeds(4))
def test_power_cuts_on_all_nodes_make_nothing_wrong(seed: int) -> None:
    simulate(LedgerStory(for_s=60, profile=HARSH), seed)


@pytest.mark.parametrize("seed", harsh_seeds(4))
def test_a_traitor_among_four_makes_nothing_wrong(seed: int) -> None:
    simulate(LedgerStory(for_s=40, profile=BETRAYED), seed)


@pytest.mark.parametrize("seed", harsh_seeds(4))
def test_members_that_come_and_go_make_nothing_wrong(seed: int) -> None:
    story = LedgerStory(for_s=60, profile=CHANGING)
    simulate(story, seed)
    assert story.changes, "no member came or went"
