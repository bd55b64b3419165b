"""What a clinic asks a patient to share: signed by the clinic, sealed to her, answered by her alone.

A request is addressed to a one-time owner key that its asker knows: out of a receive code that the patient
made for it, or of a record that it issued or was let read. So asking links nothing. It counts for nothing
on the ledger: only the grants do that the patient makes when she approves it, and these are never wider.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Code, Malformed, UserError
from protocol.grants import SALT_BYTES
from protocol.keys import OpeningKey, PublicKey, SealKey, SigningKey, is_public_key, seal, verify
from protocol.limits import NetworkLimits
from protocol.padded import open_padded, padded
from protocol.purposes import is_purpose
from protocol.records import RecordType
from protocol.transactions import GrantId, TokenId

RequestId = NewType("RequestId", bytes)
"""H("access-request", encoded AccessRequest), 32 bytes."""

ALL: Final = "all"
"""The word for every record of a patient, beside the words of `RecordType`."""

KINDS: Final = frozenset({ALL, *RecordType})
_REQUEST: Final = "access-request"
_ANSWER: Final = "request-answer"
_PAD_BYTES: Final = 512
# What counts without the patient being asked is not asked of her.
_NEVER_ASKED: Final = "BTG"


class Standing(IntEnum):
    """What became of a request. One that is past its date and not answered has lapsed."""

    WAITING = 0
    APPROVED = 1
    DECLINED = 2


class AccessRequest(Wire, frozen=True):
    """Asks the holder of owner key `to` that member `asker` may read, for `for_ms` from the answer on.

    What is asked for is a `kind` (a word of `KINDS`), or `tokens` where that is empty. `renews` is the
    grant that would run on, or empty. The request stands until Unix time `not_after_ms`; `salt` makes its
    id unguessable.
    """

    to: PublicKey
    asker: PublicKey
    kind: str
    tokens: tuple[TokenId, ...]
    purposes: tuple[str, ...]
    for_ms: int
    not_after_ms: int
    renews: GrantId
    salt: bytes


class SignedRequest(Wire, frozen=True):
    """An encoded AccessRequest and its asker's signature, kind `access-request`: what is in the box."""

    body: bytes
    signature: bytes


class RequestAnswer(Wire, frozen=True):
    """What the holder of the key asked signs, kind `request-answer`. That she declined tells nothing else;
    what she approved is in the grants."""

    request: RequestId
    asker: PublicKey
    is_approved: bool


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """A request that its asker signed, with its id."""

    request_id: RequestId
    request: AccessRequest


def request_id(body: bytes) -> RequestId:
    """The id of an encoded AccessRequest."""
    return RequestId(digest("access-request", body))


def sign_request(
    request: AccessRequest, key: SigningKey, network: bytes, network_limits: NetworkLimits
) -> SignedRequest:
    """Raises Malformed, naming the field, where the request is out of its limits."""
    check_request(request, network_limits)
    body = encode(request)
    return SignedRequest(body, key.sign(_REQUEST, network, body))


def seal_request(signed: SignedRequest, *, to: SealKey, entropy: bytes) -> bytes:
    """The box for the patient; `entropy` is 32 fresh random bytes. Raises Malformed: `to` is no key."""
    return seal(to, padded(signed, _PAD_BYTES), entropy=entropy)


def open_request(opening_key: OpeningKey, sealed: bytes) -> SignedRequest | None:
    """What is in the box, which counts only once it is verified; None where it is not for this key."""
    return open_padded(SignedRequest, opening_key, sealed, _PAD_BYTES)


