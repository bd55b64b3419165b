"""The rules of membership: who is admitted, gets a vote, loses it, and by whose approval."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from protocol.blocks import Member, sign_card
from protocol.chain import genesis_header
from protocol.codec import encode
from protocol.errors import Malformed, Rejection
from protocol.keys import SigningKey
from protocol.limits import HOUR_MS
from protocol.membership import Admit, Approved, Promote, Remove, RotateVoteKey, Suspend, accept_terms
from protocol.state import LedgerState, Role
from protocol.transactions import (
    approved_transaction,
    decode_transaction,
    sign_body,
    verify_transaction,
)
from tests.ledger_world import (
    CLINICS,
    CREATED_MS,
    FAR_MS,
    GENESIS,
    NETWORK,
    START,
    STRANGER,
    VOTERS,
    Signed,
    after,
    audit_head,
    build,
    execute,
    mint,
    opening,
    refuses,
    signed,
    signing,
)

NEW, NEW_VOTER = signing("new clinic"), signing("new voter")
QUORUM = CLINICS[:3]


def admit(
    clinic: SigningKey = NEW,
    voter: SigningKey = NEW_VOTER,
    name: str = "new",
    *,
    terms: bytes = GENESIS.terms_hash,
    by: Sequence[SigningKey] = QUORUM,
    not_after_ms: int = FAR_MS,
) -> Signed:
    card = Member(name, clinic.public, voter.public, opening("new").public, ("/ip4/127.0.0.1/tcp/1",))
    body = Admit(sign_card(card, clinic, voter), terms, accept_terms(terms, clinic, NETWORK), not_after_ms)
    return approved(body, by)


def approved(body: Approved, by: Sequence[SigningKey] = QUORUM) -> Signed:
    raw = approved_transaction(body, [sign_body(encode(body), key, NETWORK) for key in by])
    return Signed(verify_transaction(decode_transaction(raw), NETWORK), b"")


def promote(clinic: SigningKey = NEW, by: Sequence[SigningKey] = QUORUM) -> Signed:
    return approved(Promote(clinic.public, FAR_MS), by)


def suspend(clinic: SigningKey) -> Signed:
    return approved(Suspend(clinic.public, "evidence", FAR_MS))


def remove(clinic: SigningKey, by: Sequence[SigningKey] = QUORUM) -> Signed:
    return approved(Remove(clinic.public, FAR_MS), by)


def rotation(clinic: SigningKey, voter: SigningKey) -> Signed:
    return signed(RotateVoteKey(clinic.public, voter.public), clinic, voter)


def role(state: LedgerState, clinic: SigningKey) -> int:
    member = state.member(clinic.public)
    assert member is not None
    return member.role


ADMITTED = after(START, admit())
PROMOTED = after(ADMITTED, promote())


def test_an_admitted_clinic_follows_and_the_committee_stays() -> None:
    assert role(ADMITTED, NEW) == Role.FOLLOWER
    assert ADMITTED.committee == START.committee
    assert ADMITTED.roster.members[-1] == NEW.public
    member = ADMITTED.member(NEW.public)
    assert member is not None
    assert (member.name, member.addresses) == ("new", ("/ip4/127.0.0.1/tcp/1",))
    after(ADMITTED, mint("anne", by=NEW))


def test_a_promoted_follower_votes_in_the_next_epoch() -> None:
    assert role(PROMOTED, NEW) == Role.VALIDATOR
    assert PROMOTED.committee.epoch == 1
    assert PROMOTED.committee.validators == (*START.committee.validators, NEW_VOTER.public)


@pytest.mark.parametrize("by", [CLINICS[:2], (CLINICS[0], CLINICS[1], STRANGER), (CLINICS[0],)])
def test_fewer_than_a_quorum_of_the_validators_change_nothing(by: Sequence[SigningKey]) -> None:
    assert refuses(START, admit(by=by)) == Rejection.APPROVALS
    assert refuses(ADMITTED, promote(by=by)) == Rejection.APPROVALS
    assert refuses(START, remove(CLINICS[3], by=by)) == Rejection.APPROVALS


def test_a_follower_approves_nothing() -> None:
    assert refuses(ADMITTED, remove(CLINICS[3], by=(*CLINICS[:2], NEW))) == Rejection.APPROVALS


def test_the_quorum_is_that_of_the_present_committee() -> None:
    assert refuses(PROMOTED, remove(NEW, by=QUORUM)) == Rejection.APPROVALS
    assert role(after(PROMOTED, remove(NEW, by=CLINICS)), NEW) == Role.REMOVED


def test_approvals_expire() -> None:
    late = admit(not_after_ms=CREATED_MS + 5)
    assert refuses(START, late, time_ms=CREATED_MS + 6) == Rejection.CHANGE_EXPIRED
    after(START, late, time_ms=CREATED_MS + 5)


def test_only_these_terms_are_accepted() -> None:
    assert refuses(START, admit(terms=b"t" * 32)) == Rejection.TERMS


def test_no_key_and_no_name_comes_twice() -> None:
    assert refuses(ADMITTED, admit()) == Rejection.MEMBER_KNOWN
    assert refuses(START, admit(clinic=NEW, voter=VOTERS[1])) == Rejection.VOTE_KEY_USED
    assert refuses(START, admit(name="clinic-2")) == Rejection.NAME_TAKEN
    gone = after(PROMOTED, remove(NEW, by=CLINICS))
    assert refuses(gone, admit()) == Rejection.MEMBER_KNOWN
    assert refuses(gone, admit(clinic=signing("again"))) == Rejection.VOTE_KEY_USED
    after(gone, admit(clinic=signing("again"), voter=signing("again", "voter")))


def test_members_only_move_forward() -> None:
    assert refuses(PROMOTED, promote(by=CLINICS)) == Rejection.ROLE
    assert refuses(START, promote()) == Rejection.NOT_MEMBER
    suspended = after(START, suspend(CLINICS[3]))
    assert role(suspended, CLINICS[3]) == Role.SUSPENDED
    assert refuses(suspended, promote(CLINICS[3])) == Rejection.ROLE
    assert refuses(suspended, suspend(CLINICS[3])) == Rejection.ROLE
    removed = after(suspended, remove(CLINICS[3]))
    assert CLINICS[3].public not in removed.roster.members
    assert refuses(removed, remove(CLINICS[3])) == Rejection.ROLE
    assert refuses(removed, suspend(CLINICS[3])) == Rejection.ROLE


def test_a_suspended_validator_loses_its_vote_and_stays_in_the_list() -> None:
    suspended = after(START, suspend(CLINICS[3]))
    assert suspended.committee.validators == START.committee.validators[:3]
    assert suspended.committee.epoch == 1
    assert CLINICS[3].public in suspended.roster.members
    assert refuses(suspended, mint("anne", by=CLINICS[3])) == Rejection.NOT_MEMBER
    assert refuses(suspended, audit_head(CLINICS[3], 1)) == Rejection.NOT_MEMBER


def test_a_follower_that_is_removed_closes_no_epoch() -> None:
    removed = after(ADMITTED, remove(NEW))
    assert removed.committee == START.committee
    assert refuses(removed, mint("anne", by=NEW)) == Rejection.NOT_MEMBER


def test_the_last_validator_stays() -> None:
    state = START
    for index in range(3):
        left = CLINICS[index:]
        state = after(state, remove(CLINICS[index], by=left))
    assert state.committee.validators == (VOTERS[3].public,)
    assert refuses(state, remove(CLINICS[3], by=CLINICS[3:])) == Rejection.LAST_VALIDATOR


def test_one_block_closes_one_epoch_and_a_second_change_waits() -> None:
    items = [suspend(CLINICS[3]), rotation(CLINICS[0], NEW_VOTER)]
    built = build(genesis_header(GENESIS), START, items)
    assert built.block.transactions == (items[0].transaction.raw,)
    assert built.rejected == ()
    assert built.execution.state.committee.epoch == 1
    execute(genesis_header(GENESIS), START, built.block)


def test_a_rotated_vote_key_takes_the_seat_and_the_old_one_never_returns() -> None:
    rotated = after(START, rotation(CLINICS[1], NEW_VOTER))
    seats = list(START.committee.validators)
    seats[1] = NEW_VOTER.public
    assert rotated.committee.validators == tuple(seats)
    assert rotated.committee.epoch == 1
    later = CREATED_MS + 2 * HOUR_MS
    back = rotation(CLINICS[1], VOTERS[1])
    assert refuses(rotated, back, time_ms=later) == Rejection.VOTE_KEY_USED
    another = rotation(CLINICS[1], signing("another"))
    assert refuses(rotated, another) == Rejection.ROTATED_TOO_SOON
    after(rotated, another, time_ms=later)


def test_a_follower_rotates_without_an_epoch_and_a_suspended_member_not_at_all() -> None:
    rotated = after(ADMITTED, rotation(NEW, signing("another")))
    assert rotated.committee == START.committee
    assert after(rotated, promote()).committee.validators[-1] == signing("another").public
    suspended = after(START, suspend(CLINICS[3]))
    assert refuses(suspended, rotation(CLINICS[3], NEW_VOTER)) == Rejection.ROLE
    assert refuses(START, rotation(STRANGER, NEW_VOTER)) == Rejection.NOT_MEMBER


def test_approvals_come_in_one_order_and_once() -> None:
    body = Remove(CLINICS[3].public, FAR_MS)
    approvals = [sign_body(encode(body), key, NETWORK) for key in QUORUM]
    raws = {approved_transaction(body, order) for order in (approvals, approvals[::-1])}
    assert len(raws) == 1
    with pytest.raises(Malformed, match="signers"):
        decode_transaction(approved_transaction(body, [*approvals, approvals[0]]))
    with pytest.raises(Malformed, match="signers"):
        decode_transaction(approved_transaction(body, []))


def test_a_card_or_an_acceptance_of_another_is_refused() -> None:
    body = admit().transaction.body
    assert isinstance(body, Admit)
    forged = replace(body, acceptance=accept_terms(body.terms_hash, STRANGER, NETWORK))
    stolen = replace(body, card=replace(body.card, vote_signature=body.card.id_signature))
    for wrong in (forged, stolen):
        with pytest.raises(Malformed):
            approved(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        Suspend(NEW.public, "dislike", FAR_MS),
        Remove(NEW.public, -1),
        replace(admit().transaction.body, terms_hash=b""),
        replace(admit().transaction.body, acceptance=b""),
    ],
)
def test_a_change_of_the_wrong_shape_is_refused(wrong: Approved) -> None:
    with pytest.raises(Malformed, match="acceptable"):
        decode_transaction(approved_transaction(wrong, [sign_body(encode(wrong), CLINICS[0], NETWORK)]))
