"""The rules of the ledger, one by one."""

import pytest
from msgspec.structs import replace

from protocol.codec import digest
from protocol.errors import Rejected, Rejection
from protocol.keys import SigningKey
from protocol.ledger import may_revoke
from protocol.state import LedgerState, TokenState, is_live, next_history
from protocol.transactions import (
    Erase,
    Grant,
    Revoke,
    Rotate,
    TokenId,
    Transfer,
    next_key_hash,
    sealed_hash,
)
from tests.ledger_world import (
    CLINICS,
    CREATED_MS,
    GRANTS_MAX,
    START,
    STRANGER,
    Keys,
    Signed,
    after,
    audit_head,
    erase,
    grant,
    grant_id,
    keys,
    mint,
    overlay,
    revoke,
    rotate,
    signed,
    signing,
    transfer,
)

OLD, NEW, NEWER = keys("anne", 0), keys("anne", 1), keys("anne", 2)
MINT = mint("anne")
TOKEN = MINT.token
MINTED = after(START, MINT)
GRANTED = after(MINTED, grant(TOKEN, 1, OLD.owner))


def refuses(state: LedgerState, item: Signed, time_ms: int = CREATED_MS + 1) -> str:
    """The reason for which `state` rejects `item`; nothing may change."""
    attempt = overlay(state, time_ms=time_ms)
    with pytest.raises(Rejected) as caught:
        attempt.apply(item.transaction)
    assert not attempt.changes
    assert not attempt.dropped_sealed
    assert not attempt.kept_sealed
    assert attempt.commit().entries.root == state.entries.root
    assert isinstance(caught.value.reason, Rejection)
    assert caught.value.hint
    return caught.value.reason


def token(state: LedgerState) -> TokenState:
    found = state.token(TOKEN)
    assert found is not None
    return found


def lives(state: LedgerState, number: int) -> bool:
    found = state.grant(TOKEN, grant_id(number))
    return found is not None and is_live(found, token(state))


# Mint.


def test_a_mint_gives_the_token_to_the_enrolled_key() -> None:
    found = token(MINTED)
    assert found.owner_key == OLD.owner.public
    assert found.issuer == CLINICS[0].public
    assert (found.generation, found.grants, found.erased) == (0, 0, False)
    assert (found.minted_height, found.height) == (1, 1)
    entry = MINTED.owner_key(OLD.owner.public)
    assert entry is not None
    assert (entry.token, entry.generation) == (TOKEN, 0)


def test_only_a_member_mints() -> None:
    assert refuses(START, mint("anne", by=STRANGER)) == Rejection.NOT_MEMBER


def test_an_enrolment_ends_after_its_last_millisecond() -> None:
    item = mint("anne", not_after_ms=CREATED_MS + 5)
    assert after(START, item, time_ms=CREATED_MS + 5).token(item.token)
    assert refuses(START, item, CREATED_MS + 6) == Rejection.ENROLMENT_EXPIRED


def test_an_owner_key_is_used_once() -> None:
    assert refuses(MINTED, MINT) == Rejection.KEY_USED
    assert refuses(MINTED, mint("anne", nonce=1)) == Rejection.KEY_USED
    assert refuses(MINTED, mint("anne", nonce=1, by=CLINICS[1])) == Rejection.KEY_USED


def test_an_owner_key_stays_used_after_it_was_rotated_away() -> None:
    rotated = after(MINTED, rotate(TOKEN, OLD, NEW))
    assert refuses(rotated, mint("anne", nonce=1)) == Rejection.KEY_USED
    again = Keys(OLD.owner, NEWER.next, NEWER.enc)
    assert refuses(rotated, rotate(TOKEN, NEW, again, generation=1)) == Rejection.KEY_USED
    assert refuses(rotated, transfer(TOKEN, NEW, again, generation=1)) == Rejection.KEY_USED


def test_a_key_that_owns_one_token_cannot_receive_another() -> None:
    other = mint("bert")
    state = after(MINTED, other)
    taken = Keys(keys("bert").owner, NEW.next, NEW.enc)
    assert refuses(state, transfer(TOKEN, OLD, taken)) == Rejection.KEY_USED


