"""The join bench: a clinic with an empty ledger joins a network with a long one, and nobody stops for it.

Three of four daemons hold a ledger that was made up for them. The time to final of lone transactions is
measured while the fourth is down, then again while it fetches, verifies, executes and commits everything
from the beginning, so that the two differ by the serving alone. The limit of the joining itself is to check
the same signatures and do nothing else, on one core.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import trio

from node import paths
from node.adapters import InlineOffload, SystemClock
from node.bench.chain import ChainMaker
from node.bench.cluster import ClinicProcess, Cluster
from node.bench.load import Load, open_load, percentile
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import check_bare, measure, signed_bytes
from node.bench.workload import Workload
from node.chain.ledger import ExecutedBlock, Ledger
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from node.store.votefile import open_vote_file
from protocol.ballot import VoteRecord
from protocol.blocks import NO_BLOCK, Genesis, Header, block_hash
from protocol.codec import encode
from protocol.errors import Code, UserError
from protocol.keys import SigningKey
from protocol.limits import DAY_MS, MIB
from protocol.messages.consensus import Submission

CLINICS: Final = 4
RECORDS: Final = 1_024
SAMPLE: Final = 5_000
WARM: Final = 20
PAUSE_S: Final = 0.1
JOINED_S: Final = 3_600.0
_TOGETHER: Final = 4  # blocks under one certificate: a reply holds them


@dataclass(frozen=True, slots=True)
class JoinSizes:
    transactions: int
    alone: int


JOIN = JoinSizes(transactions=100_000, alone=100)
JOIN_MILLION = JoinSizes(transactions=1_000_000, alone=100)
JOIN_QUICK = JoinSizes(transactions=5_000, alone=10)


@dataclass(slots=True)
class _Joining:
    """What was seen while the clinic joined. Times to final in milliseconds."""

    took_s: float = 0.0
    most_resident: int = 0
    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    is_done: bool = False


def bench_join(sizes: JoinSizes) -> Report:
    """Makes the ledger in a temporary directory, starts four clinics there, and stops them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        workload = Workload(cluster.network, cluster.issuers, not_after_ms=SystemClock().wall_ms() + DAY_MS)
        begun_s = time.perf_counter()
        height = _write_ledgers(cluster, workload, sizes.transactions)
        made_s = time.perf_counter() - begun_s
        sample = [item.transaction for item in workload.mix(SAMPLE)]
        bare_s = measure(lambda: check_bare(signed_bytes(sample, cluster.network))).wall_s / SAMPLE
        try:
            for clinic in cluster.clinics[:-1]:
                clinic.start()
            ready_s = _seconds(lambda: [clinic.wait_ready() for clinic in cluster.clinics[:-1]])
            seen = trio.run(_measure, cluster, workload, sizes)
            resident = max(clinic.resident_bytes() for clinic in cluster.clinics[:-1])
        finally:
            cluster.stop()
    rate = sizes.transactions / seen.took_s
    report = Report(
        "join",
        [
            f"{sizes.transactions:,} transactions in {height:,} blocks, made up in {made_s:.0f} s",
            f"the three that held them were ready after {ready_s:.1f} s",
        ],
    )
    report.rows = [
        paired(
            "joined",
            "transactions/s",
            [rate],
            "bare checks of their signatures on one core",
            [1 / bare_s],
        ),
        Row("exec to joined", "s", Spread.of([seen.took_s])),
        *_final_rows("while one is down", seen.alone_ms),
        *_final_rows("while it joins", seen.beside_ms),
        Row("most resident of the one that joins", "MiB", Spread.of([seen.most_resident / MIB])),
        Row("resident of those that serve", "MiB", Spread.of([resident / MIB])),
    ]
    return report


def _final_rows(when: str, took_ms: list[float]) -> Iterator[Row]:
    if took_ms:
        for share in (0.5, 0.99):
            yield Row(f"p{100 * share:.0f} to final {when}", "ms", Spread.of([percentile(took_ms, share)]))


def _write_ledgers(cluster: Cluster, workload: Workload, count: int) -> int:
    """The same ledger for all clinics but the last; its height."""
    first, *others = cluster.clinics[:-1]
    submissions = _submissions(workload, count)
    voters = [SigningKey(clinic.keys.vote_seed) for clinic in cluster.clinics]
    maker = ChainMaker(cluster.genesis, voters)
    trio.run(_write_ledger, first, cluster.genesis, maker, submissions)
    for clinic in others:
        shutil.copytree(paths.ledger_db(first.data_dir), paths.ledger_db(clinic.data_dir))
    tip, _ = maker.tip
    for clinic in cluster.clinics:
        _remember(clinic, tip)
    return tip.height


def _remember(clinic: ClinicProcess, tip: Header) -> None:
    """Lets the clinic know that its key signed up to `tip`: else it would vote no more."""
    signed = VoteRecord(tip.epoch, tip.view + 1, NO_BLOCK, False, tip.view, block_hash(tip))
    votes = open_vote_file(paths.votes(clinic.data_dir))
    votes.save(encode(signed))
    votes.close()


def _submissions(workload: Workload, count: int) -> Iterator[Submission]:
    yield from islice(workload.records(RECORDS), count)
    for start in range(RECORDS, count, SAMPLE):
        yield from workload.mix(min(SAMPLE, count - start))


async def _write_ledger(
    clinic: ClinicProcess, genesis: Genesis, maker: ChainMaker, submissions: Iterator[Submission]
) -> None:
    store = open_leveldb(
        paths.ledger_db(clinic.data_dir), tuning=LEDGER_TUNING, network=maker.committee.network
    )
    try:
        ledger = Ledger(genesis=genesis, store=store, clock=SystemClock(), offload=InlineOffload())
        made = maker.blocks(submissions)
        while blocks := list(islice(made, _TOGETHER)):
            executed = [ExecutedBlock(one.block, one.transactions, one.execution) for one in blocks]
            await ledger.commit(executed, blocks[-1].finality)
    finally:
        store.close()


async def _measure(cluster: Cluster, workload: Workload, sizes: JoinSizes) -> _Joining:
    seen, newcomer = _Joining(), cluster.clinics[-1]
    async with open_load(cluster.network, cluster.addresses[:-1]) as load:
        await _lone(load, workload.mix(WARM), [])
        await _lone(load, workload.mix(sizes.alone), seen.alone_ms)
        goal = cluster.clinics[0].status().height
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, newcomer, goal, seen)
            while not seen.is_done:
                await _lone(load, workload.mix(1), seen.beside_ms)
    return seen


async def _lone(load: Load, submissions: list[Submission], took_ms: list[float]) -> None:
    for one in submissions:
        took_ms.append(1000 * await load.make_final([one]))
        await trio.sleep(PAUSE_S)


async def _watch(newcomer: ClinicProcess, goal: int, seen: _Joining) -> None:
    """Starts the newcomer and looks at it until it is at height `goal`.

    Raises:
        UserError: NOT_FINAL, where that takes too long.
    """
    begun_s = time.perf_counter()
    newcomer.start()
    while (took_s := time.perf_counter() - begun_s) < JOINED_S:
        status = await trio.to_thread.run_sync(newcomer.wait_ready)
        seen.most_resident = max(seen.most_resident, newcomer.resident_bytes())
        if status.height >= goal:
            seen.took_s, seen.is_done = took_s, True
            return
        await trio.sleep(PAUSE_S)
    raise UserError("a clinic does not catch up", "look at `chartmesh status`", code=Code.NOT_FINAL)


def _seconds(work: Callable[[], object]) -> float:
    return measure(work).wall_s
