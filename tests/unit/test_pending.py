"""Pending changes: merged from all sides, bounded by who brought them up, counted as the ledger counts."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from protocol import limits
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.keys import PublicKey, SigningKey
from protocol.membership import Promote, Remove, RotateVoteKey, Suspend
from protocol.pending import (
    PendingChange,
    Pool,
    approvals_of,
    approve_change,
    change_expiry,
    change_id,
    read_change,
    sponsor_change,
)
from protocol.state import LedgerState, genesis_state
from protocol.transactions import Signature, approved_transaction, decode_transaction, verify_transaction
from tests.ledger_world import CLINICS, CREATED_MS, FAR_MS, GENESIS, NETWORK, START, STRANGER, Signed, after
from tests.unit.test_membership import ADMITTED, NEW, PROMOTED, admit, promote, remove, suspend

NOW_MS = CREATED_MS
REMOVAL = encode(Remove(CLINICS[3].public, FAR_MS))


def brought_up(
    body: bytes = REMOVAL, *, by: SigningKey = CLINICS[0], approvals: Sequence[SigningKey] = ()
) -> PendingChange:
    pending = sponsor_change(body, by, NETWORK)
    for key in approvals:
        pending = approve_change(pending, key, NETWORK)
    return pending


def admission() -> bytes:
    return encode(admit().transaction.body)


def pool(*changes: PendingChange, state: LedgerState = START) -> Pool:
    made = Pool(NETWORK)
    for pending in changes:
        made.take(pending, state, NOW_MS)
    return made


def approvers(made: Pool, body: bytes = REMOVAL, state: LedgerState = START) -> list[SigningKey]:
    found = made.get(change_id(body))
    assert found is not None
    keys = [item.key for item in approvals_of(found[0], state)]
    return [clinic for clinic in (*CLINICS, NEW) if clinic.public in keys]


def test_approvals_from_all_sides_add_up() -> None:
    made = pool(
        brought_up(approvals=[CLINICS[0]]),
        brought_up(approvals=[CLINICS[2], CLINICS[1]]),
        brought_up(approvals=[CLINICS[1]]),
    )
    assert approvers(made) == list(CLINICS[:3])
    assert len(made) == 1


def test_only_what_is_news_is_passed_on() -> None:
    made = pool()
    first = brought_up(approvals=[CLINICS[0]])
    assert made.take(first, START, NOW_MS) is not None
    assert made.take(first, START, NOW_MS) is None
    merged = made.take(brought_up(approvals=[CLINICS[1]]), START, NOW_MS)
    assert merged is not None
    assert {item.key for item in merged.approvals} == {CLINICS[0].public, CLINICS[1].public}
    assert [item.key for item in merged.approvals] == sorted(item.key for item in merged.approvals)


def test_bringing_a_change_up_approves_nothing() -> None:
    assert approvers(pool(brought_up())) == []


def test_a_quorum_makes_a_transaction_that_the_ledger_takes() -> None:
    made = pool(brought_up(admission(), approvals=CLINICS[:2]))
    assert made.ready(START) == []
    made.take(brought_up(admission(), approvals=[CLINICS[3]]), START, NOW_MS)
    [(pending, change)] = made.ready(START)
    raw = approved_transaction(change.body, approvals_of(pending, START))
    transaction = verify_transaction(decode_transaction(raw), NETWORK)
    state = after(START, Signed(transaction, b""))
    assert state.member(NEW.public) is not None


def test_approvals_of_who_has_no_vote_do_not_count() -> None:
    made = pool(brought_up(approvals=[NEW, STRANGER, CLINICS[0]]), state=ADMITTED)
    assert approvers(made, state=ADMITTED) == [CLINICS[0]]


def test_approvals_are_counted_by_the_committee_of_the_day() -> None:
    made = pool(brought_up(approvals=CLINICS[:3]), state=PROMOTED)
    assert made.ready(START)
    assert made.ready(PROMOTED) == []  # five validators need four
    made.take(brought_up(approvals=[NEW]), PROMOTED, NOW_MS)
    assert made.ready(PROMOTED)
    gone = after(PROMOTED, suspend_one := remove(CLINICS[0], by=(*CLINICS[1:], NEW)))
    assert suspend_one.transaction.signers
    assert approvers(made, state=gone) == [*CLINICS[1:3], NEW]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: replace(one, sponsor=replace(one.sponsor, signature=bytes(64))),
        lambda one: replace(one, sponsor=replace(one.sponsor, key=CLINICS[1].public)),
        lambda one: replace(one, approvals=(replace(one.approvals[0], signature=bytes(64)),)),
        lambda one: replace(one, approvals=(replace(one.approvals[0], key=CLINICS[2].public),)),
        lambda one: replace(one, approvals=one.approvals * 2),
        lambda one: replace(one, approvals=(Signature(one.approvals[0].key, b"short"),)),
        lambda one: replace(
            one, approvals=(*one.approvals, Signature(PublicKey(STRANGER.public[:-1]), bytes(64)))
        ),
        lambda one: brought_up(b"nonsense"),
        lambda one: brought_up(encode(RotateVoteKey(CLINICS[0].public, STRANGER.public))),
        lambda one: brought_up(encode(Suspend(CLINICS[3].public, "dislike", FAR_MS))),
        lambda one: brought_up(encode(Promote(PublicKey(CLINICS[3].public[:-1]), FAR_MS))),
        lambda one: brought_up(bytes(limits.CHANGE_BYTES_MAX + 1)),
    ],
)
def test_what_does_not_verify_costs_its_sender(spoil) -> None:  # type: ignore[no-untyped-def]
    good = brought_up(approvals=[CLINICS[1]])
    made = pool()
    with pytest.raises(Malformed):
        made.take(spoil(good), START, NOW_MS)
    assert len(made) == 0


def test_a_clinic_that_did_not_accept_the_terms_is_not_brought_up() -> None:
    body = admit().transaction.body
    with pytest.raises(Malformed):
        pool(brought_up(encode(replace(body, acceptance=bytes(64)))))


def test_strangers_and_those_who_left_bring_nothing_up() -> None:
    assert len(pool(brought_up(by=STRANGER))) == 0
    gone = after(START, suspend(CLINICS[3]))
    body = encode(Remove(CLINICS[2].public, FAR_MS))
    assert len(pool(brought_up(body, by=CLINICS[3]), state=gone)) == 0
    made = pool(brought_up(body, by=CLINICS[3]))
    assert made.settle(gone, NOW_MS) == [change_id(body)]


def test_one_member_cannot_fill_the_pool() -> None:
    made = pool()
    for number in range(limits.CHANGES_PER_SPONSOR_MAX + 3):
        made.take(brought_up(encode(Remove(CLINICS[3].public, FAR_MS + number))), START, NOW_MS)
    assert len(made) == limits.CHANGES_PER_SPONSOR_MAX
    other = encode(Remove(CLINICS[1].public, FAR_MS))
    assert made.take(brought_up(other, by=CLINICS[2]), START, NOW_MS) is not None


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (admission(), ADMITTED),
        (encode(Promote(NEW.public, FAR_MS)), PROMOTED),
        (encode(Promote(NEW.public, FAR_MS)), START),
        (encode(Suspend(CLINICS[3].public, "other", FAR_MS)), after(START, suspend(CLINICS[3]))),
        (REMOVAL, after(START, remove(CLINICS[3]))),
        (encode(Remove(STRANGER.public, FAR_MS)), START),
    ],
)
def test_what_is_so_already_or_can_never_be_is_not_kept(body: bytes, state: LedgerState) -> None:
    assert len(pool(brought_up(body), state=state)) == 0
    made = Pool(NETWORK)
    made.restore(brought_up(body))
    assert made.settle(state, NOW_MS) == [change_id(body)]


def test_the_last_vote_cannot_be_ended() -> None:
    one = replace(GENESIS, members=GENESIS.members[:1])
    for body in (Remove(CLINICS[0].public, FAR_MS), Suspend(CLINICS[0].public, "other", FAR_MS)):
        assert len(pool(brought_up(encode(body)), state=genesis_state(one))) == 0


def test_a_suspended_member_can_still_be_removed() -> None:
    assert len(pool(brought_up(), state=after(START, suspend(CLINICS[3])))) == 1


def test_a_change_expires() -> None:
    made = pool(brought_up())
    assert made.settle(START, FAR_MS) == []
    assert made.settle(START, FAR_MS + 1) == [change_id(REMOVAL)]
    assert made.take(brought_up(), START, FAR_MS + 1) is None


def test_those_who_propose_the_same_on_one_day_propose_the_same_bytes() -> None:
    morning = 20_000 * limits.DAY_MS + 1
    assert change_expiry(morning) == change_expiry(morning + 23 * limits.HOUR_MS)
    assert change_expiry(morning) - morning >= limits.CHANGE_LIFE_MS


def test_a_change_tells_whom_it_is_about() -> None:
    found = read_change(admission(), NETWORK)
    assert (found.member, found.name) == (NEW.public, "new")
    assert read_change(encode(promote().transaction.body), NETWORK).member == NEW.public
