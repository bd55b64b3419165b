"""The finality bench: four validators on this machine, and how many transactions they make final.

Real daemons with real connections and databases; the load comes from light clients over libp2p, with
transactions signed before. All processes share this machine, which is what the limit says too: each of
the four must check every signature, so a machine that did nothing else would make so many final.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node.adapters import SystemClock
from node.bench.cluster import Cluster
from node.bench.load import Load, open_load, percentile
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import check_bare, measure, signed_bytes
from node.bench.workload import Workload
from protocol.limits import HOUR_MS

CLINICS: Final = 4
RECORDS: Final = 512
AT_ONCE: Final = 16
TOGETHER: Final = 16
PAUSE_S: Final = 0.02
REACH_PER_S: Final = 800
REACH_LOW_MS: Final = 150


@dataclass(frozen=True, slots=True)
class FinalitySizes:
    """`low` transactions one by one in a round, then `sustained` at once, then `half` at half that rate."""

    rounds: int
    low: int
    sustained: int
    half: int


FINALITY = FinalitySizes(rounds=3, low=50, sustained=6_000, half=3_000)
FINALITY_QUICK = FinalitySizes(rounds=1, low=10, sustained=1_000, half=500)


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round measured; rates per second, times in milliseconds. `cpu_us` is of all clinics."""

    low_ms: list[float]
    sustained: float
    limit: float
    cpu_us: float
    half_ms: list[float]


def bench_finality(sizes: FinalitySizes) -> Report:
    """Starts four clinics in a temporary directory, and stops them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        try:
            cluster.start()
            rounds = trio.run(_measure, cluster, sizes)
        finally:
            cluster.stop()
    return _report(rounds, sizes)


async def _measure(cluster: Cluster, sizes: FinalitySizes) -> list[_Round]:
    not_after_ms = SystemClock().wall_ms() + HOUR_MS
    workload = Workload(cluster.network, cluster.issuers, not_after_ms=not_after_ms)
    async with open_load(cluster.network, cluster.addresses) as load:
        await load.make_all_final(list(workload.records(RECORDS)), at_once=AT_ONCE)
        return [await _round(cluster, load, workload, sizes) for _ in range(sizes.rounds)]


async def _round(cluster: Cluster, load: Load, workload: Workload, sizes: FinalitySizes) -> _Round:
    low_ms: list[float] = []
    for one in workload.mix(sizes.low):
        low_ms.append(1000 * await load.make_final([one]))
        await trio.sleep(PAUSE_S)
    submissions = workload.mix(sizes.sustained)
    signatures = signed_bytes([item.transaction for item in submissions], cluster.network)
    bare_s = measure(lambda: check_bare(signatures)).wall_s
    before_s, start_s = cluster.cpu_s(), trio.current_time()
    await load.make_all_final(submissions, at_once=AT_ONCE)
    took_s = trio.current_time() - start_s
    cpu_s = cluster.cpu_s() - before_s
    sustained = sizes.sustained / took_s
    half = await load.make_final_at(sustained / 2, workload.mix(sizes.half), together=TOGETHER)
    return _Round(
        low_ms=low_ms,
        sustained=sustained,
        limit=sizes.sustained / bare_s * (os.cpu_count() or 1) / CLINICS,
        cpu_us=1e6 * cpu_s / sizes.sustained,
        half_ms=[1000 * seconds for seconds in half],
    )


def _report(rounds: list[_Round], sizes: FinalitySizes) -> Report:
    report = Report(
        "finality",
        [
            f"{CLINICS} validators and their clients on one machine, {sizes.rounds} rounds; "
            f"{AT_ONCE} batches of up to 64 in flight, then half that rate"
        ],
    )
    report.rows = [
        paired(
            "sustained",
            "transactions/s",
            [one.sustained for one in rounds],
            f"bare checks of their signatures by {CLINICS} nodes on all CPUs",
            [one.limit for one in rounds],
        ),
        Row("sustained rate", "transactions/s", _of(rounds, "sustained"), reach=REACH_PER_S),
        Row("cpu of all clinics, sustained", "us/transaction", _of(rounds, "cpu_us")),
    ]
    for load in ("low", "half"):
        for share in (0.5, 0.99):
            values = [percentile(getattr(one, f"{load}_ms"), share) for one in rounds]
            name = f"p{100 * share:.0f} to final at {load if load == 'low' else 'half'} load"
            reach = REACH_LOW_MS if (load, share) == ("low", 0.5) else None
            report.rows.append(Row(name, "ms", Spread.of(values), reach=reach, is_ceiling=True))
    return report


def _of(rounds: list[_Round], field: str) -> Spread:
    return Spread.of([getattr(one, field) for one in rounds])
