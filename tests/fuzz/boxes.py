"""What is in the sealed boxes of grants and requests: padded, and only who has the key can make it."""

import random
from typing import Final

from msgspec.structs import replace

from protocol import access_requests, grants, keys, limits
from protocol.access_requests import AccessRequest, SignedRequest
from protocol.codec import decode, encode
from protocol.errors import Malformed
from protocol.grants import GrantBody
from protocol.keys import OpeningKey
from protocol.limits import NetworkLimits
from protocol.padded import padded
from tests.fuzz.values import Maker
from tests.sample_transactions import ISSUER, NETWORK, OWNER

_LIMITS: Final = NetworkLimits()
_NOW_MS: Final = 1_700_000_000_000
_OPENING: Final = OpeningKey(b"e" * 32)


def grant_box(raw: bytes) -> bytes:
    """`raw` is what is in the box: the padded plaintext."""
    sealed = encode(grants.GrantBoxes(keys.seal(_OPENING.public, raw, entropy=b"x" * 32), b""))
    opened = grants.open_grant(_OPENING, sealed, _LIMITS)
    if opened is None:
        raise Malformed("not a grant")
    return padded(opened.sealed, grants._GRANT_PAD_BYTES)


def made_grant_box(dice: random.Random) -> bytes:
    maker = Maker(dice)
    made: grants.SealedGrant = maker.make(grants.SealedGrant)
    whole = replace(
        made, body=encode(maker.make(GrantBody)), content_key=maker.octets(32), reference=maker.octets(16)
    )
    return padded(whole, grants._GRANT_PAD_BYTES)


def owner_box(raw: bytes) -> bytes:
    """`raw` is what is in the owner's box: the padded plaintext."""
    body = grants.open_owner_box(_OPENING, keys.seal(_OPENING.public, raw, entropy=b"x" * 32), _LIMITS)
    if body is None:
        raise Malformed("not a body")
    return padded(decode(GrantBody, body, limit=len(body)), grants._BODY_PAD_BYTES)


def made_owner_box(dice: random.Random) -> bytes:
    made: GrantBody = Maker(dice).make(GrantBody)
    return padded(made, grants._BODY_PAD_BYTES)


def request_box(raw: bytes) -> bytes:
    """`raw` is what is in the box: the padded plaintext."""
    opened = access_requests.open_request(_OPENING, keys.seal(_OPENING.public, raw, entropy=b"x" * 32))
    if opened is None:
        raise Malformed("not a request")
    return padded(opened, access_requests._PAD_BYTES)


def made_request_box(dice: random.Random) -> bytes:
    return padded(_signed(dice), access_requests._PAD_BYTES)


def request(raw: bytes) -> bytes:
    """`raw` is what was in the box: the signed request."""
    signed = decode(SignedRequest, raw, limit=len(raw))
    access_requests.verify_request(
        signed,
        network=NETWORK,
        network_limits=_LIMITS,
        to=OWNER.public,
        server=ISSUER.public,
        now_ms=_NOW_MS,
    )
    return encode(signed)


def made_request(dice: random.Random) -> bytes:
    return encode(_signed(dice))


def _signed(dice: random.Random) -> SignedRequest:
    made: AccessRequest = Maker(dice).make(AccessRequest)
    asked = replace(made, to=OWNER.public, asker=ISSUER.public, not_after_ms=_NOW_MS + limits.DAY_MS)
    return access_requests.sign_request(asked, ISSUER, NETWORK, _LIMITS)
