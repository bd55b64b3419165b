"""Who may fetch: the signed request, and the one function that decides on it.

`decide` is the only place where access is decided. It is pure and takes everything it judges by as
arguments; lookups in the state are point reads. What a refusal was for goes to the local audit log and
nowhere else: on the wire all refusals are one and the same.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.errors import Malformed
from protocol.grants import READ, WHOLE_RECORD, GrantBody, decode_grant_body, grant_id
from protocol.keys import PublicKey, SigningKey, is_public_key, verify
from protocol.limits import NetworkLimits
from protocol.purposes import OWNER_PURPOSE, covers, is_purpose
from protocol.state import GrantState, LedgerState, TokenState
from protocol.transactions import Content, GrantId, TokenId

NONCE_BYTES = 32
KIND = "fetch"


class FetchRequest(Wire, frozen=True):
    """Asks `server` for chunks of a token's ciphertext.

    `signer` is the grantee, or the owner, who leaves `grant_body` empty. `nonce` is the server's, new
    for every request. `user` is the human who asks; `time_ms`, the asker's clock, is a statement for
    the record and decides nothing.
    """

    token: TokenId
    grant_body: bytes
    signer: PublicKey
    server: PublicKey
    nonce: bytes
    purpose: str
    user: str
    first_chunk: int
    chunk_count: int
    time_ms: int


class SignedFetchRequest(Wire, frozen=True):
    """An encoded FetchRequest, signed by its `signer`. The server keeps it: it is the receipt."""

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class VerifiedFetch:
    """A request of the right shape whose signature is its signer's. `grant_id` is None for an owner."""

    request: FetchRequest
    grant_id: GrantId | None
    signed: SignedFetchRequest


@dataclass(frozen=True, slots=True)
class Freshness:
    """How well a node knows the present. Milliseconds.

    `final_time_ms` is the time in the newest final block's header. `elapsed_since_final_ms` is that
    block's age without the wall clock: its age when this node applied it, at least 0, and what has
    passed since on a clock that counts suspend. `clock_is_good`: the wall clock was found within the
    tolerance of the members' median.
    """

    final_time_ms: int
    wall_ms: int
    elapsed_since_final_ms: int
    clock_is_good: bool

    @property
    def age_ms(self) -> int:
        """How old the newest final block is, by the clock that says most."""
        return max(0, self.wall_ms - self.final_time_ms, self.elapsed_since_final_ms)

    def knows_time(self, tolerance_ms: int) -> bool:
        """Whether the wall clock may be judged by: good, and not behind what a quorum has signed."""
        return self.clock_is_good and self.final_time_ms - self.wall_ms <= tolerance_ms


class DenyReason(StrEnum):
    """Why a request was denied, in the order of the checks, for the local audit log only.

    MALFORMED is also for a request that `verify_fetch` does not take.
    """

    WRONG_SERVER = "wrong-server"
    REPLAYED_NONCE = "replayed-nonce"
    CLOCK = "clock"
    NOT_MEMBER = "not-a-member"  # this node is none, or none any more
    SUSPENDED = "suspended"
    NO_TOKEN = "no-token"
    ERASED = "erased"
    NO_GRANT = "no-grant"
    MALFORMED = "malformed"
    OTHER_TOKEN = "other-token"
    NOT_REGISTERED = "not-registered"
    REVOKED = "revoked"
    REVOKED_AT_SIGHT = "revoked-at-sight"
    GENERATION = "generation"
    NOT_GRANTEE = "not-grantee"
    NOT_YET = "not-yet"
    EXPIRED = "expired"
    ACTION = "action"
    PURPOSE = "purpose"
    SCOPE = "scope"
    STALE = "stale"
    NOT_HELD = "not-held"


@dataclass(frozen=True, slots=True)
class Permit:
    """Serve these chunks of `content`. `grant` is None for the owner.

    Ask again while serving: a permit is true when it is given.
    """

    content: Content
    grant: GrantBody | None


@dataclass(frozen=True, slots=True)
class Deny:
    reason: DenyReason


