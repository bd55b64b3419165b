"""The sync bench: a validator that was away, and how fast it makes up for the transactions it missed.

Three of four daemons make transactions final while the fourth is stopped. Then it starts, fetches the
blocks by height, verifies every signature, executes and commits. What a start takes that missed nothing is
taken off. The limit is to check the same signatures and do nothing else, on one core.

What bounds it: of the processor time of a start and its catching up, without that of imports, the checks of
signatures are two fifths, the search for grants to this clinic an eighth, executing and committing a tenth,
answering the bench's own questions a tenth. Both cores are not full meanwhile: that time is waited for.

What is fetched is weighed too: while the fourth is stopped, the bench asks one of the others for the same
blocks, under the fourth's own identity, and counts the bytes of the replies. So it does with small blocks:
of transactions that are submitted SMALL at a time, each time after the last are final.
"""

import tempfile
import time
from collections.abc import Sequence
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
from node.chain.blocks_door import PROTOCOL
from node.net.libp2p_host import Libp2pTransport
from node.rpc import Caller
from protocol import limits
from protocol.codec import encode
from protocol.errors import Code, UserError
from protocol.messages.blocks import BlocksRequest, decode_blocks_reply
from protocol.messages.consensus import Submission

CLINICS: Final = 4
RECORDS: Final = 512
AT_ONCE: Final = 16
CAUGHT_UP_S: Final = 120.0
FEW: Final = 1_000
SMALL: Final = 16
SMALL_TURNS: Final = 30
REACH: Final = 0.6
REACH_FEW_S: Final = 0.5
REACH_SIZE: Final = 1.15
_POLL_S: Final = 0.01
_RANGE: Final = limits.RANGE_BLOCKS_MAX - 1


@dataclass(frozen=True, slots=True)
class SyncSizes:
    """In each round FEW transactions are missed once, and `missed` another time."""

    rounds: int
    missed: int


SYNC = SyncSizes(rounds=3, missed=6_000)
SYNC_QUICK = SyncSizes(rounds=1, missed=1_000)


@dataclass(frozen=True, slots=True)
class _Weight:
    """Of what was missed: bytes of the replies that bring it, its own bytes, in how many blocks it is."""

    fetched: int
    own: int
    blocks: int


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds: of a start that missed nothing, of those that missed few and all, of the bare checks."""

    start_s: float
    few_s: float
    sync_s: float
    bare_s: float
    weight: _Weight
    small: _Weight


def bench_sync(sizes: SyncSizes) -> Report:
    """Starts four clinics in a temporary directory, and stops them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        try:
            cluster.start()
            rounds = trio.run(_measure, cluster, sizes)
        finally:
            cluster.stop()
    return _report(rounds, sizes)


async def _measure(cluster: Cluster, sizes: SyncSizes) -> list[_Round]:
    not_after_ms = SystemClock().wall_ms() + limits.HOUR_MS
    workload = Workload(cluster.network, cluster.issuers, not_after_ms=not_after_ms)
    async with open_load(cluster.network, cluster.addresses[:-1]) as load:
        await load.make_all_final(list(workload.records(RECORDS)), at_once=AT_ONCE)
        return [await _round(cluster, load, workload, sizes) for _ in range(sizes.rounds)]


async def _round(cluster: Cluster, load: Load, workload: Workload, sizes: SyncSizes) -> _Round:
    away, present = cluster.clinics[-1], cluster.clinics[0]
    await trio.to_thread.run_sync(_stop, away)
    start_s = await trio.to_thread.run_sync(_catch_up, away, present)
    await trio.to_thread.run_sync(_stop, away)
    small = await _weigh_small(cluster, load, workload)
    await trio.to_thread.run_sync(_catch_up, away, present)
    await trio.to_thread.run_sync(_stop, away)
    await load.make_all_final(workload.mix(FEW), at_once=AT_ONCE)
    few_s = await trio.to_thread.run_sync(_catch_up, away, present)
    await trio.to_thread.run_sync(_stop, away)
    submissions, height = workload.mix(sizes.missed), present.status().height
    signatures = signed_bytes([item.transaction for item in submissions], cluster.network)
    bare_s = measure(lambda: check_bare(signatures)).wall_s
    await load.make_all_final(submissions, at_once=AT_ONCE)
    weight = await _weigh(cluster, height + 1, submissions)
    sync_s = await trio.to_thread.run_sync(_catch_up, away, present)
    return _Round(start_s, few_s, sync_s, bare_s, weight, small)


