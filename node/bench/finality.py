"""The finality bench: four validators on this machine, and how many transactions they make final.

Real daemons with real connections and databases; the load comes from light clients over libp2p, with
transactions signed before. All processes share this machine, which is what the limit says too: each of
the four must check every signature, so a machine that did nothing else would make so many final. In the
end one of the four is killed while the load goes on.

What bounds it: the processors, and of a clinic's time, from the profile under load, a quarter the checks
of signatures, a tenth the search for grants to this clinic (each box is tried), a seventh executing blocks
(of which the state map is half), a tenth judging transactions as they come in, a sixth Noise, Yamux and
frames in Python, a tenth the database and threads; the rest is the event loop and the clients' questions.
From round to round it slows. Of what is added, about half is LevelDB merging ever larger tables of
scattered keys, in its own thread; the other half is on the event loop, and not explained in full: to find
an entry in a larger state map takes longer.
A lone transaction waits for four synced writes one after the other and a dozen messages.
"""

import os
import tempfile
import time
from collections.abc import Sequence
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
from protocol.messages.consensus import Submission

CLINICS: Final = 4
RECORDS: Final = 512
AT_ONCE: Final = 16
TOGETHER: Final = 16
PAUSE_S: Final = 0.02
DEAD_PER_S: Final = 100
DEAD_TOGETHER: Final = 4
REACH_PER_S: Final = 2_000
REACH_GRANTS_PER_S: Final = 3_000
REACH_LOW_MS: Final = 25
REACH_DEAD_MS: Final = 1_500


@dataclass(frozen=True, slots=True)
class FinalitySizes:
    """`low` transactions one by one in a round, then `sustained` of the mix and as many grants at once,
    then `half` at half the rate of the mix. In the end `dead` with one clinic killed."""

    rounds: int
    low: int
    sustained: int
    half: int
    dead: int


FINALITY = FinalitySizes(rounds=3, low=50, sustained=6_000, half=3_000, dead=1_500)
FINALITY_QUICK = FinalitySizes(rounds=1, low=10, sustained=1_000, half=500, dead=200)


@dataclass(frozen=True, slots=True)
class _Sustained:
    """Transactions per second; microseconds of CPU for each, of all clinics and of all clients."""

    rate: float
    limit: float
    clinics_us: float
    clients_us: float


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round measured; times in milliseconds."""

    low_ms: list[float]
    mix: _Sustained
    grants: _Sustained
    half_ms: list[float]


def bench_finality(sizes: FinalitySizes) -> Report:
    """Starts four clinics in a temporary directory, and stops them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        try:
            cluster.start()
            rounds, dead_ms = trio.run(_measure, cluster, sizes)
        finally:
            cluster.stop()
    return _report(rounds, dead_ms, sizes)


async def _measure(cluster: Cluster, sizes: FinalitySizes) -> tuple[list[_Round], list[float]]:
    not_after_ms = SystemClock().wall_ms() + HOUR_MS
    workload = Workload(cluster.network, cluster.issuers, not_after_ms=not_after_ms)
    async with open_load(cluster.network, cluster.addresses) as load:
        await load.make_all_final(list(workload.records(RECORDS)), at_once=AT_ONCE)
        rounds = [await _round(cluster, load, workload, sizes) for _ in range(sizes.rounds)]
        return rounds, await _with_one_dead(cluster, load, workload.mix(sizes.dead))


async def _round(cluster: Cluster, load: Load, workload: Workload, sizes: FinalitySizes) -> _Round:
    low_ms: list[float] = []
    for one in workload.mix(sizes.low):
        low_ms.append(1000 * await load.make_final([one]))
        await trio.sleep(PAUSE_S)
    mix = await _sustain(cluster, load, workload.mix(sizes.sustained))
    grants = await _sustain(cluster, load, workload.grants(sizes.sustained))
    half = await load.make_final_at(mix.rate / 2, workload.mix(sizes.half), together=TOGETHER)
    return _Round(low_ms, mix, grants, [1000 * seconds for seconds in half])


async def _sustain(cluster: Cluster, load: Load, submissions: Sequence[Submission]) -> _Sustained:
    signatures = signed_bytes([item.transaction for item in submissions], cluster.network)
    bare_s = measure(lambda: check_bare(signatures)).wall_s
    clinics_s, clients_s, start_s = cluster.cpu_s(), time.process_time(), trio.current_time()
    await load.make_all_final(submissions, at_once=AT_ONCE)
    count = len(submissions)
    return _Sustained(
        rate=count / (trio.current_time() - start_s),
        limit=count / bare_s * (os.cpu_count() or 1) / CLINICS,
        clinics_us=1e6 * (cluster.cpu_s() - clinics_s) / count,
        clients_us=1e6 * (time.process_time() - clients_s) / count,
    )


async def _with_one_dead(cluster: Cluster, load: Load, submissions: Sequence[Submission]) -> list[float]:
    """Milliseconds to final of each, at a steady rate, with one clinic killed as the first ones leave."""
    cluster.clinics[-1].kill()
    dead = await load.make_final_at(DEAD_PER_S, submissions, together=DEAD_TOGETHER)
    return [1000 * seconds for seconds in dead]


def _report(rounds: list[_Round], dead_ms: list[float], sizes: FinalitySizes) -> Report:
    report = Report(
        "finality",
        [
            f"{CLINICS} validators and their clients on one machine, {sizes.rounds} rounds; "
            f"{AT_ONCE} batches of up to 64 in flight, then half that rate",
            f"with one dead: {DEAD_PER_S} transactions/s, the moment of its death included",
        ],
    )
    for name, reach in (("mix", REACH_PER_S), ("grants", REACH_GRANTS_PER_S)):
        report.rows += _sustained_rows(name, [getattr(one, name) for one in rounds], reach)
    for load in ("low", "half"):
        for share in (0.5, 0.99):
            values = [percentile(getattr(one, f"{load}_ms"), share) for one in rounds]
            name = f"p{100 * share:.0f} to final at {load} load"
            low_reach = REACH_LOW_MS if (load, share) == ("low", 0.5) else None
            report.rows.append(Row(name, "ms", Spread.of(values), reach=low_reach, is_ceiling=True))
    dead = Spread.of([percentile(dead_ms, 0.99)])
    report.rows.append(
        Row("p99 to final with one of four dead", "ms", dead, reach=REACH_DEAD_MS, is_ceiling=True)
    )
    return report


def _sustained_rows(name: str, measured: list[_Sustained], reach: float) -> list[Row]:
    rates = [one.rate for one in measured]
    what = f"bare checks of their signatures by {CLINICS} nodes on all CPUs"
    return [
        paired(f"{name}, sustained", "transactions/s", rates, what, [one.limit for one in measured]),
        Row(f"{name}, sustained rate", "transactions/s", Spread.of(rates), reach=reach),
        Row(
            f"{name}, cpu of all clinics",
            "us/transaction",
            Spread.of([one.clinics_us for one in measured]),
        ),
        Row(
            f"{name}, cpu of all clients",
            "us/transaction",
            Spread.of([one.clients_us for one in measured]),
        ),
    ]
