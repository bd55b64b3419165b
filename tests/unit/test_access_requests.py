"""Access requests: what makes one that a patient is shown, who may answer it, and that none widens."""

import random

import pytest
from msgspec.structs import replace

from node.records.asked import AskedRequests
from node.store.memory import MemoryStore
from protocol import limits
from protocol.access_requests import (
    KINDS,
    AccessRequest,
    RequestAnswer,
    SignedRequest,
    Standing,
    VerifiedRequest,
    narrowed,
    open_request,
    request_id,
    seal_request,
    sign_answer,
    sign_request,
    verify_request,
)
from protocol.codec import encode
from protocol.errors import Code, Malformed, UserError
from protocol.grants import GrantBody
from protocol.keys import OpeningKey, SigningKey
from protocol.limits import DAY_MS, NetworkLimits
from protocol.purposes import _TABLE
from protocol.transactions import GrantId, TokenId
from tests.ledger_world import CREATED_MS, NETWORK
from tests.sim.clock import EPOCH_MS, SimClock

CLINIC, OTHER, OWNER = (SigningKey(bytes((at,)) * 32) for at in (1, 2, 3))
OPENING = OpeningKey(b"o" * 32)
LIMITS = NetworkLimits()
TOKEN, ANOTHER = TokenId(b"t" * 32), TokenId(b"u" * 32)
NOW_MS = CREATED_MS
REQUEST = AccessRequest(
    to=OWNER.public,
    asker=CLINIC.public,
    kind="all",
    tokens=(),
    purposes=("TREAT",),
    for_ms=30 * DAY_MS,
    not_after_ms=NOW_MS + DAY_MS,
    renews=GrantId(b""),
    salt=bytes(16),
)
NAMED = replace(REQUEST, kind="", tokens=(TOKEN, ANOTHER))


def check(signed: SignedRequest, **changes: object) -> VerifiedRequest:
    """As the patient's device does, with some of what it knows changed."""
    known = {
        "network": NETWORK,
        "network_limits": LIMITS,
        "to": OWNER.public,
        "server": CLINIC.public,
        "now_ms": NOW_MS,
    }
    return verify_request(signed, **(known | changes))  # type: ignore[arg-type]


def test_what_a_clinic_signed_comes_out_of_the_box_and_counts() -> None:
    signed = sign_request(REQUEST, CLINIC, NETWORK, LIMITS)
    sealed = seal_request(signed, to=OPENING.public, entropy=b"e" * 32)
    assert open_request(OPENING, sealed) == signed
    assert open_request(OpeningKey(b"p" * 32), sealed) is None
    verified = check(signed)
    assert (verified.request, verified.request_id) == (REQUEST, request_id(encode(REQUEST)))


def test_boxes_of_small_and_of_named_requests_have_few_sizes() -> None:
    few = (REQUEST, replace(REQUEST, kind="fhir"), NAMED, replace(NAMED, tokens=(TOKEN,)))
    boxes = [
        seal_request(sign_request(one, CLINIC, NETWORK, LIMITS), to=OPENING.public, entropy=b"e" * 32)
        for one in few
    ]
    assert {len(box) for box in boxes} == {512}
    most = replace(NAMED, tokens=tuple(TokenId(bytes((at,)) * 32) for at in range(16)))
    assert len(encode(sign_request(most, CLINIC, NETWORK, LIMITS).body)) <= limits.REQUEST_BYTES_MAX


@pytest.mark.parametrize(
    "changes",
    [
        {"network": b"other network".ljust(32)},
        {"to": OTHER.public},
        {"server": OTHER.public},
        {"now_ms": REQUEST.not_after_ms + 1},
        {"now_ms": REQUEST.not_after_ms - limits.REQUEST_LIFE_MS_MAX - LIMITS.tolerance_ms - 1},
    ],
    ids=["another network", "another patient", "passed on by another", "lapsed", "stands too long"],
)
def test_a_request_out_of_its_place_or_time_is_refused(changes: dict[str, object]) -> None:
    signed = sign_request(REQUEST, CLINIC, NETWORK, LIMITS)
    with pytest.raises(Malformed):
        check(signed, **changes)


