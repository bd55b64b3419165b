"""The final chain on the store: what a restart finds, what a damaged store shows, what is deleted."""

from collections.abc import Sequence

import pytest

from node.adapters import InlineOffload
from node.chain.ledger import ExecutedBlock, FinalizedBlock, Ledger
from node.store import layout
from node.store.memory import MemoryStore
from protocol.blocks import Finality, block_hash
from protocol.errors import StorageError
from protocol.transactions import Grant, Revoke, sealed_hash
from tests.ledger_world import (
    CREATED_MS,
    GENESIS,
    START,
    Signed,
    build,
    grant,
    grant_id,
    keys,
    mint,
    revoke,
    rotate,
    signed,
)
from tests.sim.clock import EPOCH_MS, SimClock
from tests.unit.test_finality import certify


class Time:
    """Virtual milliseconds since CREATED_MS."""

    def __init__(self) -> None:
        self.ms = 0
        self.clock = SimClock(lambda: self.ms, offset_ms=CREATED_MS - EPOCH_MS)


def open_ledger(store: MemoryStore, time: Time | None = None) -> Ledger:
    return Ledger(genesis=GENESIS, store=store, clock=(time or Time()).clock, offload=InlineOffload())


async def commit(ledger: Ledger, items: Sequence[Signed], *, later_ms: int | None = None) -> None:
    header = ledger.head.header
    time_ms = None if later_ms is None else header.time_ms + later_ms
    built = build(header, ledger.state, items, time_ms=time_ms)
    transactions = tuple(item.transaction for item in items)
    executed = ExecutedBlock(built.block, transactions, built.execution)
    await ledger.commit([executed], Finality(certify(built.block.header)))


async def test_a_restart_after_power_loss_finds_what_was_final() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    token = mint(1)
    await commit(ledger, [token])
    await commit(ledger, [grant(token.token, 1, keys(1).owner)])
    block, finality = ledger.block(1), ledger.finality(2)
    again = open_ledger(store.crash(0))
    assert again.head == ledger.head
    assert again.state.entries.root == ledger.state.entries.root
    assert again.position(token.transaction.id) == (1, 0)
    assert (again.block(1), again.finality(2)) == (block, finality)


async def test_a_state_that_reads_short_stops_the_node() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    await commit(ledger, [mint(1)])
    key, _ = next(iter(store.iterate(layout.STATE)))
    store.write((), [key])
    with pytest.raises(StorageError):
        open_ledger(store)


async def test_a_lost_head_stops_the_node() -> None:
    store = MemoryStore()
    await commit(open_ledger(store), [mint(1)])
    store.write((), [layout.head()])
    with pytest.raises(StorageError):
        open_ledger(store)


async def test_sealed_bytes_go_with_the_access() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    token = mint(1)
    first, second = grant(token.token, 1, keys(1).owner), grant(token.token, 2, keys(1).owner)
    await commit(ledger, [token, first, second])
    assert ledger.block(1).sealed == (token.sealed, first.sealed, second.sealed)  # type: ignore[union-attr]
    await commit(ledger, [revoke(token.token, 1, keys(1).owner)])
    assert ledger.block(1).sealed == (token.sealed, b"", second.sealed)  # type: ignore[union-attr]
    again = rotate(token.token, keys(1), keys(1, 1))
    await commit(ledger, [again])
    assert ledger.block(1).sealed == (b"", b"", b"")  # type: ignore[union-attr]
    assert ledger.block(3).sealed == (again.sealed,)  # type: ignore[union-attr]
    assert [value for _, value in store.iterate(layout.SEALED)] == [again.sealed]


async def test_sealed_bytes_that_one_block_ends_and_the_next_brings_again_stay() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    token = mint(1)
    await commit(ledger, [token, grant(token.token, 1, keys(1).owner)])
    again = signed(Grant(token.token, grant_id(2), sealed_hash(b"sealed grant 1")), keys(1).owner)
    blocks: list[list[Signed]] = [
        [revoke(token.token, 1, keys(1).owner)],
        [Signed(again.transaction, b"sealed grant 1")],
    ]
    parent, state, executed = ledger.head.header, ledger.state, list[ExecutedBlock]()
    for items in blocks:
        built = build(parent, state, items)
        transactions = tuple(item.transaction for item in items)
        executed.append(ExecutedBlock(built.block, transactions, built.execution))
        parent, state = built.block.header, built.execution.state
    await ledger.commit(executed, Finality(certify(parent)))
    assert ledger.sealed(token.token, sealed_hash(b"sealed grant 1")) == b"sealed grant 1"


async def test_a_revocation_at_sight_survives_and_its_index_cannot_read_short() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    token = mint(1).token
    await ledger.deny(Revoke(token, grant_id(1)))
    lost = store.crash(0)
    again = open_ledger(lost)
    assert (token, grant_id(1)) in again.denied
    assert (token, grant_id(2)) not in again.denied
    key, _ = next(iter(lost.iterate(layout.DENIED)))
    lost.write((), [key])
    with pytest.raises(StorageError):
        open_ledger(lost)


async def test_observers_are_told_after_it_is_durable_and_in_order() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    seen: list[int] = []

    def observe(final: FinalizedBlock) -> None:
        seen.append(final.block.header.height)
        assert store.unsynced == 0
        assert store.get(layout.block(seen[-1])) is not None

    ledger.observe(observe)
    parent, state, executed = ledger.head.header, ledger.state, list[ExecutedBlock]()
    for number in (1, 2):
        item = mint(number)
        built = build(parent, state, [item])
        executed.append(ExecutedBlock(built.block, (item.transaction,), built.execution))
        parent, state = built.block.header, built.execution.state
    await ledger.commit(executed, Finality(certify(parent)))
    assert seen == [1, 2]
    assert ledger.finality(1) is None
    assert ledger.finality(2) is not None


async def test_freshness_counts_from_the_blocks_own_time_not_from_its_arrival() -> None:
    time = Time()
    ledger = open_ledger(MemoryStore(), time)
    time.ms = 50_000
    await commit(ledger, [])
    late = ledger.freshness(clock_is_good=True)
    assert late.elapsed_since_final_ms >= 49_000
    time.clock.step(-40_000)
    time.ms = 60_000
    back = ledger.freshness(clock_is_good=True)
    assert back.elapsed_since_final_ms >= 59_000


async def test_before_the_first_new_block_a_stored_one_is_as_old_as_it_says() -> None:
    store, time = MemoryStore(), Time()
    await commit(open_ledger(store, time), [])
    time.ms = 120_000
    again = open_ledger(store, time)
    assert again.freshness(clock_is_good=True).elapsed_since_final_ms >= 119_000


async def test_genesis_is_height_zero_and_every_node_starts_from_it() -> None:
    ledger = open_ledger(MemoryStore())
    assert ledger.height == 0
    assert ledger.head.finality is None
    assert ledger.state.entries.root == START.entries.root
    header = ledger.header(0)
    assert header is not None
    assert block_hash(header) == block_hash(ledger.head.header)


async def test_a_header_is_read_without_its_block() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    await commit(ledger, [mint(1)])
    headers = [ledger.header(height) for height in (0, 1, 2)]
    assert headers[1:] == [ledger.head.header, None]
    for height in (0, 1):
        store.write((), [layout.block(height)])
    assert [ledger.header(height) for height in (0, 1, 2)] == headers
