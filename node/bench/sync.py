"""The sync bench: a validator that was away, and how fast it makes up for the transactions it missed.

Three of four daemons make transactions final while the fourth is stopped. Then it starts, fetches the
blocks by height, verifies every signature, executes and commits. What a start takes that missed nothing is
taken off. The limit is to check the same signatures and do nothing else, on one core.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node.adapters import SystemClock
from node.bench.cluster import ClinicProcess, Cluster, stop
from node.bench.load import Load, open_load
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import check_bare, measure, signed_bytes
from node.bench.workload import Workload
from protocol.errors import Code, UserError
from protocol.limits import HOUR_MS

CLINICS: Final = 4
RECORDS: Final = 512
AT_ONCE: Final = 16
CAUGHT_UP_S: Final = 120.0
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class SyncSizes:
    rounds: int
    missed: int


SYNC = SyncSizes(rounds=3, missed=6_000)
SYNC_QUICK = SyncSizes(rounds=1, missed=1_000)


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds: of a start that missed nothing, of one that missed all, of the bare checks."""

    start_s: float
    sync_s: float
    bare_s: float


def bench_sync(sizes: SyncSizes) -> Report:
    """Starts four clinics in a temporary directory, and stops them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        try:
            cluster.start()
            rounds = trio.run(_measure, cluster, sizes)
        finally:
            cluster.stop()
    report = Report("sync", [f"{sizes.missed} transactions missed, {sizes.rounds} rounds"])
    report.rows = [
        paired(
            "caught up",
            "transactions/s",
            [sizes.missed / (one.sync_s - one.start_s) for one in rounds],
            "bare checks of their signatures on one core",
            [sizes.missed / one.bare_s for one in rounds],
        ),
        Row("exec to caught up", "s", Spread.of([one.sync_s for one in rounds])),
    ]
    return report


async def _measure(cluster: Cluster, sizes: SyncSizes) -> list[_Round]:
    not_after_ms = SystemClock().wall_ms() + HOUR_MS
    workload = Workload(cluster.network, cluster.issuers, not_after_ms=not_after_ms)
    async with open_load(cluster.network, cluster.addresses[:-1]) as load:
        await load.make_all_final(list(workload.records(RECORDS)), at_once=AT_ONCE)
        return [await _round(cluster, load, workload, sizes) for _ in range(sizes.rounds)]


async def _round(cluster: Cluster, load: Load, workload: Workload, sizes: SyncSizes) -> _Round:
    away, present = cluster.clinics[-1], cluster.clinics[0]
    await trio.to_thread.run_sync(_stop, away)
    start_s = await trio.to_thread.run_sync(_catch_up, away, present)
    await trio.to_thread.run_sync(_stop, away)
    submissions = workload.mix(sizes.missed)
    signatures = signed_bytes([item.transaction for item in submissions], cluster.network)
    bare_s = measure(lambda: check_bare(signatures)).wall_s
    await load.make_all_final(submissions, at_once=AT_ONCE)
    sync_s = await trio.to_thread.run_sync(_catch_up, away, present)
    return _Round(start_s, sync_s, bare_s)


def _stop(clinic: ClinicProcess) -> None:
    assert clinic.process is not None
    stop([clinic.process])


def _catch_up(away: ClinicProcess, present: ClinicProcess) -> float:
    """Seconds from exec until `away` is where `present` was then.

    Raises:
        UserError: NOT_FINAL, where that takes too long.
    """
    height, begun_s = present.status().height, time.perf_counter()
    away.start()
    away.wait_ready()
    while (took_s := time.perf_counter() - begun_s) < CAUGHT_UP_S:
        if away.status().height >= height:
            return took_s
        time.sleep(_POLL_S)
    raise UserError("a clinic does not catch up", "look at `chartmesh status`", code=Code.NOT_FINAL)
