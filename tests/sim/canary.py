"""Plays one story and prints the digest of its trace: run in processes of its own by the canary.

Arguments: seed, then any of `ledger` (the real services instead of toys), `unseeded` (the scheduler's
dice are left alone) and `ties` (all latencies are equal, so that the order of tasks decides).
"""

import sys

from tests.sim.ledger_story import LedgerStory
from tests.sim.stories import toy_story
from tests.sim.world import simulate


def main(arguments: list[str]) -> None:
    seed, flags = int(arguments[0]), arguments[1:]
    story = LedgerStory(for_s=20) if "ledger" in flags else toy_story(for_s=30, ties="ties" in flags)
    world = simulate(story, seed, seeded="unseeded" not in flags)
    print(world.trace.digest(), world.trace.lines)


if __name__ == "__main__":
    main(sys.argv[1:])