async def _weigh_small(cluster: Cluster, load: Load, workload: Workload) -> _Weight:
    """As `_weigh`, of blocks that it lets be made, of SMALL transactions each."""
    first, missed = cluster.clinics[0].status().height + 1, workload.mix(SMALL * SMALL_TURNS)
    for start in range(0, len(missed), SMALL):
        await load.make_final(missed[start : start + SMALL])
    return await _weigh(cluster, first, missed)


async def _weigh(cluster: Cluster, first: int, missed: Sequence[Submission]) -> _Weight:
    """Fetches the blocks from height `first` on, which hold `missed`, as the clinic that is away would."""
    away, present = cluster.clinics[-1], cluster.addresses[0]
    transport = Libp2pTransport(
        seed=away.keys.identity_seed, network=cluster.network, clock=SystemClock(), members=[present]
    )
    caller = Caller(transport, PROTOCOL, reply_limit=limits.BLOCKS_REPLY_BYTES_MAX)
    height, fetched = first, 0
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        while True:
            raw = await caller.call(present.id_key, encode(BlocksRequest(height, height + _RANGE)))
            blocks = decode_blocks_reply(raw).blocks
            if not blocks:
                break
            fetched, height = fetched + len(raw), height + len(blocks)
        nursery.cancel_scope.cancel()
    own = sum(len(item.transaction) + len(item.sealed) for item in missed)
    return _Weight(fetched, own, height - first)


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


def _report(rounds: Sequence[_Round], sizes: SyncSizes) -> Report:
    missed = sum(one.weight.own for one in rounds) / len(rounds) / sizes.missed
    a_block = sizes.missed * len(rounds) / sum(one.weight.blocks for one in rounds)
    small = SMALL * SMALL_TURNS
    a_small_block = small * len(rounds) / sum(one.small.blocks for one in rounds)
    report = Report(
        "sync",
        [
            f"{sizes.missed} transactions missed, {sizes.rounds} rounds",
            f"a transaction has {missed:.0f} bytes with its sealed ones",
            f"a block has {a_block:.0f} transactions, a small one {a_small_block:.1f}",
        ],
    )
    report.rows = [
        paired(
            "caught up",
            "transactions/s",
            [sizes.missed / (one.sync_s - one.start_s) for one in rounds],
            "bare checks of their signatures on one core",
            [sizes.missed / one.bare_s for one in rounds],
            reach=REACH,
        ),
        paired(
            "bytes fetched",
            "B/transaction",
            [one.weight.fetched / sizes.missed for one in rounds],
            "the missed transactions themselves",
            [one.weight.own / sizes.missed for one in rounds],
            reach=REACH_SIZE,
            is_ceiling=True,
        ),
        paired(
            "bytes fetched, small blocks",
            "B/transaction",
            [one.small.fetched / small for one in rounds],
            "the missed transactions themselves",
            [one.small.own / small for one in rounds],
            reach=REACH_SIZE,
            is_ceiling=True,
        ),
        Row("exec to caught up", "s", Spread.of([one.sync_s for one in rounds])),
        Row(
            f"{FEW} missed transactions caught up",
            "s",
            Spread.of([one.few_s - one.start_s for one in rounds]),
            reach=REACH_FEW_S,
            is_ceiling=True,
        ),
    ]
    return report