def sign_fetch(request: FetchRequest, key: SigningKey, network: bytes) -> SignedFetchRequest:
    """The request, signed by its `signer`'s key."""
    body = encode(request)
    return SignedFetchRequest(body, key.sign(KIND, network, body))


def verify_fetch(signed: SignedFetchRequest, network: bytes) -> VerifiedFetch:
    """The request of `signed`.

    Raises:
        Malformed: not canonical, a field out of its limits, or not signed by its signer.
    """
    request = decode(FetchRequest, signed.body, limit=limits.FETCH_REQUEST_BYTES_MAX)
    is_acceptable = (
        len(request.token) == HASH_BYTES
        and len(request.nonce) == NONCE_BYTES
        and len(request.grant_body) <= limits.GRANT_BODY_BYTES_MAX
        and is_public_key(request.server)
        and len(request.purpose) <= limits.WORD_CHARS_MAX
        and request.purpose.isprintable()
        and 0 < len(request.user) <= limits.USER_CHARS_MAX
        and request.user.isprintable()
        and request.first_chunk >= 0
        and request.chunk_count >= 1
        and request.time_ms >= 0
    )
    if not is_acceptable:
        raise Malformed("fetch request has a field out of its limits")
    if not verify(request.signer, KIND, network, signed.body, signed.signature):
        raise Malformed("fetch request is not signed by its signer")
    presented = grant_id(request.grant_body) if request.grant_body else None
    return VerifiedFetch(request, presented, signed)


def decide(
    fetch: VerifiedFetch,
    *,
    server: PublicKey,
    nonce: bytes,
    state: LedgerState,
    denied: Container[tuple[TokenId, GrantId]],
    suspended: Container[PublicKey],
    freshness: Freshness,
    holds: bool,
) -> Permit | Deny:
    """Whether this node serves `fetch` now.

    `server` is this node's identity key and `nonce` the one it gave for this request. `state` is that
    after the newest final block; `denied` holds the revocations seen at sight, and `suspended` the
    members shut out at sight. `holds`: whether the node has the chunks. The checks come in the order
    of `DenyReason`.
    """
    request = fetch.request
    if request.server != server:
        return Deny(DenyReason.WRONG_SERVER)
    if request.nonce != nonce:
        return Deny(DenyReason.REPLAYED_NONCE)
    if not freshness.knows_time(state.limits.tolerance_ms):
        return Deny(DenyReason.CLOCK)
    if state.member(server) is None or _is_shut_out(server, state, suspended):
        return Deny(DenyReason.NOT_MEMBER)
    if _is_shut_out(request.signer, state, suspended):
        return Deny(DenyReason.SUSPENDED)
    token = state.token(request.token)
    if token is None:
        return Deny(DenyReason.NO_TOKEN)
    if token.erased:
        return Deny(DenyReason.ERASED)
    body: GrantBody | None = None
    if fetch.grant_id is None:
        reason = _refuse_owner(request, token)
        max_stale_ms = state.limits.max_stale_default_ms
    else:
        try:
            body = decode_grant_body(request.grant_body, state.limits)
        except Malformed:
            return Deny(DenyReason.MALFORMED)
        registered = state.grant(request.token, fetch.grant_id)
        at_sight = (request.token, fetch.grant_id) in denied
        reason = _refuse_registration(request, body, token, registered, at_sight) or _refuse_terms(
            request, body, freshness.wall_ms, state.limits
        )
        max_stale_ms = 1000 * body.max_stale_s
    reason = reason or _refuse_serving(request, token, freshness, max_stale_ms, holds)
    return Permit(token.content, body) if reason is None else Deny(reason)


def allows_copy(
    asker: PublicKey,
    *,
    server: PublicKey,
    token: TokenState,
    holders: Container[PublicKey],
    suspended: Container[PublicKey],
    state: LedgerState,
    freshness: Freshness,
) -> bool:
    """Whether this node gives ciphertext of `token` to `asker`, as one that should hold a copy too.

    `holders` are the clinics that placement names for the token now; the rest is as in `decide`. Nobody
    reads by it: a holder has no key.
    """
    if not is_fresh(freshness, state.limits):
        return False
    if _is_shut_out(server, state, suspended) or _is_shut_out(asker, state, suspended):
        return False
    return asker in holders and not token.erased


