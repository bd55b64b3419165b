"""`access.decide` against a written-out table, and the signed request it judges."""

from dataclasses import dataclass
from dataclasses import replace as vary
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.access import (
    Deny,
    DenyReason,
    FetchRequest,
    Freshness,
    Permit,
    SignedFetchRequest,
    VerifiedFetch,
    decide,
    sign_fetch,
    verify_fetch,
)
from protocol.blocks import Member, NetworkId
from protocol.codec import digest, encode
from protocol.errors import Malformed
from protocol.grants import GrantBody, grant_id
from protocol.keys import PublicKey, SigningKey
from protocol.limits import DAY_MS, NetworkLimits
from protocol.state import (
    Entry,
    GrantState,
    LedgerState,
    Role,
    TokenState,
    grant_entry_key,
    member_entry_key,
    new_member,
    token_entry_key,
)
from protocol.statemap import StateMap
from protocol.transactions import TokenId
from tests.ledger_world import CONTENT, opening, signing

NETWORK = NetworkId(digest("test", b"network"))
LIMITS = NetworkLimits()  # tolerance 10 s, default max_stale 60 s
NOW_MS = 1_700_000_000_000
TOKEN, OTHER_TOKEN = TokenId(digest("test", b"token")), TokenId(digest("test", b"other"))
OWNER, GRANTEE, THIEF = signing("owner"), signing("grantee"), signing("thief")
HERE, ELSEWHERE = signing("here").public, signing("elsewhere").public
NONCE, OLD_NONCE = b"n" * 32, b"o" * 32
CHUNKS = CONTENT.chunks


@dataclass(frozen=True)
class Situation:
    """A grantee's request in which everything is right. A row of the table varies it."""

    server: bytes = HERE
    nonce: bytes = NONCE
    clock_is_good: bool = True
    own_role: Role | None = Role.VALIDATOR
    signer_role: Role | None = Role.FOLLOWER
    suspended: tuple[PublicKey, ...] = ()
    final_age_ms: int = 5_000
    elapsed_ms: int = 5_000
    token: TokenId = TOKEN
    erased: bool = False
    generation: int = 2
    presents: str = "grant"  # or nothing, or garbage
    body_token: TokenId = TOKEN
    registered: bool = True
    revoked: bool = False
    denied: bool = False
    grant_generation: int = 2
    signer: SigningKey = GRANTEE
    starts_in_ms: int = -DAY_MS
    ends_in_ms: int = DAY_MS
    actions: tuple[str, ...] = ("read",)
    granted: tuple[str, ...] = ("HPAYMT", "TREAT")
    break_glass: bool = False
    max_stale_s: int = 30
    scope: tuple[str, ...] = ("record",)
    purpose: str = "COC"
    first_chunk: int = 0
    chunk_count: int = CHUNKS
    holds: bool = True

    def body(self) -> GrantBody:
        return GrantBody(
            self.body_token,
            GRANTEE.public,
            self.actions,
            self.granted,
            NOW_MS + self.starts_in_ms,
            NOW_MS + self.ends_in_ms,
            self.max_stale_s,
            self.scope,
            (),
            self.break_glass,
            bytes(16),
        )

    def presented(self) -> bytes:
        return {"grant": encode(self.body()), "nothing": b"", "garbage": b"\x01garbage"}[self.presents]

    def state(self) -> LedgerState:
        raw, leaves = self.presented(), dict[bytes, Entry]()
        leaves[token_entry_key(TOKEN)] = TokenState(
            HERE,
            OWNER.public,
            bytes(32),
            opening("owner").public,
            CONTENT,
            bytes(32),
            self.generation,
            1,
            bytes(32),
            self.erased,
            1,
            1,
        )
        for key, role in ((HERE, self.own_role), (self.signer.public, self.signer_role)):
            if role is not None:
                card = Member("clinic", key, key, opening("clinic").public, ())
                leaves[member_entry_key(key)] = new_member(card, role, 1)
        if self.registered:
            entry = GrantState(self.grant_generation, 0, self.revoked, bytes(32), 1)
            leaves[grant_entry_key(TOKEN, grant_id(raw))] = entry
        entries = StateMap.empty().update({key: encode(entry) for key, entry in leaves.items()})
        return LedgerState(NETWORK, LIMITS, entries)

    def fetch(self) -> VerifiedFetch:
        request = FetchRequest(
            self.token,
            self.presented(),
            self.signer.public,
            self.server,  # type: ignore[arg-type]
            self.nonce,
            self.purpose,
            "dr.b",
            self.first_chunk,
            self.chunk_count,
            NOW_MS,
        )
        return verify_fetch(sign_fetch(request, self.signer, NETWORK), NETWORK)

    def decide(self) -> Permit | Deny:
        return decide(
            self.fetch(),
            server=HERE,
            nonce=NONCE,
            state=self.state(),
            denied={(TOKEN, grant_id(self.presented()))} if self.denied else frozenset(),
            suspended=self.suspended,
            freshness=Freshness(
                final_time_ms=NOW_MS - self.final_age_ms,
                wall_ms=NOW_MS,
                elapsed_since_final_ms=self.elapsed_ms,
                clock_is_good=self.clock_is_good,
            ),
            holds=self.holds,
        )


