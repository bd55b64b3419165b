"""Consensus under random loss, reordering, partitions and crashes: no fork ever, and progress after."""

import os
import random

import pytest

from protocol.blocks import BlockHash, Committee
from protocol.keys import PublicKey
from tests.consensus_world import CHANGE, NETWORK, World

SEEDS = int(os.environ.get("CHARTMESH_CONSENSUS_SEEDS", "60"))

# 168: own statements were not counted again after a restart. 1290: a stored nullification was not
# taken as the way into the next view.
SEEDS_THAT_FAILED = [168, 1290]


def shake(world: World, dice: random.Random, acts: int, *, all_down: bool) -> None:
    """Random acts: submit, crash, restart, cut links, change loss."""
    count = len(world.nodes)
    for act in range(acts):
        world.run_until(world.now_ms + dice.randrange(1, 2500))
        match dice.randrange(6):
            case 0:
                world.submit(b"transaction %d" % act)
            case 1:
                world.submit(b"%b %d" % (dice.choice([CHANGE, b"transaction"]), act))
            case 2:
                down = sum(not node.up for node in world.nodes)
                if all_down or down < world.faults:
                    world.crash(dice.randrange(count))
            case 3:
                for index, node in enumerate(world.nodes):
                    if not node.up and dice.random() < 0.7:
                        world.restart(index)
            case 4:
                world.cut = {
                    (a, b) for a in range(count) for b in range(count) if a != b and dice.random() < 0.2
                }
            case 5:
                world.loss = dice.choice([0.0, 0.1, 0.4])


def heal(world: World) -> None:
    world.cut, world.loss = set(), 0.0
    for index, node in enumerate(world.nodes):
        if not node.up:
            world.restart(index)
    world.submit(b"last")
    world.run_until(world.now_ms + 120_000)


@pytest.mark.parametrize("seed", [*range(SEEDS), *SEEDS_THAT_FAILED])
def test_no_fork_no_double_vote_and_all_converge_after_healing(seed: int) -> None:
    dice = random.Random(f"faults/{seed}")
    world = World(dice.choice([1, 2, 3, 4, 4, 4, 5, 5, 6, 7]), seed)
    shake(world, dice, 60, all_down=seed % 3 == 0)
    heal(world)
    heights = {node.chain.root.height for node in world.nodes}
    assert len(heights) == 1, f"seed {seed}: heights {heights}"
    assert all(not node.chain.pending for node in world.nodes), f"seed {seed}: transactions left"


class SmallQuorum(Committee):
    """A committee that counts one signature too few."""

    @property
    def quorum(self) -> int:
        return super().quorum - 1


def test_a_quorum_minus_one_forks_in_some_seed() -> None:
    """The check on the check: were the quorum too small, this world would see it."""
    for seed in range(200):
        dice = random.Random(f"small/{seed}")
        keys: tuple[PublicKey, ...] = World(4, seed).committee.validators
        world = World(4, seed, committee=SmallQuorum(NETWORK, 0, keys))
        if forks(world, dice):
            return
    pytest.fail("no seed forked with a quorum of two in four")


def forks(world: World, dice: random.Random) -> bool:
    """Whether two halves that never hear each other finalize different blocks."""
    try:
        for act in range(30):
            world.cut = {(a, b) for a in range(4) for b in range(4) if a // 2 != b // 2}
            world.submit(b"own %d" % act, to=dice.randrange(4))
            world.run_until(world.now_ms + 3000)
    except AssertionError as error:
        return "fork" in str(error)
    return False


@pytest.mark.parametrize("count", range(4, 21))
def test_f_twins_fork_a_quorum_minus_one_and_never_a_quorum(count: int) -> None:
    """Two groups that never hear each other, with f hostile validators in both: each group is as large
    as it can be. With one signature too few both make a block final, with a quorum at most one does."""
    keys = World(count, 0).committee.validators
    right, small = Committee(NETWORK, 0, keys), SmallQuorum(NETWORK, 0, keys)
    assert len(finals_of_groups(count, small)) == 2
    assert len(finals_of_groups(count, right)) <= 1


def finals_of_groups(count: int, committee: Committee) -> set[BlockHash]:
    """The blocks at height 1 that the two groups make final."""
    faults = committee.faults
    near = (count + faults + 1) // 2
    finals: set[BlockHash] = set()
    for seed, group in enumerate((range(near), range(near - faults, count))):
        world = World(count, seed, committee=committee)
        for index in set(range(count)) - set(group):
            world.crash(index)
        world.submit(b"transaction of group %d" % seed)
        world.run_until(90_000)
        finals |= {world.final[1]} if 1 in world.final else set()
    return finals
