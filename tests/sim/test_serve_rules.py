"""The rules of serving see what breaks them, and agree with the one function that decides."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from node.records.serving import REFUSAL
from protocol import limits
from protocol.access import DenyReason
from protocol.audit import NO_RECORD, AuditEvent, AuditRecord, record_hash
from protocol.audit_map import AuditMap
from protocol.codec import encode
from protocol.keys import PublicKey
from protocol.limits import DAY_MS, NetworkLimits
from protocol.messages.blob import CopyRequest
from tests.ledger_world import CONTENT
from tests.sim.serve_rules import (
    Moment,
    check_clock,
    check_copy,
    check_dates,
    check_entitled,
    check_fresh,
    check_log,
    check_not_revoked,
    check_refusal,
    check_written,
)
from tests.sim.world import Violation
from tests.unit.test_access import (
    CHUNKS,
    DENIED,
    GRANTEE,
    HERE,
    NONCE,
    NOW_MS,
    OWNER_DENIED,
    OWNERS,
    PERMITTED,
    RIGHT,
    THIEF,
    TOKEN,
    Situation,
)

LIMITS = NetworkLimits()
INSIDE = {"clock_is_good", "suspended", "denied", "elapsed_ms", "holds"}
"""What only the clinic itself knows, and is judged by what it leads to."""


def judge(situation: Situation) -> None:
    """As the watch does where a request is served."""
    body = check_entitled(
        situation.fetch(), server=HERE, nonce=NONCE, state=situation.state(), served=CONTENT
    )
    when = Moment(NOW_MS, NOW_MS, NOW_MS - situation.final_age_ms)
    if body is not None:
        check_dates(body, when, LIMITS)
    check_fresh(when, LIMITS.max_stale_default_ms if body is None else 1_000 * body.max_stale_s, LIMITS)


@pytest.mark.parametrize("changes", [{}, *PERMITTED], ids=str)
def test_what_is_permitted_breaks_no_rule(changes: dict[str, Any]) -> None:
    judge(replace(RIGHT, **changes))
    judge(OWNERS)


@pytest.mark.parametrize(
    ("situation", "changes"),
    [
        (right, changes)
        for right, table in ((RIGHT, DENIED), (OWNERS, OWNER_DENIED))
        for _, changes in table
        if not INSIDE & changes.keys()
    ],
    ids=str,
)
def test_what_is_denied_breaks_a_rule_if_it_is_served_all_the_same(
    situation: Situation, changes: dict[str, Any]
) -> None:
    with pytest.raises(Violation, match=r"S[1-6]:"):
        judge(replace(situation, **changes))


def test_other_content_than_the_tokens_breaks_s1() -> None:
    other = replace_struct(CONTENT, root=bytes([7]) * 32)
    with pytest.raises(Violation, match="S1"):
        check_entitled(RIGHT.fetch(), server=HERE, nonce=NONCE, state=RIGHT.state(), served=other)


def test_a_ledger_older_than_promised_in_truth_breaks_s2() -> None:
    slow = Moment(NOW_MS + 90_000, NOW_MS, NOW_MS)
    check_fresh(replace(slow, true_ms=slow.true_ms - 1), 60_000, LIMITS)
    with pytest.raises(Violation, match="S2"):
        check_fresh(slow, 60_000, LIMITS)


def test_a_grant_that_has_in_truth_ended_breaks_s5() -> None:
    ended_ms = NOW_MS + DAY_MS + 3 * LIMITS.tolerance_ms
    check_dates(RIGHT.body(), Moment(ended_ms, NOW_MS, NOW_MS), LIMITS)
    with pytest.raises(Violation, match="S5"):
        check_dates(RIGHT.body(), Moment(ended_ms + 1, NOW_MS, NOW_MS), LIMITS)


def test_a_clock_that_was_off_for_long_breaks_s5() -> None:
    check_clock(None, NOW_MS, 60_000)
    check_clock(NOW_MS, NOW_MS + 75_000, 60_000)
    with pytest.raises(Violation, match="S5"):
        check_clock(NOW_MS, NOW_MS + 75_001, 60_000)


def test_a_serve_after_a_revocation_breaks_s3_or_s4() -> None:
    check_not_revoked(None, None, 10, 0)
    check_not_revoked(10, 10, 10, 0)
    check_not_revoked(5, 5, 10, 5)
    for seen_ms, final_ms, invariant in ((9, None, "S3"), (None, 9, "S4")):
        with pytest.raises(Violation, match=invariant):
            check_not_revoked(seen_ms, final_ms, 10, 0)


def intent(**changes: object) -> AuditRecord:
    fetch = RIGHT.fetch()
    request = fetch.request
    record = AuditRecord(
        sequence=1,
        previous=NO_RECORD,
        time_ms=1,
        event=AuditEvent.INTENT,
        token=request.token,
        grant=fetch.grant_id or b"",
        reader=request.signer,
        user=request.user,
        purpose=request.purpose,
        reason="",
        request=encode(fetch.signed),
        final_height=1,
        final_age_ms=1,
        about=0,
        bytes=0,
        count=0,
    )
    return replace_struct(record, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 2},
        {"event": AuditEvent.OUTCOME},
        {"token": bytes(32)},
        {"grant": b""},
        {"reader": bytes(33)},
        {"user": "someone else"},
        {"purpose": "HRESCH"},
        {"request": b""},
    ],
    ids=str,
)
def test_an_intent_about_anything_else_breaks_a1(changes: dict[str, Any]) -> None:
    check_written(intent(), RIGHT.fetch(), 1)
    with pytest.raises(Violation, match="A1"):
        check_written(intent(**changes), RIGHT.fetch(), 1)
    with pytest.raises(Violation, match="A1"):
        check_written(None, RIGHT.fetch(), 1)


def test_a_refusal_of_its_own_kind_or_time_breaks_a4() -> None:
    check_refusal(REFUSAL, REFUSAL, limits.REFUSAL_MS)
    for raw, waited_ms in ((REFUSAL + b"\x00", limits.REFUSAL_MS), (REFUSAL, 0), (REFUSAL, 100)):
        with pytest.raises(Violation, match="A4"):
            check_refusal(raw, REFUSAL, waited_ms)


def chained(*records: AuditRecord) -> list[AuditRecord]:
    previous, log = NO_RECORD, []
    for sequence, record in enumerate(records, 1):
        log.append(replace_struct(record, sequence=sequence, previous=previous))
        previous = record_hash(log[-1])
    return log


OUTCOME = intent(event=AuditEvent.OUTCOME, about=1, bytes=10, request=b"")
RESTART = intent(event=AuditEvent.RESTART, about=1, request=b"")


def test_a_log_as_it_was_written_holds() -> None:
    log = chained(intent(), OUTCOME, intent())
    entries = AuditMap()
    for record in log[:2]:
        entries.add(record.token, record_hash(record))
    assert check_log(log, {1: 10, 3: 0}, (2, entries.fixed().root)) == {3}
    assert check_log(chained(intent(), RESTART), {1: 10}, None) == set()


@pytest.mark.parametrize(
    ("log", "sent", "posted"),
    [
        (chained(intent(), OUTCOME)[1:], {}, None),
        (chained(intent(), OUTCOME)[:1], {2: 0}, None),
        ([intent(previous=bytes([1]) * 32)], {}, None),
        (chained(intent(), OUTCOME, OUTCOME), {}, None),
        (chained(intent(), OUTCOME), {1: 11}, None),
        (chained(intent()), {}, (1, bytes(32))),
        (chained(intent()), {}, (2, bytes(32))),
    ],
    ids=["no head", "cut", "another past", "closed twice", "too few bytes", "not as posted", "too short"],
)
def test_a_log_that_is_not_breaks_a2(
    log: list[AuditRecord], sent: dict[int, int], posted: tuple[int, bytes] | None
) -> None:
    with pytest.raises(Violation, match="A2"):
        check_log(log, sent, posted)


THERE = GRANTEE.public


@pytest.mark.parametrize(
    ("asker", "active", "erased", "chunks", "invariant"),
    [
        (THERE, (HERE, THERE), False, CHUNKS, ""),
        (THIEF.public, (HERE, THERE), False, CHUNKS, "S1"),
        (THERE, (HERE,), False, CHUNKS, "S1"),
        (THERE, (THERE,), False, CHUNKS, "S6"),
        (THERE, (HERE, THERE), True, CHUNKS, "S1"),
        (THERE, (HERE, THERE), False, CHUNKS + 1, "S1"),
    ],
    ids=["right", "a stranger", "one that has ended", "from one that has ended", "erased", "too much"],
)
def test_a_copy_for_anyone_but_a_holder_breaks_a_rule(
    asker: PublicKey, active: tuple[PublicKey, ...], erased: bool, chunks: int, invariant: str
) -> None:
    state, request = replace(RIGHT, erased=erased).state(), CopyRequest(TOKEN, 0, chunks)
    with pytest.raises(Violation, match=invariant) if invariant else nullcontext():
        check_copy(asker, request, server=HERE, active=active, state=state)


def test_every_reason_but_those_inside_is_judged() -> None:
    judged = {reason for reason, changes in DENIED if not INSIDE & changes.keys()}
    at_sight = {DenyReason.REVOKED_AT_SIGHT, DenyReason.NOT_HELD}
    assert judged >= {reason for reason, _ in DENIED} - at_sight