def test_an_owner_key_is_never_its_own_next_key() -> None:
    both = Keys(OLD.owner, OLD.owner, OLD.enc)
    assert refuses(START, mint("anne", own=both)) == Rejection.SAME_KEY
    new = Keys(NEW.owner, NEW.owner, NEW.enc)
    assert refuses(MINTED, rotate(TOKEN, OLD, new)) == Rejection.SAME_KEY
    assert refuses(MINTED, transfer(TOKEN, OLD, new)) == Rejection.SAME_KEY


# Grant.


def test_a_grant_is_live_once_registered() -> None:
    assert lives(GRANTED, 1)
    found = GRANTED.grant(TOKEN, grant_id(1))
    assert found is not None
    assert (found.generation, found.registered_generation) == (0, 0)
    assert token(GRANTED).grants == 1


def test_a_grant_of_a_token_that_is_not_there_is_rejected() -> None:
    assert refuses(START, grant(TOKEN, 1, OLD.owner)) == Rejection.UNKNOWN_TOKEN


@pytest.mark.parametrize("signer", [STRANGER, OLD.next, NEW.owner, CLINICS[0]])
def test_only_the_owner_grants(signer: SigningKey) -> None:
    assert refuses(MINTED, grant(TOKEN, 1, signer)) == Rejection.NOT_OWNER


def test_a_former_owner_grants_nothing() -> None:
    state = after(MINTED, transfer(TOKEN, OLD, NEW))
    assert refuses(state, grant(TOKEN, 1, OLD.owner)) == Rejection.NOT_OWNER
    assert lives(after(state, grant(TOKEN, 1, NEW.owner)), 1)


def test_a_grant_is_registered_once() -> None:
    assert refuses(GRANTED, grant(TOKEN, 1, OLD.owner)) == Rejection.ALREADY_GRANTED
    other = signed(Grant(TOKEN, grant_id(1), sealed_hash(b"other")), OLD.owner)
    assert refuses(GRANTED, other) == Rejection.ALREADY_GRANTED


def test_one_grant_id_may_be_registered_under_two_tokens() -> None:
    other = mint("bert")
    state = after(GRANTED, other, grant(other.token, 1, keys("bert").owner))
    assert state.grant(other.token, grant_id(1)) is not None


def test_an_erased_token_takes_nothing_more() -> None:
    state = after(GRANTED, erase(TOKEN, OLD))
    assert refuses(state, grant(TOKEN, 2, OLD.owner)) == Rejection.ERASED
    assert refuses(state, revoke(TOKEN, 1, OLD.owner)) == Rejection.ERASED
    assert refuses(state, rotate(TOKEN, OLD, NEW, generation=1)) == Rejection.ERASED
    assert refuses(state, transfer(TOKEN, OLD, NEW, generation=1)) == Rejection.ERASED
    assert refuses(state, erase(TOKEN, OLD, generation=1)) == Rejection.ERASED


# Revoke.


def test_a_revoked_grant_is_dead_for_good() -> None:
    state = after(GRANTED, revoke(TOKEN, 1, OLD.owner))
    assert not lives(state, 1)
    assert refuses(state, revoke(TOKEN, 1, OLD.owner)) == Rejection.ALREADY_REVOKED
    assert refuses(state, grant(TOKEN, 1, OLD.owner)) == Rejection.REVOKED


def test_a_grant_revoked_before_it_came_is_never_registered() -> None:
    state = after(MINTED, revoke(TOKEN, 1, OLD.owner))
    assert not lives(state, 1)
    assert refuses(state, grant(TOKEN, 1, OLD.owner)) == Rejection.REVOKED
    assert refuses(state, revoke(TOKEN, 1, OLD.owner)) == Rejection.ALREADY_REVOKED
    rotated = after(state, rotate(TOKEN, OLD, NEW))
    assert refuses(rotated, grant(TOKEN, 1, NEW.owner)) == Rejection.REVOKED


def test_grant_and_revocation_may_come_in_one_block() -> None:
    assert not lives(after(MINTED, grant(TOKEN, 1, OLD.owner), revoke(TOKEN, 1, OLD.owner)), 1)


def test_a_revocation_of_an_unknown_token_is_no_matter_for_the_ledger() -> None:
    assert refuses(START, revoke(TOKEN, 1, OLD.owner)) == Rejection.UNKNOWN_TOKEN


@pytest.mark.parametrize("signer", [STRANGER, OLD.next, NEW.owner, CLINICS[0], keys("bert").owner])
def test_nobody_else_revokes(signer: SigningKey) -> None:
    state = after(GRANTED, mint("bert"))
    assert refuses(state, revoke(TOKEN, 1, signer)) == Rejection.NOT_OWNER
    assert refuses(state, revoke(TOKEN, 2, signer)) == Rejection.NOT_OWNER