RIGHT = Situation()
OWNERS = vary(RIGHT, presents="nothing", signer=OWNER, purpose="PATRQT")

DENIED: list[tuple[DenyReason, dict[str, Any]]] = [
    # One broken condition each, of a request that is right otherwise.
    (DenyReason.WRONG_SERVER, {"server": ELSEWHERE}),
    (DenyReason.REPLAYED_NONCE, {"nonce": OLD_NONCE}),
    (DenyReason.CLOCK, {"clock_is_good": False}),
    (DenyReason.CLOCK, {"final_age_ms": -10_001}),
    (DenyReason.NOT_MEMBER, {"own_role": None}),
    (DenyReason.NOT_MEMBER, {"own_role": Role.SUSPENDED}),
    (DenyReason.NOT_MEMBER, {"own_role": Role.REMOVED}),
    (DenyReason.NOT_MEMBER, {"suspended": (HERE,)}),
    (DenyReason.SUSPENDED, {"signer_role": Role.SUSPENDED}),
    (DenyReason.SUSPENDED, {"signer_role": Role.REMOVED}),
    (DenyReason.SUSPENDED, {"suspended": (GRANTEE.public,)}),
    (DenyReason.NO_TOKEN, {"token": OTHER_TOKEN}),
    (DenyReason.ERASED, {"erased": True}),
    (DenyReason.NO_GRANT, {"presents": "nothing"}),
    (DenyReason.MALFORMED, {"presents": "garbage"}),
    (DenyReason.MALFORMED, {"granted": ()}),
    (DenyReason.MALFORMED, {"break_glass": True}),
    (DenyReason.OTHER_TOKEN, {"body_token": OTHER_TOKEN}),
    (DenyReason.NOT_REGISTERED, {"registered": False}),
    (DenyReason.REVOKED, {"revoked": True}),
    (DenyReason.REVOKED_AT_SIGHT, {"denied": True}),
    (DenyReason.GENERATION, {"generation": 3}),
    (DenyReason.GENERATION, {"grant_generation": 1}),
    (DenyReason.NOT_GRANTEE, {"signer": THIEF}),
    (DenyReason.NOT_GRANTEE, {"signer": OWNER}),
    (DenyReason.NOT_YET, {"starts_in_ms": 10_001}),
    (DenyReason.EXPIRED, {"ends_in_ms": -10_001}),
    (DenyReason.ACTION, {"actions": ("list",)}),
    (DenyReason.PURPOSE, {"purpose": ""}),
    (DenyReason.PURPOSE, {"purpose": "HRESCH"}),
    (DenyReason.PURPOSE, {"purpose": "BTG"}),
    (DenyReason.PURPOSE, {"purpose": "CLINTRL"}),
    (DenyReason.PURPOSE, {"purpose": "coc"}),
    (DenyReason.PURPOSE, {"granted": ("HRESCH",)}),
    (DenyReason.SCOPE, {"scope": ("summary",)}),
    (DenyReason.SCOPE, {"chunk_count": CHUNKS + 1}),
    (DenyReason.SCOPE, {"first_chunk": 1}),
    (DenyReason.STALE, {"final_age_ms": 30_000}),
    (DenyReason.STALE, {"elapsed_ms": 30_000}),
    (DenyReason.STALE, {"max_stale_s": 5}),
    (DenyReason.NOT_HELD, {"holds": False}),
]

