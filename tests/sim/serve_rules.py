"""What must hold of everything that is served, as plain checks over what is seen from outside the nodes.

S1 only under a grant that is live at the server, S2 only while its ledger is fresh, S3 never again once a
revocation was seen there, S4 nowhere once that is final for long, S5 by no clock that is off, S6 neither
by nor to whoever is no member any more, A1 never before the intent is durable, A2 a log that stays as it
was written, A4 one refusal for all reasons. They are written from the rules and do not ask
`protocol.access.decide`. Each check raises `Violation`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from protocol import limits
from protocol.access import VerifiedFetch
from protocol.audit import NO_RECORD, AuditEvent, AuditRecord, record_hash
from protocol.audit_map import AuditMap
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.grants import READ, WHOLE_RECORD, GrantBody, decode_grant_body
from protocol.keys import PublicKey
from protocol.limits import NetworkLimits
from protocol.messages.blob import CopyRequest
from protocol.placement import holders
from protocol.purposes import OWNER_PURPOSE, covers, is_purpose
from protocol.state import LedgerState
from protocol.transactions import Content
from tests.sim.world import Violation

RUNNING_S = 5
"""How long a transfer may run on after it ceased to be allowed."""
CLOCK_FOUND_OFF_S = 15
"""How long after a step of the clock a node has asked the others for the time, where they answer."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is served: by the world's true time and by the server's own wall clock, with the
    time in the newest final block on its disk. Milliseconds."""

    true_ms: int
    wall_ms: int
    final_ms: int


def promised_ms(max_stale_ms: int, limits_: NetworkLimits) -> int:
    """How long after a change is final no clinic at all acts on what was before (design, stale means
    closed)."""
    return max_stale_ms + 3 * limits_.tolerance_ms


def check_entitled(
    fetch: VerifiedFetch, *, server: PublicKey, nonce: bytes, state: LedgerState, served: Content
) -> GrantBody | None:
    """S1 and S6, by the ledger as the server has it; the grant's body, None for an owner."""
    request = fetch.request
    _require("S1", request.server == server, "a request to another server was served")
    _require("S1", bool(nonce) and request.nonce == nonce, "a request without its nonce was served")
    token = state.token(request.token)
    if token is None:
        raise Violation("S1", "a token that the server's ledger does not know was served")
    _require("S1", not token.erased, "an erased record was served")
    _require("S1", served == token.content, "other content than the token's was served")
    last = request.first_chunk + request.chunk_count
    _require("S1", 0 <= request.first_chunk < last <= token.content.chunks, "a range outside was served")
    own, asker = state.member(server), state.member(request.signer)
    _require("S6", own is not None and own.is_active, "one who is no member any more served")
    _require("S6", asker is None or asker.is_active, "one who is no member any more was served")
    if fetch.grant_id is None:
        _require("S1", request.signer == token.owner_key, "no grant, and not the owner's key")
        _require("S1", _covers((OWNER_PURPOSE,), request.purpose), "a purpose that is no owner's")
        return None
    registered = state.grant(request.token, fetch.grant_id)
    if registered is None:
        raise Violation("S1", "a grant that is not final was served")
    _require("S1", not registered.revoked, "a grant whose revocation is final was served")
    _require("S1", registered.generation == token.generation, "a grant of a past owner was served")
    return _check_terms(fetch, state.limits)


def _check_terms(fetch: VerifiedFetch, network_limits: NetworkLimits) -> GrantBody:
    request = fetch.request
    try:
        body = decode_grant_body(request.grant_body, network_limits)
    except Malformed as error:
        raise Violation("S1", f"a grant that is none was served: {error}") from error
    _require("S1", body.token == request.token, "another token's grant was served")
    _require("S1", body.grantee_key == request.signer, "a grant to another key was served")
    _require("S1", READ in body.actions and WHOLE_RECORD in body.scope, "beyond what a grant allows")
    _require("S1", _covers(body.purposes, request.purpose), "a purpose that the grant does not name")
    return body


def _covers(granted: tuple[str, ...], purpose: str) -> bool:
    return is_purpose(purpose) and covers(granted, purpose)


def check_dates(body: GrantBody, when: Moment, network_limits: NetworkLimits) -> None:
    """S5: within the grant's dates, by the server's clock and by the true time."""
    for now_ms, slack_ms in ((when.wall_ms, 1), (when.true_ms, 3)):
        slack_ms *= network_limits.tolerance_ms
        _require("S5", now_ms >= body.not_before_ms - slack_ms, "served before the grant begins")
        _require("S5", now_ms <= body.not_after_ms + slack_ms, "served after the grant has ended")


