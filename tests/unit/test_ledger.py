"""The rules of the ledger for minting, granting, revoking and audit heads, and its record of changes."""

import pytest

from protocol.codec import digest
from protocol.errors import Rejected, Rejection
from protocol.keys import SigningKey
from protocol.ledger import may_revoke
from protocol.state import LedgerState, TokenState, next_history
from protocol.transactions import (
    Grant,
    Revoke,
    TokenId,
    sealed_hash,
)
from tests.ledger_world import (
    CLINICS,
    CREATED_MS,
    START,
    STRANGER,
    Keys,
    after,
    audit_head,
    erase,
    grant,
    grant_id,
    keys,
    living,
    mint,
    overlay,
    refuses,
    revoke,
    rotate,
    signed,
    token_state,
    transfer,
)

OLD, NEW, NEWER = keys("anne", 0), keys("anne", 1), keys("anne", 2)
MINT = mint("anne")
TOKEN = MINT.token
MINTED = after(START, MINT)
GRANTED = after(MINTED, grant(TOKEN, 1, OLD.owner))


def token(state: LedgerState) -> TokenState:
    return token_state(state, TOKEN)


def lives(state: LedgerState, number: int) -> bool:
    return number in living(state, TOKEN)


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