def test_every_owner_key_since_a_grant_revokes_it() -> None:
    kept = after(GRANTED, rotate(TOKEN, OLD, NEW, keep=[1]))
    assert not lives(after(kept, revoke(TOKEN, 1, OLD.owner)), 1)
    assert not lives(after(kept, revoke(TOKEN, 1, NEW.owner)), 1)


def test_an_owner_key_before_a_grant_does_not_revoke_it() -> None:
    rotated = after(MINTED, rotate(TOKEN, OLD, NEW), grant(TOKEN, 2, NEW.owner))
    assert refuses(rotated, revoke(TOKEN, 2, OLD.owner)) == Rejection.NOT_OWNER
    kept = after(rotated, rotate(TOKEN, NEW, NEWER, generation=1, keep=[2]))
    assert refuses(kept, revoke(TOKEN, 2, OLD.owner)) == Rejection.NOT_OWNER
    assert not lives(after(kept, revoke(TOKEN, 2, NEW.owner)), 2)


def test_a_former_owner_cannot_block_grants_to_come() -> None:
    state = after(MINTED, transfer(TOKEN, OLD, NEW))
    assert refuses(state, revoke(TOKEN, 1, OLD.owner)) == Rejection.NOT_OWNER
    assert lives(after(state, grant(TOKEN, 1, NEW.owner)), 1)


def test_a_revocation_seen_at_sight_counts_waits_or_is_void() -> None:
    body = Revoke(TOKEN, grant_id(1))
    assert may_revoke(START, body, OLD.owner.public) is None
    assert may_revoke(MINTED, body, OLD.owner.public) is True
    assert may_revoke(GRANTED, body, OLD.owner.public) is True
    assert may_revoke(GRANTED, body, NEW.owner.public) is None
    other = after(GRANTED, mint("bert"))
    assert may_revoke(other, body, keys("bert").owner.public) is False
    assert may_revoke(other, Revoke(TokenId(bytes(32)), grant_id(1)), OLD.owner.public) is False
    rotated = after(MINTED, rotate(TOKEN, OLD, NEW), grant(TOKEN, 1, NEW.owner))
    assert may_revoke(rotated, body, OLD.owner.public) is False
    assert may_revoke(rotated, Revoke(TOKEN, grant_id(2)), OLD.owner.public) is False


# Transfer, rotate, erase.


def test_a_transfer_makes_the_recipient_the_owner() -> None:
    found = token(after(GRANTED, transfer(TOKEN, OLD, NEW)))
    assert (found.owner_key, found.enc_key) == (NEW.owner.public, NEW.enc.public)
    assert found.next_key_hash == next_key_hash(NEW.next.public)
    assert (found.generation, found.grants) == (1, 0)


def test_a_rotation_needs_the_next_key_alone() -> None:
    assert token(after(GRANTED, rotate(TOKEN, OLD, NEW))).owner_key == NEW.owner.public


def test_an_erased_token_keeps_who_and_when_and_loses_every_grant() -> None:
    state = after(GRANTED, erase(TOKEN, OLD), height=9)
    found = token(state)
    assert found.erased
    assert (found.issuer, found.owner_key, found.generation) == (CLINICS[0].public, OLD.owner.public, 1)
    assert (found.minted_height, found.height) == (1, 9)
    assert not lives(state, 1)


@pytest.mark.parametrize("named", [1, 2])
def test_a_generation_that_is_not_the_present_one_cannot_be_ended(named: int) -> None:
    for item in (
        transfer(TOKEN, OLD, NEW, generation=named),
        rotate(TOKEN, OLD, NEW, generation=named),
        erase(TOKEN, OLD, generation=named),
    ):
        assert refuses(MINTED, item) == Rejection.GENERATION


def test_replays_of_rotation_and_transfer_change_nothing() -> None:
    for item in (rotate(TOKEN, OLD, NEW), transfer(TOKEN, OLD, NEW)):
        assert refuses(after(MINTED, item), item) == Rejection.GENERATION


