"""Which detached bytes a store must delete, and which it may not."""

from msgspec.structs import replace

from protocol.transactions import (
    Grant,
    Rotate,
    sealed_hash,
)
from tests.ledger_world import (
    START,
    after,
    erase,
    grant,
    grant_id,
    keys,
    mint,
    overlay,
    revoke,
    rotate,
    signed,
)

OLD, NEW, NEWER = keys("anne", 0), keys("anne", 1), keys("anne", 2)
MINT = mint("anne")
TOKEN = MINT.token
MINTED = after(START, MINT)
GRANTED = after(MINTED, grant(TOKEN, 1, OLD.owner))


def sealed_of(number: int) -> bytes:
    return sealed_hash(b"sealed grant %d" % number)


def test_a_revocation_drops_the_sealed_bytes_of_its_grant() -> None:
    result = overlay(GRANTED, revoke(TOKEN, 1, OLD.owner))
    assert result.dropped_sealed == {(TOKEN, sealed_of(1))}
    assert result.kept_sealed == {}


def test_a_rotation_keeps_the_new_key_and_kept_grants_and_drops_the_rest() -> None:
    state = after(GRANTED, grant(TOKEN, 2, OLD.owner))
    item = rotate(TOKEN, OLD, NEW, keep=[2])
    result = overlay(state, item)
    assert result.kept_sealed == {TOKEN: {sealed_hash(item.sealed), sealed_of(2)}}
    assert result.dropped_sealed == {(TOKEN, sealed_hash(MINT.sealed))}


def test_a_rotation_that_names_a_revoked_grant_keeps_nothing_of_it() -> None:
    state = after(GRANTED, revoke(TOKEN, 1, OLD.owner), revoke(TOKEN, 2, OLD.owner), height=5)
    item = rotate(TOKEN, OLD, NEW, keep=[1, 2])
    result = overlay(state, item, height=6)
    assert result.kept_sealed == {TOKEN: {sealed_hash(item.sealed)}}
    for number in (1, 2):
        found = result.grant(TOKEN, grant_id(number))
        assert found is not None
        assert (found.generation, found.height) == (0, 5)


def test_an_erasure_keeps_no_sealed_bytes() -> None:
    result = overlay(GRANTED, erase(TOKEN, OLD))
    assert result.kept_sealed == {TOKEN: set()}
    assert result.dropped_sealed == {(TOKEN, sealed_hash(MINT.sealed))}


def test_sealed_bytes_of_grants_after_a_rotation_in_the_same_block_stay() -> None:
    item = rotate(TOKEN, OLD, NEW)
    result = overlay(GRANTED, item, grant(TOKEN, 2, NEW.owner), grant(TOKEN, 3, NEW.owner))
    result.apply(revoke(TOKEN, 3, NEW.owner).transaction)
    assert result.kept_sealed == {TOKEN: {sealed_hash(item.sealed), sealed_of(2)}}


def test_sealed_bytes_that_are_still_needed_are_not_dropped() -> None:
    same_key = rotate(TOKEN, OLD, NEW).transaction.body
    assert isinstance(same_key, Rotate)
    body = replace(same_key, sealed_key_hash=sealed_hash(MINT.sealed))
    result = overlay(MINTED, signed(body, OLD.next, NEW.owner))
    assert result.dropped_sealed == set()
    twin = signed(Grant(TOKEN, grant_id(2), sealed_of(1)), OLD.owner)
    result = overlay(GRANTED, revoke(TOKEN, 1, OLD.owner), twin)
    assert result.dropped_sealed == set()


def test_the_owners_own_box_survives_a_grant_that_names_it_and_is_revoked() -> None:
    mimic = signed(Grant(TOKEN, grant_id(2), sealed_hash(MINT.sealed)), OLD.owner)
    result = overlay(MINTED, mimic, revoke(TOKEN, 2, OLD.owner))
    assert result.dropped_sealed == set()


def test_another_tokens_sealed_bytes_are_not_dropped_by_naming_them() -> None:
    other = mint("bert")
    mimic = signed(Grant(other.token, grant_id(2), sealed_of(1)), keys("bert").owner)
    result = overlay(after(GRANTED, other), mimic, revoke(other.token, 2, keys("bert").owner))
    assert result.dropped_sealed == {(other.token, sealed_of(1))}