def check_request(request: AccessRequest, network_limits: NetworkLimits) -> None:
    """Raises Malformed, naming the field, where `request` is not one that a patient would be shown."""
    _require(is_public_key(request.to), "to")
    _require(is_public_key(request.asker), "asker")
    _require(not request.kind if request.tokens else request.kind in KINDS, "kind")
    _require(len(request.tokens) <= limits.REQUEST_TOKENS_MAX, "tokens")
    _require(list(request.tokens) == sorted(set(request.tokens)), "tokens")
    _require(all(len(token) == HASH_BYTES for token in request.tokens), "tokens")
    _require(1 <= len(request.purposes) <= limits.PURPOSES_MAX, "purposes")
    _require(list(request.purposes) == sorted(set(request.purposes)), "purposes")
    _require(all(map(is_purpose, request.purposes)) and _NEVER_ASKED not in request.purposes, "purposes")
    _require(1 <= request.for_ms <= network_limits.grant_life_max_ms, "for_ms")
    _require(request.not_after_ms >= 0, "not_after_ms")
    _require(len(request.renews) in (0, HASH_BYTES), "renews")
    _require(not request.renews or len(request.tokens) == 1, "renews")
    _require(len(request.salt) == SALT_BYTES, "salt")


def verify_request(
    signed: SignedRequest,
    *,
    network: bytes,
    network_limits: NetworkLimits,
    to: PublicKey,
    server: PublicKey,
    now_ms: int,
) -> VerifiedRequest:
    """The request in `signed`, found at clinic `server` in a box for the holder of owner key `to`.

    Raises:
        Malformed: a field out of its limits, a signature that is not its asker's in this network, one for
            another patient or passed on by another clinic, or one that does not stand now.
    """
    request = decode(AccessRequest, signed.body, limit=limits.REQUEST_BYTES_MAX)
    check_request(request, network_limits)
    _require(request.to == to, "to")
    _require(request.asker == server, "asker")
    _require(now_ms <= request.not_after_ms, "not_after_ms")
    latest_ms = now_ms + limits.REQUEST_LIFE_MS_MAX + network_limits.tolerance_ms
    _require(request.not_after_ms <= latest_ms, "not_after_ms")
    _require(verify(request.asker, _REQUEST, network, signed.body, signed.signature), "signature")
    return VerifiedRequest(request_id(signed.body), request)


def narrowed(
    request: AccessRequest,
    owned: Iterable[tuple[TokenId, str]],
    *,
    for_ms: int | None,
    chosen: Collection[TokenId] | None,
) -> tuple[list[TokenId], int]:
    """What to grant for `request`: which of the patient's records, `owned` with their types, and for how
    long. `for_ms` and `chosen` are what she allows of it; None allows what was asked.

    Raises:
        UserError: DURATION, longer than asked; USAGE, a chosen record that was not asked for; REFUSED, she
            has nothing of what was asked.
    """
    asked = [token for token, kind in owned if is_asked(request, token, kind)]
    if for_ms is not None and for_ms > request.for_ms:
        raise UserError(
            "that is longer than was asked for",
            "leave --for out, or choose a shorter time",
            code=Code.DURATION,
        )
    if chosen is not None and not set(chosen) <= set(asked):
        raise UserError(
            "a record that was not asked for", "choose among those that the request lists", code=Code.USAGE
        )
    allowed = [token for token in asked if chosen is None or token in chosen]
    if not allowed:
        raise UserError(
            "you have no record of the kind that was asked for",
            "decline it, or wait until there is one: chartmesh my records",
            code=Code.REFUSED,
        )
    return allowed, request.for_ms if for_ms is None else for_ms


def is_asked(request: AccessRequest, token: TokenId, kind: str) -> bool:
    """Whether `request` asks for this record, whose type is `kind`."""
    return token in request.tokens or request.kind in (ALL, kind)


def sign_answer(answer: RequestAnswer, key: SigningKey, network: bytes) -> bytes:
    """The signature of the holder of the key that was asked."""
    return key.sign(_ANSWER, network, encode(answer))


def verify_answer(answer: RequestAnswer, key: PublicKey, signature: bytes, network: bytes) -> bool:
    """Whether the holder of `key` gave this answer."""
    return verify(key, _ANSWER, network, encode(answer), signature)


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise Malformed(f"field of an access request is not acceptable: {name}")