def test_a_request_that_another_signed_or_changed_is_refused() -> None:
    signed = sign_request(REQUEST, CLINIC, NETWORK, LIMITS)
    with pytest.raises(Malformed, match="signature"):
        check(sign_request(REQUEST, OTHER, NETWORK, LIMITS))
    wider = encode(replace(REQUEST, for_ms=REQUEST.for_ms + 1))
    with pytest.raises(Malformed, match="signature"):
        check(SignedRequest(wider, signed.signature))
    for at in range(len(signed.body)):
        body = bytearray(signed.body)
        body[at] ^= 1
        with pytest.raises(Malformed):
            check(SignedRequest(bytes(body), signed.signature))
    # An answer or a grant is no request, whoever signed it.
    elsewhere = CLINIC.sign("request-answer", NETWORK, signed.body)
    with pytest.raises(Malformed, match="signature"):
        check(SignedRequest(signed.body, elsewhere))
    with pytest.raises(Malformed):
        check(SignedRequest(encode(RequestAnswer(request_id(b""), CLINIC.public, True)), elsewhere))


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("to", replace(REQUEST, to=OWNER.public[:-1])),
        ("asker", replace(REQUEST, asker=b"")),
        ("kind", replace(REQUEST, kind="everything")),
        ("kind", replace(REQUEST, kind="")),
        ("kind", replace(REQUEST, tokens=(TOKEN,))),
        ("tokens", replace(NAMED, tokens=(ANOTHER, TOKEN))),
        ("tokens", replace(NAMED, tokens=(TOKEN, TOKEN))),
        ("tokens", replace(NAMED, tokens=(TokenId(b"short"),))),
        ("tokens", replace(NAMED, tokens=tuple(TokenId(bytes((at,)) * 32) for at in range(17)))),
        ("purposes", replace(REQUEST, purposes=())),
        ("purposes", replace(REQUEST, purposes=("TREAT", "HRESCH"))),
        ("purposes", replace(REQUEST, purposes=("NONE",))),
        ("purposes", replace(REQUEST, purposes=("BTG", "TREAT"))),
        ("purposes", replace(REQUEST, purposes=tuple(sorted(_TABLE.keys() - {"BTG"}))[:9])),
        ("for_ms", replace(REQUEST, for_ms=0)),
        ("for_ms", replace(REQUEST, for_ms=LIMITS.grant_life_max_ms + 1)),
        ("not_after_ms", replace(REQUEST, not_after_ms=-1)),
        ("renews", replace(NAMED, renews=GrantId(b"g" * 32))),
        ("renews", replace(NAMED, tokens=(TOKEN,), renews=GrantId(b"g"))),
        ("salt", replace(REQUEST, salt=b"")),
    ],
)
def test_a_field_out_of_its_limits_is_named(field: str, changed: AccessRequest) -> None:
    with pytest.raises(Malformed, match=f"acceptable: {field}$"):
        sign_request(changed, CLINIC, NETWORK, LIMITS)
    body = encode(changed)
    with pytest.raises(Malformed):
        check(SignedRequest(body, CLINIC.sign("access-request", NETWORK, body)))


def test_what_is_granted_is_never_more_than_was_asked() -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    tokens = [TokenId(bytes((at,)) * 32) for at in range(12)]
    for _ in range(300):
        owned = [(token, dice.choice(sorted(KINDS - {"all"}))) for token in dice.sample(tokens, 8)]
        named = tuple(sorted(dice.sample(tokens, dice.randint(0, 4))))
        of_kind = replace(REQUEST, kind=dice.choice(sorted(KINDS)))
        request = replace(NAMED, tokens=named) if named else of_kind
        for_ms = dice.choice((None, 1, DAY_MS, request.for_ms, request.for_ms + 1))
        chosen = dice.choice((None, set(dice.sample(tokens, dice.randint(1, 3)))))
        kinds = {"", request.kind} if request.kind != "all" else KINDS
        asked = {token for token, kind in owned if token in named or kind in kinds}
        if (for_ms or 0) > request.for_ms or not (chosen or set()) <= asked or not asked:
            with pytest.raises(UserError):
                narrowed(request, owned, for_ms=for_ms, chosen=chosen)
            continue
        given, given_ms = narrowed(request, owned, for_ms=for_ms, chosen=chosen)
        assert given, f"seed {seed}"
        assert set(given) == (asked if chosen is None else asked & chosen), f"seed {seed}"
        assert given_ms == (request.for_ms if for_ms is None else for_ms) <= request.for_ms, f"seed {seed}"