OWNER_DENIED: list[tuple[DenyReason, dict[str, Any]]] = [
    (DenyReason.WRONG_SERVER, {"server": ELSEWHERE}),
    (DenyReason.REPLAYED_NONCE, {"nonce": OLD_NONCE}),
    (DenyReason.CLOCK, {"clock_is_good": False}),
    (DenyReason.NO_TOKEN, {"token": OTHER_TOKEN}),
    (DenyReason.ERASED, {"erased": True}),
    (DenyReason.NO_GRANT, {"signer": THIEF}),
    (DenyReason.NO_GRANT, {"signer": GRANTEE}),
    (DenyReason.PURPOSE, {"purpose": ""}),
    (DenyReason.PURPOSE, {"purpose": "TREAT"}),
    (DenyReason.PURPOSE, {"purpose": "BTG"}),
    (DenyReason.SCOPE, {"first_chunk": CHUNKS, "chunk_count": 1}),
    (DenyReason.STALE, {"final_age_ms": 60_000}),
    (DenyReason.STALE, {"elapsed_ms": 60_000}),
    (DenyReason.NOT_HELD, {"holds": False}),
]

PERMITTED: list[dict[str, Any]] = [
    # The edge of each condition, on its right side.
    {"own_role": Role.FOLLOWER},
    {"signer_role": None},
    {"signer_role": Role.VALIDATOR},
    {"suspended": (ELSEWHERE,)},
    {"final_age_ms": -10_000},
    {"final_age_ms": 29_999},
    {"elapsed_ms": 29_999},
    {"max_stale_s": 24 * 3600, "final_age_ms": 86_399_999, "elapsed_ms": 86_399_999},
    {"starts_in_ms": 10_000},
    {"ends_in_ms": -10_000},
    {"purpose": "TREAT"},
    {"purpose": "ERTREAT"},
    {"purpose": "ELIGVER"},
    {"purpose": "BTG", "granted": ("BTG",), "break_glass": True},
    {"actions": ("list", "read")},
    {"scope": ("record", "summary")},
    {"generation": 0, "grant_generation": 0},
    {"first_chunk": CHUNKS - 1, "chunk_count": 1},
]


def test_a_request_with_everything_right_is_permitted() -> None:
    assert RIGHT.decide() == Permit(CONTENT, RIGHT.body())


def test_the_owner_reads_her_own_record() -> None:
    assert OWNERS.decide() == Permit(CONTENT, None)
    assert isinstance(vary(OWNERS, final_age_ms=59_999, elapsed_ms=59_999).decide(), Permit)
    assert isinstance(vary(OWNERS, purpose="PWATRNY").decide(), Permit)


@pytest.mark.parametrize("change", PERMITTED)
def test_the_right_side_of_every_edge_is_permitted(change: dict[str, Any]) -> None:
    assert isinstance(vary(RIGHT, **change).decide(), Permit)


@pytest.mark.parametrize(("reason", "change"), DENIED)
def test_one_broken_condition_denies_for_its_reason(reason: DenyReason, change: dict[str, Any]) -> None:
    assert vary(RIGHT, **change).decide() == Deny(reason)


@pytest.mark.parametrize(("reason", "change"), OWNER_DENIED)
def test_one_broken_condition_denies_the_owner_too(reason: DenyReason, change: dict[str, Any]) -> None:
    assert vary(OWNERS, **change).decide() == Deny(reason)


def test_the_table_has_every_reason() -> None:
    assert {reason for reason, _ in DENIED} == set(DenyReason)


# Two rows of one subject may undo each other, or together make a body that is none.
SUBJECTS = {
    "own_role": "members",
    "signer_role": "members",
    "suspended": "members",
    "signer": "members",
    "granted": "purpose",
    "starts_in_ms": "dates",
    "ends_in_ms": "dates",
}


