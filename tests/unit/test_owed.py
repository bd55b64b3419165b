"""What this node lacks of sealed bytes: put down with the block that lacks it, off with what ends it."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from node.chain.ledger import ExecutedBlock, Ledger
from node.store import layout
from node.store.memory import MemoryStore
from protocol.blocks import Finality
from protocol.proofs import ABOUT_TOKEN
from protocol.sealed import Bearer
from protocol.transactions import Grant, TokenId, sealed_hash
from tests.ledger_world import (
    GENESIS,
    Signed,
    build,
    erase,
    grant,
    grant_id,
    keys,
    mint,
    revoke,
    rotate,
    signed,
    transfer,
)
from tests.unit.test_finality import certify
from tests.unit.test_ledger_store import open_ledger

ANNE = mint("anne")
TOKEN = ANNE.token
OWNER = keys("anne").owner
LIFE_MS = GENESIS.limits.grant_life_max_ms
ALL = frozenset(range(99))


async def take_in(
    ledger: Ledger, *blocks: Sequence[Signed], bare: Collection[int] = ALL, later_ms: int = 1
) -> None:
    """Commits these blocks at once, each but the first `later_ms` after the one before. Transactions of the
    first whose index is in `bare`, and all of the others, come without their sealed bytes."""
    header, state = ledger.head.header, ledger.state
    executed: list[ExecutedBlock] = []
    for items in blocks:
        after_ms = later_ms if executed else 1
        built = build(header, state, items, time_ms=header.time_ms + after_ms)
        assert not built.rejected
        left_out = bare if items is blocks[0] else ALL
        sealed = tuple(b"" if at in left_out else raw for at, raw in enumerate(built.block.sealed))
        block = replace(built.block, sealed=sealed)
        executed.append(ExecutedBlock(block, tuple(one.transaction for one in items), built.execution))
        header, state = block.header, built.execution.state
    await ledger.commit(executed, Finality(certify(header)))


def listed(ledger: Ledger) -> set[Bearer]:
    """What is owed; the list on the disk and the count agree."""
    found = ledger.owed.some(layout.OWED, 100)
    assert ledger.owed.count == len(found)
    return {owed.bearer for owed in found}


def own(token: TokenId = TOKEN) -> Bearer:
    return token, ABOUT_TOKEN


def given(number: int) -> Bearer:
    return TOKEN, grant_id(number)


async def test_what_a_block_lacks_and_should_have_is_owed_also_after_a_power_cut() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    await take_in(ledger, [ANNE, *(grant(TOKEN, number, OWNER) for number in (1, 2))], bare={0, 2})
    assert listed(ledger) == {own(), given(2)}
    assert listed(open_ledger(store.crash(0))) == {own(), given(2)}


async def test_what_ended_before_the_last_block_taken_in_at_once_is_not_owed() -> None:
    ledger = open_ledger(MemoryStore())
    await take_in(ledger, [ANNE, grant(TOKEN, 1, OWNER), grant(TOKEN, 2, OWNER)], [revoke(TOKEN, 1, OWNER)])
    assert listed(ledger) == {own(), given(2)}
    bert = mint("bert")
    await take_in(ledger, [bert], [erase(bert.token, keys("bert"))])
    assert listed(ledger) == {own(), given(2)}


async def test_a_revocation_an_erasure_and_new_keys_take_off_what_they_end() -> None:
    grants = [grant(TOKEN, number, OWNER) for number in (1, 2, 3)]
    for ending, left in (
        (revoke(TOKEN, 1, OWNER), {own(), given(2), given(3)}),
        (erase(TOKEN, keys("anne")), set()),
        (rotate(TOKEN, keys("anne"), keys("anne", 1), keep=[2]), {given(2)}),
        (transfer(TOKEN, keys("anne"), keys("anne", 1), keep=[3]), {given(3)}),
    ):
        ledger = open_ledger(MemoryStore())
        await take_in(ledger, [ANNE, *grants, mint("bert")])
        await take_in(ledger, [ending], bare=())
        assert listed(ledger) == left | {own(mint("bert").token)}


async def test_a_new_key_that_is_lacking_takes_the_place_of_the_old_one() -> None:
    ledger = open_ledger(MemoryStore())
    await take_in(ledger, [ANNE])
    new = rotate(TOKEN, keys("anne"), keys("anne", 1))
    await take_in(ledger, [new])
    assert listed(ledger) == {own()}
    await ledger.fill({own(): ANNE.sealed})
    assert listed(ledger) == {own()}
    await ledger.fill({own(): new.sealed})
    assert listed(ledger) == set()


async def test_only_the_bytes_that_the_ledger_names_are_taken() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    shared = grant(TOKEN, 1, OWNER)
    await take_in(ledger, [ANNE, shared])
    await ledger.fill({own(): b"others", given(1): ANNE.sealed, given(2): shared.sealed})
    assert listed(ledger) == {own(), given(1)}
    assert list(store.iterate(layout.SEALED)) == []
    await ledger.fill({own(): ANNE.sealed, given(1): shared.sealed})
    assert listed(ledger) == set()
    whole = ledger.block(1)
    assert whole is not None
    assert whole.sealed == (ANNE.sealed, shared.sealed)
    # Not synced: after a power cut both are there or neither is.
    assert store.unsynced == 1
    assert listed(open_ledger(store.crash(0))) == {own(), given(1)}
    assert list(store.crash(0).iterate(layout.SEALED)) == []
    assert listed(open_ledger(store.crash(1))) == set()


async def test_what_came_too_late_is_not_kept() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    shared = grant(TOKEN, 1, OWNER)
    await take_in(ledger, [ANNE, shared])
    await take_in(ledger, [revoke(TOKEN, 1, OWNER)])
    await ledger.fill({given(1): shared.sealed})
    assert list(store.iterate(layout.SEALED)) == []


async def test_what_else_is_written_with_late_bytes_is_in_the_same_batch() -> None:
    store = MemoryStore()
    ledger = open_ledger(store)
    await take_in(ledger, [ANNE])
    ledger.observe_filled(lambda bearer, sealed: [(b"late/" + bearer[0], sealed)])
    await ledger.fill({own(): b"others"})
    assert store.get(b"late/" + TOKEN) is None
    before = store.unsynced
    await ledger.fill({own(): ANNE.sealed})
    assert store.get(b"late/" + TOKEN) == ANNE.sealed
    assert store.unsynced == before + 1


async def test_a_grant_older_than_any_may_live_is_not_owed() -> None:
    def owed(ledger: Ledger) -> dict[Bearer, bool]:
        now_ms = ledger.head.header.time_ms
        return {one.bearer: one.counts_at(now_ms) for one in ledger.owed.some(layout.OWED, 100)}

    first = [ANNE, grant(TOKEN, 1, OWNER)]
    ledger = open_ledger(MemoryStore())
    await take_in(ledger, first, [], later_ms=LIFE_MS)
    assert owed(ledger) == {own(): True, given(1): True}
    await take_in(ledger, [])
    assert owed(ledger) == {own(): True, given(1): False}
    await ledger.fill({}, [given(1), given(7)])
    assert listed(ledger) == {own()}
    ledger = open_ledger(MemoryStore())
    await take_in(ledger, first, [], later_ms=LIFE_MS + 1)
    assert owed(ledger) == {own(): True}


async def test_bytes_that_are_here_for_another_grant_of_the_token_are_not_owed() -> None:
    ledger = open_ledger(MemoryStore())
    one = grant(TOKEN, 1, OWNER)
    await take_in(ledger, [ANNE, one], bare=())
    same = signed(Grant(TOKEN, grant_id(2), sealed_hash(one.sealed)), OWNER, sealed=one.sealed)
    await take_in(ledger, [same])
    assert listed(ledger) == set()


async def test_the_list_is_read_piece_by_piece() -> None:
    ledger = open_ledger(MemoryStore())
    minted = [mint(number) for number in range(7)]
    await take_in(ledger, minted)
    found, start = [], layout.OWED
    while piece := ledger.owed.some(start, 3):
        found += piece
        start = piece[-1].key + b"\0"
    assert [one.bearer for one in found] == sorted(own(item.token) for item in minted)
