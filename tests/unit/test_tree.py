"""Candidates above the newest final block: what is proposed, what is valid, what is forgotten."""

import sys
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from protocol import limits
from protocol.blocks import Block, block_hash
from protocol.chain import genesis_header
from protocol.errors import RemoteProtocolError
from protocol.mempool import Mempool, Pending, VerifiedCache
from protocol.step import Now
from protocol.transactions import TransactionId
from protocol.tree import BlockTree
from tests.ledger_world import CREATED_MS, GENESIS, NETWORK, START, VOTERS, Signed, grant, keys, mint

ROOT = genesis_header(GENESIS)
ROOT_HASH = block_hash(ROOT)
NOW = Now(0, CREATED_MS + 5)
HEARTBEAT = Now(0, CREATED_MS + START.limits.heartbeat_ms)


@dataclass
class Bench:
    """A tree with its mempool, and what it rejected."""

    mempool: Mempool = field(default_factory=Mempool)
    rejected: dict[TransactionId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tree = BlockTree(
            root=ROOT,
            state=START,
            proposer=VOTERS[0].public,
            mempool=self.mempool,
            verified=VerifiedCache(NETWORK),
            on_rejected=self.rejected.__setitem__,
        )

    def offer(self, *items: Signed) -> None:
        for item in items:
            self.mempool.add(Pending(item.transaction, item.sealed, b"sender"))

    def propose(self, view: int = 1, parent: Block | None = None, now: Now = NOW) -> Block:
        name = ROOT_HASH if parent is None else block_hash(parent.header)
        block = self.tree.propose(name, view, now)
        assert block is not None
        return block


def test_there_is_work_for_what_waits_and_for_a_heartbeat_only() -> None:
    bench = Bench()
    assert not bench.tree.has_work(ROOT_HASH, NOW)
    assert bench.tree.has_work(ROOT_HASH, HEARTBEAT)
    bench.offer(mint(1))
    assert bench.tree.has_work(ROOT_HASH, NOW)


def test_a_child_holds_what_its_parent_does_not() -> None:
    bench = Bench()
    bench.offer(mint(1))
    parent = bench.propose()
    assert not bench.tree.has_work(block_hash(parent.header), NOW)
    bench.offer(mint(2))
    assert bench.tree.has_work(block_hash(parent.header), NOW)
    child = bench.propose(2, parent)
    assert child.transactions == (mint(2).transaction.raw,)


def test_another_node_executes_what_one_proposed() -> None:
    proposer, voter = Bench(), Bench()
    token = mint(1)
    proposer.offer(token, grant(token.token, 1, keys(1).owner))
    block = proposer.propose()
    assert len(block.transactions) == 2
    voter.tree.add(block)
    assert voter.tree.is_valid(block, NOW)


def test_a_block_from_the_future_waits_for_its_time() -> None:
    proposer, voter = Bench(), Bench()
    proposer.offer(mint(1))
    ahead = START.limits.tolerance_ms + 1
    block = proposer.propose(now=Now(0, NOW.wall_ms + ahead))
    voter.tree.add(block)
    assert not voter.tree.is_valid(block, NOW)
    assert voter.tree.is_valid(block, Now(0, NOW.wall_ms + 1))


def test_a_wrong_state_root_gets_no_vote() -> None:
    bench, voter = Bench(), Bench()
    bench.offer(mint(1))
    block = bench.propose()
    wrong = replace(block, header=replace(block.header, state_root=bytes(32)))
    voter.tree.add(wrong)
    assert not voter.tree.is_valid(wrong, NOW)


def test_a_header_with_another_blocks_contents_does_not_take_its_place() -> None:
    proposer, voter = Bench(), Bench()
    proposer.offer(mint(1))
    block = proposer.propose()
    voter.tree.add(replace(block, transactions=(), sealed=()))
    voter.tree.add(replace(block, sealed=(b"other",)))
    assert voter.tree.block(block_hash(block.header)) is None
    voter.tree.add(block)
    assert voter.tree.is_valid(block, NOW)


def test_sealed_bytes_may_be_missing_only_where_the_block_is_final() -> None:
    proposer, voter = Bench(), Bench()
    proposer.offer(mint(1))
    whole = proposer.propose()
    block = replace(whole, sealed=(b"",))
    name = block_hash(block.header)
    voter.tree.add(block)
    assert voter.tree.block(name) is None
    voter.tree.add(whole)
    assert voter.tree.is_valid(whole, NOW)
    final = Bench()
    assert final.tree.admit_final([block]) == [block]
    assert final.tree.execute(name, is_final=True) is not None


def test_a_transaction_that_the_final_state_refuses_is_dropped_and_told() -> None:
    bench = Bench()
    first, second = mint(1), mint(1, nonce=1)
    bench.offer(first, second)
    block = bench.propose()
    assert block.transactions == (first.transaction.raw,)
    assert set(bench.rejected) == {second.transaction.id}
    assert second.transaction.id not in bench.mempool


def test_nothing_but_refused_transactions_makes_no_block() -> None:
    bench = Bench()
    lonely = grant(mint(1).token, 1, keys(1).owner)
    bench.offer(lonely)
    assert bench.tree.propose(ROOT_HASH, 1, NOW) is None
    assert set(bench.rejected) == {lonely.transaction.id}


def test_sweeping_drops_what_became_impossible_and_keeps_the_rest() -> None:
    bench = Bench()
    good, bad = mint(1), grant(mint(2).token, 1, keys(2).owner)
    bench.offer(good, bad)
    bench.tree.sweep(NOW)
    assert [item.transaction.id for item in bench.mempool] == [good.transaction.id]
    assert set(bench.rejected) == {bad.transaction.id}


def test_sweeping_looks_at_so_many_and_goes_on_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SWEEP_MAX", 2)
    bench = Bench()
    bench.offer(*(grant(mint(number).token, 1, keys(number).owner) for number in range(5)))
    left: list[int] = []
    for _ in range(3):
        bench.tree.sweep(NOW)
        left.append(len(bench.mempool))
    assert left == [3, 1, 0]


def test_a_new_root_forgets_its_rivals_and_its_transactions() -> None:
    bench, rival = Bench(), Bench()
    bench.offer(mint(1), mint(2))
    rival.offer(mint(2))
    block, other = bench.propose(), rival.propose(2)
    bench.tree.add(other)
    execution = bench.tree.execute(block_hash(block.header))
    assert execution is not None
    bench.tree.move_root(block.header, execution.state)
    assert bench.tree.block(block_hash(other.header)) is None
    assert len(bench.mempool) == 0
    bench.offer(mint(3))
    assert bench.propose(3, block).header.height == 2


def test_of_a_final_block_the_own_copy_counts_for_it_has_all_its_sealed_bytes() -> None:
    proposer, voter = Bench(), Bench()
    proposer.offer(mint(1))
    whole = proposer.propose()
    voter.tree.add(whole)
    assert voter.tree.admit_final([replace(whole, sealed=(b"",))]) == [whole]


def test_final_blocks_of_which_one_is_wrong_leave_nothing_behind() -> None:
    proposer, voter = Bench(), Bench()
    proposer.offer(mint(1))
    first = proposer.propose()
    proposer.offer(mint(2))
    second = proposer.propose(2, first)
    with pytest.raises(RemoteProtocolError):
        voter.tree.admit_final([replace(first, sealed=(b"",)), replace(second, transactions=(), sealed=())])
    voter.tree.add(first)
    voter.tree.add(second)
    assert voter.tree.is_valid(second, NOW)


def test_blocks_of_past_views_are_forgotten_whatever_height_they_claim() -> None:
    bench = Bench()
    bench.offer(mint(1))
    block = bench.propose(2)
    far = replace(
        Bench().propose(now=HEARTBEAT), header=replace(ROOT, view=1, height=1 << 60, parent=ROOT_HASH)
    )
    bench.tree.add(far)
    execution = bench.tree.execute(block_hash(block.header))
    assert execution is not None
    bench.tree.move_root(block.header, execution.state)
    bench.tree.add(far)
    assert bench.tree.block(block_hash(far.header)) is None


def test_a_long_line_of_blocks_that_were_never_executed_is_executed_at_once() -> None:
    """What is proposed while a node is behind waits for its parents; there may be thousands."""
    builder, behind = Bench(), Bench()
    block: Block | None = None
    for number in range(1, sys.getrecursionlimit() + 1):
        now = Now(0, CREATED_MS + number * START.limits.heartbeat_ms)
        block = builder.propose(number, block, now)
        behind.tree.add(block)
    assert block is not None
    executed = behind.tree.execute(block_hash(block.header))
    assert executed is not None
    assert executed.state.entries.root == block.header.state_root