def check_copy(
    asker: PublicKey,
    request: CopyRequest,
    *,
    server: PublicKey,
    active: Collection[PublicKey],
    state: LedgerState,
) -> None:
    """S1 and S6 for a copy, which goes to no one but who should hold one too; `active` are the members
    who may serve."""
    token = state.token(request.token)
    if token is None:
        raise Violation("S1", "a token that the server's ledger does not know was copied")
    _require("S1", not token.erased, "an erased record was copied")
    last = request.first_chunk + request.chunk_count
    _require("S1", 0 <= request.first_chunk < last <= token.content.chunks, "a range outside was copied")
    _require("S6", server in active, "one who is no member any more gave a copy")
    named = holders(token.content.root, token.issuer, active, state.limits.holders)
    _require("S1", asker in named, "a copy for one who should hold none")


def check_fresh(when: Moment, max_stale_ms: int, network_limits: NetworkLimits) -> None:
    """S2 and S5: the newest final block is younger than the grant allows, and not from the future."""
    age_ms = when.wall_ms - when.final_ms
    _require("S5", age_ms >= -network_limits.tolerance_ms, "served by a clock behind what is final")
    _require("S2", age_ms < max_stale_ms, f"served on a ledger that is {age_ms} ms old")
    age_ms, most_ms = when.true_ms - when.final_ms, promised_ms(max_stale_ms, network_limits)
    _require("S2", age_ms < most_ms, f"served on a ledger that is in truth {age_ms} ms old")


def check_clock(off_since_ms: int | None, true_ms: int, max_stale_ms: int) -> None:
    """S5: not by a clock that has been far off for so long that the others' time, or the lack of new
    blocks, must have shown it."""
    if off_since_ms is not None:
        off_ms = true_ms - off_since_ms
        most_ms = max_stale_ms + 1_000 * CLOCK_FOUND_OFF_S
        _require("S5", off_ms <= most_ms, f"served by a clock that was off for {off_ms} ms")


def check_not_revoked(seen_ms: int | None, final_ms: int | None, now_ms: int, late_ms: int) -> None:
    """S3 and S4: `seen_ms` is when the server saw a revocation, and `final_ms` from when on no clinic may
    serve any more; `late_ms` for what runs on."""
    _require("S3", seen_ms is None or now_ms <= seen_ms + late_ms, "served after a revocation was seen")
    _require("S4", final_ms is None or now_ms <= final_ms + late_ms, "served long after a final revocation")


def check_written(record: AuditRecord | None, fetch: VerifiedFetch, sequence: int) -> None:
    """A1: `record` is what even a crash would leave of the audit log under the sequence that was named."""
    if record is None:
        raise Violation("A1", "the first byte left before the intent was durable")
    request = fetch.request
    written = (record.sequence, record.event, record.token, record.grant, record.reader, record.user)
    asked = (
        sequence,
        AuditEvent.INTENT,
        request.token,
        fetch.grant_id or b"",
        request.signer,
        request.user,
    )
    _require("A1", written == asked, f"the intent is about something else: {record}")
    _require("A1", record.purpose == request.purpose, "the intent names another purpose")
    _require("A1", record.request == encode(fetch.signed), "the intent does not keep the receipt")


def check_refusal(raw: bytes, expected: bytes, waited_ms: int) -> None:
    """A4: every refusal is the same bytes at the same time after its request."""
    _require("A4", raw == expected, f"a refusal of its own kind: {raw.hex()}")
    _require("A4", waited_ms == limits.REFUSAL_MS, f"a refusal after {waited_ms} ms")


def check_log(
    records: Iterable[AuditRecord], sent: dict[int, int], posted: tuple[int, bytes] | None
) -> set[int]:
    """A2: a log without gaps, whose intents stand with at least what was seen to leave (`sent`, bytes by
    sequence), and which agrees with what was `posted` of it. The intents that nothing closes yet."""
    last, previous, open_intents, entries = 0, NO_RECORD, set[int](), AuditMap()
    for record in records:
        _require("A2", (record.sequence, record.previous) == (last + 1, previous), f"a gap after {last}")
        last, previous = record.sequence, record_hash(record)
        entries.add(record.token, previous)
        if posted is not None and posted[0] == last:
            _require("A2", posted[1] == entries.fixed().root, f"up to entry {last} it is not as posted")
        if record.event == AuditEvent.INTENT:
            open_intents.add(last)
        elif record.event in (AuditEvent.OUTCOME, AuditEvent.RESTART):
            _require("A2", record.about in open_intents, f"entry {last} closes what is not open")
            open_intents.discard(record.about)
        if record.event == AuditEvent.OUTCOME:
            _require("A2", record.bytes >= sent.get(record.about, 0), f"entry {last} names too few bytes")
    newest = max(sent, default=0)
    _require("A2", last >= newest, f"the log ends at {last}, and {newest} was served")
    _require("A2", posted is None or last >= posted[0], f"the log ends at {last}, before what was posted")
    return open_intents


def _require(invariant: str, condition: bool, otherwise: str) -> None:
    if not condition:
        raise Violation(invariant, otherwise)