class Table:
    """A clinic's table with one request that waits in it."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), SimClock(lambda: 0, offset_ms=NOW_MS - EPOCH_MS)
        self.asked = AskedRequests(
            store=self.store, clock=self.clock, identity=CLINIC.public, network=NETWORK
        )
        self.name = self.put(REQUEST)

    def put(self, request: AccessRequest) -> bytes:
        verified = VerifiedRequest(request_id(encode(request)), request)
        return self.asked.put(verified, b"box " + request.salt).request_id

    def answer(self, by: SigningKey, *, is_approved: bool, asker: SigningKey = CLINIC) -> bool:
        """What the table says to an answer by this key."""
        name = request_id(encode(REQUEST))
        signature = sign_answer(RequestAnswer(name, asker.public, is_approved), by, NETWORK)
        return self.asked.take_answer(name, is_approved=is_approved, signature=signature)

    def standing(self) -> Standing:
        found = self.asked.get(request_id(encode(REQUEST)))
        assert found is not None
        return found.standing


def test_the_box_is_for_the_key_asked_until_it_is_answered() -> None:
    table = Table()
    assert [one.sealed for one in table.asked.waiting_for(OWNER.public)] == [b"box " + bytes(16)]
    assert table.asked.waiting_for(OTHER.public) == []
    assert table.answer(OWNER, is_approved=False)
    assert table.asked.waiting_for(OWNER.public) == []


def test_only_the_key_asked_answers_and_once() -> None:
    table = Table()
    assert not table.answer(OTHER, is_approved=True)
    assert not table.answer(CLINIC, is_approved=True)
    assert not table.answer(OWNER, is_approved=True, asker=OTHER)
    assert table.standing() is Standing.WAITING
    assert table.answer(OWNER, is_approved=False)
    assert table.answer(OWNER, is_approved=False), "the same answer again is taken as read"
    assert not table.answer(OWNER, is_approved=True), "and another is not"
    assert table.standing() is Standing.DECLINED


def test_an_answer_outlives_a_crash_and_a_request_too() -> None:
    table = Table()
    table.store = table.store.crash(0)
    again = AskedRequests(store=table.store, clock=table.clock, identity=CLINIC.public, network=NETWORK)
    table.asked = again
    assert len(again.waiting_for(OWNER.public)) == 1
    table.answer(OWNER, is_approved=True)
    table.asked = AskedRequests(
        store=table.store.crash(0), clock=table.clock, identity=CLINIC.public, network=NETWORK
    )
    assert table.standing() is Standing.APPROVED


def test_so_many_wait_for_one_patient_and_for_all() -> None:
    table = Table()
    for at in range(1, limits.REQUESTS_PER_KEY_MAX):
        table.put(replace(REQUEST, salt=bytes((at,)) * 16))
    with pytest.raises(UserError, match="this patient") as caught:
        table.put(replace(REQUEST, salt=b"x" * 16))
    assert caught.value.code is Code.LIMIT
    keys = [SigningKey(at.to_bytes(32, "big")).public for at in range(limits.REQUESTS_WAITING_MAX)]
    for key in keys[: limits.REQUESTS_WAITING_MAX - limits.REQUESTS_PER_KEY_MAX]:
        table.put(replace(REQUEST, to=key))
    with pytest.raises(UserError, match="of this clinic"):
        table.put(replace(REQUEST, to=keys[-1]))
    # An answer makes room, and what lapsed long ago is not even listed.
    assert table.answer(OWNER, is_approved=True)
    table.put(replace(REQUEST, to=keys[-1]))
    table.clock.step(DAY_MS + limits.REQUEST_KEPT_MS + 1)
    fresh = replace(REQUEST, not_after_ms=table.clock.wall_ms() + DAY_MS)
    table.put(fresh)
    assert [one.request for one in table.asked.all()] == [fresh]


def test_no_grant_is_a_request() -> None:
    body = encode(
        GrantBody(TOKEN, CLINIC.public, ("read",), ("TREAT",), 0, 1, 60, ("record",), (), False, bytes(16))
    )
    with pytest.raises(Malformed):
        check(SignedRequest(body, CLINIC.sign("access-request", NETWORK, body)))
