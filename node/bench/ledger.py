"""The ledger bench: final blocks verified, executed and committed, beside bare signature checks.

One core does what a follower does with each final block that reaches it: decode, check the certificate
and every signature, execute on the state, and commit to LevelDB in one synced batch. The limit is the
same number of bare Ed25519 checks. With both cores, signatures are checked in threads two blocks ahead,
as in a catch-up, while the block before is executed; the limit is still what one core checks.

What bounds it, from the profile: on one core the signatures themselves (a half), then the state map (a
seventh), the rules of the ledger (an eighth), decoding and what surrounds each check (a tenth) and the
database (a fifteenth). With both cores all of that but the signatures holds the interpreter, and the
thread that checks waits for it after each signature. Turns of the interpreter of 20 us instead of 5 ms made
no difference. A process of its own for the checks, tried beside other work, left in this one about four
thirds of the time that the bare checks take, so that both cores would come to three quarters.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from node.adapters import InlineOffload, SystemClock, ThreadOffload
from node.bench.chain import ChainMaker
from node.bench.report import Report, Row, paired
from node.bench.speeds import Cost, Stopwatch, check_bare, measure, signed_bytes
from node.bench.state_map import bench_update
from node.bench.workload import Workload, seed
from node.chain.checking import check_signatures
from node.chain.ledger import ExecutedBlock, Ledger
from node.ports import Offload, Store
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from protocol.blocks import (
    VERSION,
    Genesis,
    Member,
    block_hash,
    genesis_committee,
)
from protocol.codec import encode
from protocol.finality import verify_final
from protocol.keys import OpeningKey, SealKey, SigningKey
from protocol.limits import HOUR_MS, NetworkLimits
from protocol.mempool import Mempool, VerifiedCache
from protocol.messages.blocks import FinalBlock, decode_final_block
from protocol.messages.consensus import Submission
from protocol.state import LedgerState
from protocol.tree import BlockTree, require_execution

CLINICS = 4
REACH = 0.5
REACH_BOTH_CORES = 0.9
BLOCKS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class LedgerSizes:
    """How much is measured. `records` are in the state before; a round is so many full blocks."""

    records: int
    rounds: int
    transactions_per_round: int


LEDGER = LedgerSizes(records=10_000, rounds=7, transactions_per_round=2_000)
LEDGER_QUICK = LedgerSizes(records=500, rounds=3, transactions_per_round=300)


def bench_ledger(sizes: LedgerSizes) -> Report:
    """Measures in a database in a temporary directory."""
    return trio.run(_bench, sizes)


async def _bench(sizes: LedgerSizes) -> Report:
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        follower = Follower(Path(directory), InlineOffload())
        try:
            await follower.prepare(sizes.records)
            report = Report("ledger", [f"{sizes.rounds} rounds, {follower.keys} keys in the state"])
            workload = follower.workload
            for name, make in (
                ("mix", workload.mix),
                ("grants", workload.grants),
                ("mints", workload.mints),
            ):
                report.rows += await _measure(follower, name, make, sizes)
            report.rows.append(bench_update(follower.state, workload.mix, sizes.rounds))
        finally:
            follower.close()
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        follower = Follower(Path(directory), ThreadOffload())
        try:
            await follower.prepare(sizes.records)
            report.rows.append(await _measure_both_cores(follower, sizes))
        finally:
            follower.close()
    return report


async def _measure(
    follower: "Follower", name: str, make: Callable[[int], list[Submission]], sizes: LedgerSizes
) -> list[Row]:
    bare: list[Cost] = []
    ledger: list[Cost] = []
    signatures = 0
    for _ in range(sizes.rounds):
        submissions = make(sizes.transactions_per_round)
        signed = signed_bytes([item.transaction for item in submissions], follower.committee.network)
        signatures = len(signed)
        messages = follower.write_blocks(submissions)
        bare.append(measure(lambda signed=signed: check_bare(signed)))  # type: ignore[misc]
        watch = Stopwatch()
        await follower.take_in(messages)
        ledger.append(watch.cost())
    count = sizes.transactions_per_round

    def row(clock: str, figures: Sequence[float], limits: Sequence[float], reach: float | None) -> Row:
        # The limit is for as many signatures as a transaction carries here.
        return paired(
            f"{name}, {clock}",
            "transactions/s",
            [count / seconds for seconds in figures],
            f"bare checks of their {signatures / count:g} signatures each",
            [count / seconds for seconds in limits],
            reach=reach,
        )

    reach = REACH if name == "mix" else None
    return [
        row("per core", [cost.cpu_s for cost in ledger], [cost.cpu_s for cost in bare], reach),
        row("on the wall", [cost.wall_s for cost in ledger], [cost.wall_s for cost in bare], None),
    ]


async def _measure_both_cores(follower: "Follower", sizes: LedgerSizes) -> Row:
    bare_s: list[float] = []
    ledger_s: list[float] = []
    count = sizes.transactions_per_round
    for _ in range(sizes.rounds):
        submissions = follower.workload.mix(count)
        signed = signed_bytes([item.transaction for item in submissions], follower.committee.network)
        messages = follower.write_blocks(submissions)
        bare_s.append(measure(lambda signed=signed: check_bare(signed)).wall_s)  # type: ignore[misc]
        watch = Stopwatch()
        await follower.take_in_ahead(messages)
        ledger_s.append(watch.cost().wall_s)
    return paired(
        "mix, on the wall, signatures in threads",
        "transactions/s",
        [count / seconds for seconds in ledger_s],
        "bare checks of their signatures on one core",
        [count / seconds for seconds in bare_s],
        reach=REACH_BOTH_CORES,
    )


class Follower:
    """A node that only follows, over a real database, and the network whose blocks it takes in."""

    def __init__(
        self,
        directory: Path,
        offload: Offload,
        *,
        found: Callable[[Store, Genesis], None] = lambda store, genesis: None,
    ) -> None:
        """`found` may write what the ledger begins with."""
        clock = SystemClock()
        self._offload = offload
        self._issuers = [SigningKey(seed("identity", index)) for index in range(CLINICS)]
        self._voters = [SigningKey(seed("vote", index)) for index in range(CLINICS)]
        genesis = Genesis(
            VERSION, "bench", clock.wall_ms() - HOUR_MS, bytes(32), NetworkLimits(), self._members()
        )
        self.committee = genesis_committee(genesis)
        network = self.committee.network
        self.workload = Workload(network, self._issuers, not_after_ms=clock.wall_ms() + HOUR_MS)
        self._store = open_leveldb(directory / "ledger", tuning=LEDGER_TUNING, network=network)
        found(self._store, genesis)
        self._ledger = Ledger(genesis=genesis, store=self._store, clock=clock, offload=offload)
        self._verified = VerifiedCache(network)
        self._tree = BlockTree(
            root=self._ledger.head.header,
            state=self._ledger.state,
            proposer=None,
            mempool=Mempool(),
            verified=self._verified,
            on_rejected=lambda name, reason: None,
        )
        self._maker = ChainMaker(genesis, self._voters)
        self._maker.tip = self._ledger.head.header, self._ledger.state

    @property
    def state(self) -> LedgerState:
        return self._ledger.state

    @property
    def keys(self) -> int:
        return len(self.state.entries)

    def close(self) -> None:
        self._store.close()

    async def prepare(self, records: int) -> None:
        """Makes a state of so many records, untimed."""
        await self.take_in(self.write_blocks(list(self.workload.records(records))))

    def write_blocks(self, submissions: Sequence[Submission]) -> list[bytes]:
        """Full final blocks of `submissions` as they travel, each upon the last that was written."""
        made = self._maker.blocks(submissions)
        return [encode(FinalBlock(item.block, item.finality)) for item in made]

    async def take_in(self, messages: Sequence[bytes]) -> None:
        """What is measured: each message decoded, verified, executed and durable, one after the other."""
        for message in messages:
            await self._take_in(decode_final_block(message))

    async def take_in_ahead(self, messages: Sequence[bytes]) -> None:
        """As `take_in`, while the signatures of the blocks that follow are checked in threads."""
        send, receive = trio.open_memory_channel[FinalBlock](BLOCKS_AHEAD)

        async def check() -> None:
            async with send:
                for message in messages:
                    final = decode_final_block(message)
                    await check_signatures(self._verified, self._offload, final.block.transactions)
                    await send.send(final)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(check)
            async for final in receive:
                await self._take_in(final)

    async def _take_in(self, final: FinalBlock) -> None:
        block, header = final.block, final.block.header
        verify_final(self._ledger.head.header, [header], final.finality, self.committee)
        self._tree.admit(block, is_final=True)
        name = block_hash(header)
        transactions = self._tree.transactions(name)
        execution = require_execution(self._tree.execute(name, is_final=True))
        await self._ledger.commit([ExecutedBlock(block, transactions, execution)], final.finality)
        self._tree.move_root(header, execution.state)

    def _members(self) -> tuple[Member, ...]:
        return tuple(
            Member(f"clinic-{index}", issuer.public, voter.public, _enc(index), ())
            for index, (issuer, voter) in enumerate(zip(self._issuers, self._voters, strict=True))
        )


def _enc(index: int) -> SealKey:
    return OpeningKey(seed("enc", "clinic", index)).public
