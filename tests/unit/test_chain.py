"""Building and executing blocks, and what a light client can check of one."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from protocol import limits, merkle
from protocol.blocks import NO_BLOCK, Block, BlockHash, Header, NetworkId, block_hash, decode_block
from protocol.chain import (
    build_block,
    execute_block,
    genesis_header,
    is_named_sealed,
    prove_transaction,
    verify_inclusion,
)
from protocol.codec import encode
from protocol.errors import LocalProtocolError, Rejection, RemoteProtocolError
from protocol.limits import NetworkLimits
from protocol.state import LedgerState
from protocol.transactions import Grant, GrantId, Revoke, TokenId, TransactionId, sealed_hash
from tests.ledger_world import (
    CREATED_MS,
    GENESIS,
    START,
    VOTERS,
    Signed,
    build,
    erase,
    execute,
    grant,
    grant_id,
    keys,
    mint,
    revoke,
    rotate,
    signed,
)

FIRST = genesis_header(GENESIS)
ANNE, BERT = mint("anne"), mint("bert")
ITEMS = [ANNE, grant(ANNE.token, 1, keys("anne").owner), BERT]
BUILT = build(FIRST, START, ITEMS)
BLOCK = BUILT.block


def with_header(block: Block, **fields: object) -> Block:
    return replace(block, header=replace(block.header, **fields))


def test_the_genesis_header_is_height_zero_of_the_founders() -> None:
    assert (FIRST.height, FIRST.view, FIRST.epoch, FIRST.parent) == (0, 0, 0, NO_BLOCK)
    assert FIRST.tx_root == merkle.EMPTY_ROOT
    assert FIRST.state_root == START.entries.root
    assert FIRST.time_ms == CREATED_MS
    assert FIRST.proposer == VOTERS[0].public


def test_what_is_built_executes_to_the_same_state() -> None:
    decoded = decode_block(encode(BLOCK))
    result = execute(FIRST, START, decoded)
    assert result.state.entries.root == BUILT.execution.state.entries.root == BLOCK.header.state_root
    assert result.changes == BUILT.execution.changes
    assert not BUILT.rejected
    assert [item.sealed for item in ITEMS] == list(BLOCK.sealed)


def test_changes_written_as_leaves_rebuild_the_state() -> None:
    assert START.entries.update(BUILT.execution.changes).root == BLOCK.header.state_root


def test_an_empty_block_keeps_its_parents_state() -> None:
    built = build(FIRST, START, [])
    assert built.block.header.state_root == FIRST.state_root
    assert built.block.header.tx_root == merkle.EMPTY_ROOT
    result = execute(FIRST, START, built.block)
    assert result.state.entries.root == START.entries.root
    assert (result.changes, result.dropped_sealed, result.kept_sealed) == ({}, frozenset(), {})


def test_blocks_build_on_each_other() -> None:
    second = build(BLOCK.header, BUILT.execution.state, [revoke(ANNE.token, 1, keys("anne").owner)])
    assert second.block.header.height == 2
    result = execute(BLOCK.header, BUILT.execution.state, second.block)
    assert result.dropped_sealed == {(ANNE.token, sealed_hash(ITEMS[1].sealed))}
    third = build(second.block.header, result.state, [erase(ANNE.token, keys("anne"))])
    assert third.execution.kept_sealed == {ANNE.token: frozenset()}


def test_rejected_candidates_are_left_out_and_reported() -> None:
    anne = keys("anne").owner
    early = grant(ANNE.token, 5, anne)
    twice = mint("anne", nonce=1)
    wrong = Signed(grant(ANNE.token, 6, anne).transaction, b"other bytes")
    stray = Signed(revoke(ANNE.token, 7, anne).transaction, b"bytes that nothing names")
    large = b"x" * (limits.SEALED_BYTES_MAX + 1)
    long = signed(Grant(ANNE.token, grant_id(8), sealed_hash(large)), anne, sealed=large)
    built = build(FIRST, START, [early, ANNE, twice, wrong, stray, long, BERT])
    assert built.block.transactions == (ANNE.transaction.raw, BERT.transaction.raw)
    assert built.rejected == (
        (early.transaction.id, Rejection.UNKNOWN_TOKEN),
        (twice.transaction.id, Rejection.KEY_USED),
        (wrong.transaction.id, Rejection.SEALED),
        (stray.transaction.id, Rejection.SEALED),
        (long.transaction.id, Rejection.SEALED),
    )
    execute(FIRST, START, built.block)


def limited(block_bytes_max: int) -> tuple[Header, LedgerState]:
    """The first parent and its state, in a network with blocks of that size."""
    return FIRST, LedgerState(START.network, NetworkLimits(block_bytes_max=block_bytes_max), START.entries)


def test_junk_before_good_ones_is_looked_at_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REJECTED_PER_BLOCK_MAX", 3)
    junk = [grant(mint(number).token, 1, keys(number).owner) for number in range(5)]
    built = build(FIRST, START, [ANNE, *junk, BERT])
    assert built.block.transactions == (ANNE.transaction.raw,)
    assert len(built.rejected) == 3


def test_a_block_is_filled_up_to_its_size_and_no_further() -> None:
    patients = [mint(("full", number)) for number in range(20)]
    for count in (1, 5, 20):
        size = len(encode(build(FIRST, START, patients[:count]).block))
        for room, taken in ((size - 1, count - 1), (size + 3 * 2 * count, count)):
            parent, state = limited(room)
            block = build(parent, state, patients[: count + 1]).block
            assert block.transactions == tuple(item.transaction.raw for item in patients[:taken])
            assert len(encode(block)) <= room
            execute(parent, state, block)


def test_nothing_overtakes_a_candidate_that_does_not_fit() -> None:
    parent, state = limited(len(encode(BLOCK)))
    small = revoke(ANNE.token, 1, keys("anne").owner)
    longer = mint("a patient with a longer name than the block has room for")
    assert len(build(parent, state, [*ITEMS[:2], longer, small]).block.transactions) == 2
    assert len(build(parent, state, [*ITEMS[:2], small, longer]).block.transactions) == 3


def test_a_block_that_fits_to_the_byte_is_executed_and_one_byte_more_is_not() -> None:
    size = len(encode(BLOCK))
    for room in (size, size - 1):
        state = LedgerState(START.network, NetworkLimits(block_bytes_max=room), START.entries)
        if room == size:
            execute(FIRST, state, BLOCK)
        else:
            with pytest.raises(RemoteProtocolError, match="size"):
                execute(FIRST, state, BLOCK)


def test_a_block_holds_no_more_transactions_than_the_limit() -> None:
    wide = LedgerState(START.network, NetworkLimits(block_bytes_max=10**9), BUILT.execution.state.entries)
    anne = keys("anne").owner
    many = [revoke(ANNE.token, 10 + number, anne) for number in range(limits.BLOCK_TRANSACTIONS_MAX + 1)]
    built = build(BLOCK.header, wide, many)
    assert len(built.block.transactions) == limits.BLOCK_TRANSACTIONS_MAX


def test_building_refuses_a_time_or_view_that_does_not_follow() -> None:
    for view, time_ms in ((0, CREATED_MS + 1), (1, CREATED_MS)):
        with pytest.raises(LocalProtocolError):
            build_block(
                parent=FIRST,
                state=START,
                view=view,
                proposer=VOTERS[0].public,
                time_ms=time_ms,
                candidates=[],
            )


OTHER_HASH = BlockHash(b"\x01" * 32)

HEADER_DEFECTS: list[tuple[str, dict[str, object]]] = [
    ("version", {"version": 2}),
    ("network", {"network": NetworkId(bytes(32))}),
    ("parent", {"parent": OTHER_HASH}),
    ("parent", {"height": 2}),
    ("parent", {"height": 0}),
    ("epoch", {"epoch": 1}),
    ("view", {"view": 0}),
    ("time", {"time_ms": CREATED_MS}),
    ("time", {"time_ms": CREATED_MS - 1}),
    ("transaction root", {"tx_root": OTHER_HASH}),
    ("state root", {"state_root": OTHER_HASH}),
    ("state root", {"state_root": FIRST.state_root}),
]


@pytest.mark.parametrize(("word", "fields"), HEADER_DEFECTS)
def test_a_defect_in_the_header_is_refused(word: str, fields: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError, match=word):
        execute(FIRST, START, with_header(BLOCK, **fields))


def _reordered(block: Block) -> Block:
    return replace(block, transactions=block.transactions[::-1], sealed=block.sealed[::-1])


def _shortened(block: Block) -> Block:
    return replace(block, transactions=block.transactions[:-1], sealed=block.sealed[:-1])


def _repeated(block: Block) -> Block:
    return _rooted(
        replace(
            block,
            transactions=(*block.transactions, block.transactions[0]),
            sealed=(*block.sealed, block.sealed[0]),
        )
    )


def _rooted(block: Block) -> Block:
    """`block` with the right transaction root, as a hostile proposer would make it."""
    leaves = [TransactionId(merkle_leaf) for merkle_leaf in _ids(block)]
    return with_header(block, tx_root=merkle.root(leaves))


def _ids(block: Block) -> list[bytes]:
    by_raw = {item.transaction.raw: item.transaction.id for item in ITEMS}
    return [by_raw[raw] for raw in block.transactions]


CONTENT_DEFECTS: list[tuple[str, Callable[[Block], Block]]] = [
    ("transaction root", _reordered),
    ("transaction root", _shortened),
    ("rejected transaction: unknown-token", lambda block: _rooted(_reordered(block))),
    ("state root", lambda block: _rooted(_shortened(block))),
    ("rejected transaction: owner-key-used-before", _repeated),
    ("sealed", lambda block: replace(block, sealed=(b"", *block.sealed[1:]))),
    ("sealed", lambda block: replace(block, sealed=(b"other", *block.sealed[1:]))),
    ("sealed", lambda block: replace(block, sealed=(*block.sealed[1:], block.sealed[0]))),
]


@pytest.mark.parametrize(("words", "spoil"), CONTENT_DEFECTS)
def test_a_defect_in_the_contents_is_refused(words: str, spoil: Callable[[Block], Block]) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        execute(FIRST, START, spoil(BLOCK))


def test_a_block_is_refused_on_another_state_than_its_parents() -> None:
    with pytest.raises(RemoteProtocolError):
        execute(FIRST, BUILT.execution.state, BLOCK)


def test_deleted_sealed_bytes_are_missed_only_where_that_is_allowed() -> None:
    bare = replace(BLOCK, sealed=tuple(b"" for _ in BLOCK.sealed))
    with pytest.raises(RemoteProtocolError, match="sealed"):
        execute(FIRST, START, bare)
    result = execute(FIRST, START, bare, allow_missing_sealed=True)
    assert result.state.entries.root == BLOCK.header.state_root
    forged = replace(BLOCK, sealed=(b"", b"other", b""))
    with pytest.raises(RemoteProtocolError, match="sealed"):
        execute(FIRST, START, forged, allow_missing_sealed=True)


def test_sealed_bytes_stand_only_beside_a_body_that_names_them() -> None:
    body = Grant(TokenId(bytes(32)), GrantId(bytes(32)), sealed_hash(b"bytes"))
    assert is_named_sealed(body, b"bytes")
    assert not is_named_sealed(body, b"byte")
    assert not is_named_sealed(body, b"")
    assert is_named_sealed(Revoke(body.token, body.grant_id), b"")
    assert not is_named_sealed(Revoke(body.token, body.grant_id), b"bytes")


def test_giving_other_transactions_than_the_blocks_is_our_own_mistake() -> None:
    transactions = [item.transaction for item in ITEMS]
    for given in (transactions[:2], [*transactions, BERT.transaction], transactions[::-1]):
        with pytest.raises(LocalProtocolError):
            execute_block(parent=FIRST, state=START, block=BLOCK, transactions=given)


def test_a_light_client_checks_that_a_block_holds_a_transaction() -> None:
    size = len(ITEMS)
    for index, item in enumerate(ITEMS):
        path = prove_transaction(BLOCK, index)
        assert verify_inclusion(BLOCK.header, item.transaction.id, index, size, path)
        assert not verify_inclusion(BLOCK.header, item.transaction.id, (index + 1) % size, size, path)
        assert not verify_inclusion(FIRST, item.transaction.id, index, size, path)
    absent = mint("carl").transaction.id
    assert not verify_inclusion(BLOCK.header, absent, 0, size, prove_transaction(BLOCK, 0))
    with pytest.raises(LocalProtocolError):
        prove_transaction(BLOCK, size)


def test_a_transaction_finds_its_rules_at_the_blocks_own_height_and_time() -> None:
    late = mint("late", not_after_ms=CREATED_MS + 10)
    assert build(FIRST, START, [late], time_ms=CREATED_MS + 10).block.transactions
    assert not build(FIRST, START, [late], time_ms=CREATED_MS + 11).block.transactions
    state = BUILT.execution.state
    turn = rotate(ANNE.token, keys("anne"), keys("anne", 1))
    found = build(BLOCK.header, state, [turn]).execution.state.token(ANNE.token)
    assert found is not None
    assert found.height == 2


def test_block_hash_links_header_to_header() -> None:
    assert BLOCK.header.parent == block_hash(FIRST)
    assert isinstance(BLOCK.header, Header)