def test_the_owner_key_alone_never_transfers_rotates_or_erases() -> None:
    """Whoever holds the owner key, and any keys of his own, but not the next key."""
    thief = Keys(OLD.owner, signing("thief"), OLD.enc)
    mine = keys("thief")
    twice = Keys(OLD.owner, OLD.owner, OLD.enc)
    for stolen in (thief, twice):
        assert refuses(GRANTED, transfer(TOKEN, stolen, mine)) == Rejection.NEXT_KEY
        assert refuses(GRANTED, rotate(TOKEN, stolen, mine)) == Rejection.NEXT_KEY
        assert refuses(GRANTED, erase(TOKEN, stolen)) == Rejection.NEXT_KEY


def test_the_next_key_alone_neither_transfers_nor_erases() -> None:
    finder = Keys(STRANGER, OLD.next, OLD.enc)
    assert refuses(MINTED, transfer(TOKEN, finder, NEW)) == Rejection.NOT_OWNER
    assert refuses(MINTED, erase(TOKEN, finder)) == Rejection.NOT_OWNER


def test_a_next_key_counts_for_its_own_generation_only() -> None:
    rotated = after(MINTED, rotate(TOKEN, OLD, NEW))
    again = Keys(NEW.owner, OLD.next, NEW.enc)
    assert refuses(rotated, rotate(TOKEN, again, NEWER, generation=1)) == Rejection.NEXT_KEY


def test_nothing_happens_to_a_token_that_is_not_there() -> None:
    for item in (transfer(TOKEN, OLD, NEW), rotate(TOKEN, OLD, NEW), erase(TOKEN, OLD)):
        assert refuses(START, item) == Rejection.UNKNOWN_TOKEN


# Keep lists.


@pytest.mark.parametrize("change", [transfer, rotate])
def test_what_is_kept_lives_on_and_the_rest_dies(change: type) -> None:
    state = after(GRANTED, grant(TOKEN, 2, OLD.owner))
    state = after(state, change(TOKEN, OLD, NEW, keep=[2]))
    assert not lives(state, 1)
    assert lives(state, 2)
    again = after(state, rotate(TOKEN, NEW, NEWER, generation=1, keep=[2]))
    assert lives(again, 2)
    assert not lives(after(state, rotate(TOKEN, NEW, NEWER, generation=1)), 2)


def test_a_grant_keeps_the_generation_that_registered_it() -> None:
    state = after(GRANTED, rotate(TOKEN, OLD, NEW, keep=[1]))
    found = state.grant(TOKEN, grant_id(1))
    assert found is not None
    assert (found.generation, found.registered_generation) == (1, 0)


def test_a_grant_that_was_not_kept_is_not_revived() -> None:
    state = after(GRANTED, rotate(TOKEN, OLD, NEW))
    item = rotate(TOKEN, NEW, NEWER, generation=1, keep=[1])
    assert refuses(state, item) == Rejection.KEEP


def test_only_grants_of_this_token_are_kept() -> None:
    other = mint("bert")
    state = after(GRANTED, other, grant(other.token, 7, keys("bert").owner))
    assert refuses(state, rotate(TOKEN, OLD, NEW, keep=[1, 7])) == Rejection.KEEP
    assert refuses(state, transfer(TOKEN, OLD, NEW, keep=[2])) == Rejection.KEEP


def test_revoking_what_a_rotation_keeps_neither_stalls_it_nor_is_undone() -> None:
    state = after(GRANTED, grant(TOKEN, 2, OLD.owner), revoke(TOKEN, 1, OLD.owner))
    state = after(state, revoke(TOKEN, 3, OLD.owner), rotate(TOKEN, OLD, NEW, keep=[1, 2, 3]))
    assert token(state).owner_key == NEW.owner.public
    assert [number for number in (1, 2, 3) if lives(state, number)] == [2]


# Floods.


def test_grants_are_counted_with_tombstones_and_the_count_has_an_end() -> None:
    state = MINTED
    for number in range(GRANTS_MAX):
        make = grant if number % 2 else revoke
        state = after(state, make(TOKEN, number, OLD.owner))
    assert refuses(state, grant(TOKEN, 99, OLD.owner)) == Rejection.GRANTS_FULL
    assert refuses(state, revoke(TOKEN, 99, OLD.owner)) == Rejection.GRANTS_FULL


