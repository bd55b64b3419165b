"""The canary of determinism: were the seeding dead, every seed of the simulator would be worthless."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sim.seeds import fresh_seeds
from tests.sim.world import commit

ROOT = Path(__file__).parents[2]


def traces(*runs: tuple[str, ...]) -> list[str]:
    """The trace digest of each run, every one in a process of its own with another hash seed."""

    def trace(place: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(place + 1)}
        environment.pop("CHARTMESH_SIM_TRACE", None)
        command = [sys.executable, "-m", "tests.sim.canary", *runs[place]]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(trace, range(len(runs))))


@pytest.mark.parametrize("nodes", ["toys", "ledger"])
def test_a_seed_gives_one_trace_under_two_hash_seeds_and_another_seed_differs(nodes: str) -> None:
    seed, other = map(str, fresh_seeds(2, base=commit()))
    first, second, different = traces((seed, nodes), (seed, nodes), (other, nodes))
    assert first == second, f"seed {seed}: the simulation is not deterministic"
    assert first != different, "the seed makes no difference"


def test_without_the_seeded_scheduler_ties_fall_another_way_so_the_seeding_is_alive() -> None:
    """Where latencies are equal only the scheduler decides, so trio's private names mean what they did."""
    (seed,) = map(str, fresh_seeds(1, base=commit()))
    seeded, again, *unseeded = traces(
        (seed, "ties"), (seed, "ties"), (seed, "ties", "unseeded"), (seed, "ties", "unseeded")
    )
    assert seeded == again
    assert len({seeded, *unseeded}) == 3, "the order of tasks did not depend on the scheduler's dice"