@given(st.lists(st.sampled_from(DENIED), min_size=2, max_size=6))
def test_of_several_broken_conditions_the_first_in_order_is_the_reason(
    rows: list[tuple[DenyReason, dict[str, Any]]],
) -> None:
    change: dict[str, Any] = {}
    reasons: list[DenyReason] = []
    subjects = {"presents"}
    for reason, part in rows:
        touched = {SUBJECTS.get(name, name) for name in part}
        if not subjects & touched:
            change |= part
            subjects |= touched
            reasons.append(reason)
    if reasons:
        assert vary(RIGHT, **change).decide() == Deny(min(reasons, key=list(DenyReason).index))


def test_a_former_owner_and_a_grant_of_a_former_generation_are_denied() -> None:
    assert vary(OWNERS, signer=signing("former")).decide() == Deny(DenyReason.NO_GRANT)
    assert vary(RIGHT, generation=3, grant_generation=2).decide() == Deny(DenyReason.GENERATION)


# The signed request.

REQUEST = FetchRequest(
    TOKEN, encode(RIGHT.body()), GRANTEE.public, HERE, NONCE, "TREAT", "dr.b", 0, 1, NOW_MS
)


def test_a_signed_request_verifies_and_names_its_grant() -> None:
    signed = sign_fetch(REQUEST, GRANTEE, NETWORK)
    fetch = verify_fetch(signed, NETWORK)
    assert fetch.request == REQUEST
    assert fetch.grant_id == grant_id(REQUEST.grant_body)
    assert fetch.signed is signed
    own = replace(REQUEST, grant_body=b"")
    assert verify_fetch(sign_fetch(own, GRANTEE, NETWORK), NETWORK).grant_id is None


CHANGES: dict[str, object] = {
    "token": OTHER_TOKEN,
    "grant_body": encode(replace(RIGHT.body(), salt=b"\x01" * 16)),
    "signer": THIEF.public,
    "server": ELSEWHERE,
    "nonce": OLD_NONCE,
    "purpose": "COC",
    "user": "dr.c",
    "first_chunk": 1,
    "chunk_count": 2,
    "time_ms": NOW_MS + 1,
}


@pytest.mark.parametrize("name", FetchRequest.__struct_fields__)
def test_no_field_can_be_changed_after_signing(name: str) -> None:
    changed = replace(REQUEST, **{name: CHANGES[name]})
    signed = sign_fetch(REQUEST, GRANTEE, NETWORK)
    with pytest.raises(Malformed, match="not signed"):
        verify_fetch(SignedFetchRequest(encode(changed), signed.signature), NETWORK)


def test_a_request_signed_by_another_key_or_for_another_network_is_malformed() -> None:
    for signed in (
        sign_fetch(REQUEST, THIEF, NETWORK),
        sign_fetch(REQUEST, GRANTEE, NetworkId(bytes(32))),
        SignedFetchRequest(encode(REQUEST), b""),
    ):
        with pytest.raises(Malformed):
            verify_fetch(signed, NETWORK)


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, token=TokenId(bytes(31))),
        replace(REQUEST, grant_body=bytes(2049)),
        replace(REQUEST, server=opening("here").public),
        replace(REQUEST, nonce=bytes(31)),
        replace(REQUEST, purpose="P" * 33),
        replace(REQUEST, purpose="P\n"),
        replace(REQUEST, user=""),
        replace(REQUEST, user="u" * 129),
        replace(REQUEST, user="dr\x1b[31m"),
        replace(REQUEST, first_chunk=-1),
        replace(REQUEST, chunk_count=0),
        replace(REQUEST, time_ms=-1),
    ],
)
def test_a_request_out_of_its_limits_is_malformed(request_: FetchRequest) -> None:
    with pytest.raises(Malformed, match="limits"):
        verify_fetch(sign_fetch(request_, GRANTEE, NETWORK), NETWORK)


def test_bytes_that_are_no_request_are_malformed() -> None:
    body = encode(REQUEST)
    for raw in (b"", body[:-1], body + b"\x00", bytes(5000)):
        with pytest.raises(Malformed):
            verify_fetch(SignedFetchRequest(raw, GRANTEE.sign("fetch", NETWORK, raw)), NETWORK)
