"""Which seeds to run: fresh ones that follow from the commit, and every one that ever found something.

CHARTMESH_SIM_SEED runs one seed alone, CHARTMESH_SIM_SEEDS sets how many fresh ones, and
CHARTMESH_SIM_SEED_BASE derives them from another word than the commit.
"""

import os

from protocol.codec import digest
from tests.sim.profile import Profile
from tests.sim.world import commit

FAILED: dict[int, Profile] = {
    # L9: a node took what it knew from another's forward for accepted, and forgot it in a crash.
    20159: Profile(4, all_down=True, loss_max=0.2, swizzle=False, resets=False, disk_fails=False),
}
"""Seeds that found a bug, kept after it was fixed, with the trouble they had drawn: what seeds draw
changes with the adversary. What each found stands beside it."""

SEED_BYTES = 6


def fresh_seeds(count: int, *, base: str | None = None) -> list[int]:
    """`count` seeds that follow from `base`, by default from the environment or the commit.

    Without `base`, where the environment names one seed, that one alone.
    """
    only = os.environ.get("CHARTMESH_SIM_SEED")
    if base is None and only:
        return [int(only)]
    word = base or os.environ.get("CHARTMESH_SIM_SEED_BASE") or commit()
    return [seed_of(word, place) for place in range(count)]


def seeds_to_run(count: int) -> list[int]:
    """The fresh seeds and all that ever failed, or the one that the environment names."""
    fresh = fresh_seeds(int(os.environ.get("CHARTMESH_SIM_SEEDS", count)))
    return fresh if "CHARTMESH_SIM_SEED" in os.environ else [*FAILED, *fresh]


def harsh_seeds(count: int) -> range:
    """Always the same seeds, from 0 on, so that a bug once found by them is found again."""
    return range(int(os.environ.get("CHARTMESH_SIM_HARSH_SEEDS", count)))


def seed_of(word: str, place: int) -> int:
    """The seed number `place` of those that follow from `word`."""
    return int.from_bytes(digest("sim-seed", f"{word}/{place}".encode())[:SEED_BYTES], "big")