def test_a_full_token_still_revokes_and_rotates_and_then_has_room_again() -> None:
    flood = [grant(TOKEN, number, OLD.owner) for number in range(GRANTS_MAX)]
    state = after(MINTED, *flood)
    state = after(state, revoke(TOKEN, 3, OLD.owner))
    state = after(state, rotate(TOKEN, OLD, NEW, keep=[1]))
    assert [number for number in range(GRANTS_MAX) if lives(state, number)] == [1]
    more = [grant(TOKEN, 100 + number, NEW.owner) for number in range(GRANTS_MAX)]
    assert refuses(after(state, *more), grant(TOKEN, 99, NEW.owner)) == Rejection.GRANTS_FULL


def test_a_rotation_signed_before_a_flood_goes_through_after_it() -> None:
    signed_before = rotate(TOKEN, OLD, NEW, keep=[1])
    flood = [grant(TOKEN, number, OLD.owner) for number in range(2, GRANTS_MAX + 1)]
    state = after(after(GRANTED, *flood), signed_before)
    assert [number for number in range(GRANTS_MAX + 1) if lives(state, number)] == [1]


# Audit heads.


def test_an_audit_head_is_posted_for_a_member() -> None:
    state = after(START, audit_head(CLINICS[1], 7))
    member = state.member(CLINICS[1].public)
    assert member is not None
    assert (member.audit_sequence, member.audit_head) == (7, digest("head", b"\x07"))
    assert member.audit_time_ms == CREATED_MS + 1
    assert refuses(START, audit_head(STRANGER, 1)) == Rejection.NOT_MEMBER


def test_audit_sequences_only_rise() -> None:
    state = after(START, audit_head(CLINICS[1], 7))
    later_ms = CREATED_MS + 10**8
    for sequence in (6, 7):
        assert refuses(state, audit_head(CLINICS[1], sequence), later_ms) == Rejection.AUDIT_SEQUENCE
    assert refuses(START, audit_head(CLINICS[1], 0)) == Rejection.AUDIT_SEQUENCE


def test_audit_heads_are_an_hour_apart_by_block_time() -> None:
    state = after(START, audit_head(CLINICS[1], 7), time_ms=CREATED_MS + 1)
    due_ms = CREATED_MS + 1 + 3_600_000
    assert refuses(state, audit_head(CLINICS[1], 8), due_ms - 1) == Rejection.AUDIT_TOO_SOON
    after(state, audit_head(CLINICS[1], 8), time_ms=due_ms)
    after(state, audit_head(CLINICS[2], 1), time_ms=CREATED_MS + 2)


def test_the_first_audit_head_needs_no_hour_since_1970() -> None:
    after(START, audit_head(CLINICS[1], 1), time_ms=1)


# History, heights and the record of changes.


def test_history_is_folded_over_every_transaction_that_touches_the_token() -> None:
    items = [
        MINT,
        grant(TOKEN, 1, OLD.owner),
        revoke(TOKEN, 1, OLD.owner),
        revoke(TOKEN, 2, OLD.owner),
        rotate(TOKEN, OLD, NEW),
        transfer(TOKEN, NEW, NEWER, generation=1),
        erase(TOKEN, NEWER, generation=2),
    ]
    state, expected = START, bytes(32)
    for height, item in enumerate(items, 1):
        state = after(state, item, height=height)
        expected = next_history(expected, item.transaction.id)
        assert token(state).history == expected
        assert token(state).height == height


def test_changes_are_the_leaves_that_differ() -> None:
    result = overlay(MINTED, grant(TOKEN, 1, OLD.owner), rotate(TOKEN, OLD, NEW, keep=[1]))
    before, now = dict(MINTED.entries.items()), dict(result.commit().entries.items())
    assert result.changes == {key: value for key, value in now.items() if before.get(key) != value}


def test_a_rejected_transaction_leaves_what_was_applied_before() -> None:
    result = overlay(START, MINT, grant(TOKEN, 1, OLD.owner))
    root = result.commit().entries.root
    for item in (MINT, grant(TOKEN, 1, OLD.owner), rotate(TOKEN, OLD, NEW, keep=[1, 2])):
        with pytest.raises(Rejected):
            result.apply(item.transaction)
    assert result.commit().entries.root == root


# Sealed bytes.


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


def test_bodies_of_transfer_and_erase_name_the_next_key_that_signed() -> None:
    """The ledger checks the hash of `next_key`; that this key signed is checked when decoding."""
    for item in (transfer(TOKEN, OLD, NEW), erase(TOKEN, OLD)):
        body = item.transaction.body
        assert isinstance(body, Transfer | Erase)
        assert item.transaction.signers[1] == body.next_key