def is_open(
    body: GrantBody,
    *,
    reader: PublicKey,
    state: LedgerState,
    denied: Container[tuple[TokenId, GrantId]],
    wall_ms: int,
) -> bool:
    """Whether `reader` may be shown that it holds the grant `body`: it counts now, for some purpose.

    This decides what a clinic lists for its own people, from what it was given; to read takes `decide`, at
    the clinic that is asked.
    """
    name = grant_id(encode(body))
    token = state.token(body.token)
    if token is None or token.erased:
        return False
    at_sight = (body.token, name) in denied
    registered = state.grant(body.token, name)
    request = _Asked(body.token, reader, body.purposes[0])
    return (
        _refuse_registration(request, body, token, registered, at_sight)
        or _refuse_terms(request, body, wall_ms, state.limits)
    ) is None


def is_fresh(freshness: Freshness, network_limits: NetworkLimits) -> bool:
    """Whether a node knows the time, and its newest final block is younger than the default `max_stale`."""
    is_young = freshness.age_ms < network_limits.max_stale_default_ms
    return is_young and freshness.knows_time(network_limits.tolerance_ms)


def _is_shut_out(key: PublicKey, state: LedgerState, suspended: Container[PublicKey]) -> bool:
    """Whether `key` is a member's that was suspended or removed, on the ledger or at sight."""
    member = state.member(key)
    return key in suspended or (member is not None and not member.is_active)


def _refuse_owner(request: FetchRequest, token: TokenState) -> DenyReason | None:
    if request.signer != token.owner_key:
        return DenyReason.NO_GRANT
    if not (is_purpose(request.purpose) and covers((OWNER_PURPOSE,), request.purpose)):
        return DenyReason.PURPOSE
    return None


class _Asked(NamedTuple):
    """What the grant's terms are held against, of a request or without one."""

    token: TokenId
    signer: PublicKey
    purpose: str


def _refuse_registration(
    request: FetchRequest | _Asked,
    body: GrantBody,
    token: TokenState,
    registered: GrantState | None,
    is_denied_at_sight: bool,
) -> DenyReason | None:
    """What the ledger, and revocations not final yet, say of the grant."""
    if body.token != request.token:
        return DenyReason.OTHER_TOKEN
    if registered is None:
        return DenyReason.NOT_REGISTERED
    if registered.revoked:
        return DenyReason.REVOKED
    if is_denied_at_sight:
        return DenyReason.REVOKED_AT_SIGHT
    if registered.generation != token.generation:
        return DenyReason.GENERATION
    return None


def _refuse_terms(
    request: FetchRequest | _Asked, body: GrantBody, wall_ms: int, network_limits: NetworkLimits
) -> DenyReason | None:
    """What the grant's own words say of the request."""
    tolerance_ms = network_limits.tolerance_ms
    if body.grantee_key != request.signer:
        return DenyReason.NOT_GRANTEE
    if wall_ms < body.not_before_ms - tolerance_ms:
        return DenyReason.NOT_YET
    if wall_ms > body.not_after_ms + tolerance_ms:
        return DenyReason.EXPIRED
    if READ not in body.actions:
        return DenyReason.ACTION
    if not (is_purpose(request.purpose) and covers(body.purposes, request.purpose)):
        return DenyReason.PURPOSE
    if WHOLE_RECORD not in body.scope:
        return DenyReason.SCOPE
    return None


def _refuse_serving(
    request: FetchRequest, token: TokenState, freshness: Freshness, max_stale_ms: int, holds: bool
) -> DenyReason | None:
    """What stands against serving anyone: a range outside the record, a stale ledger, no copy."""
    if request.first_chunk + request.chunk_count > token.content.chunks:
        return DenyReason.SCOPE
    if freshness.age_ms >= max_stale_ms:
        return DenyReason.STALE
    if not holds:
        return DenyReason.NOT_HELD
    return None
