"""What is in the sealed boxes of a grant: padded plaintexts, which only who has the key can make."""

import random
from typing import Final

from msgspec.structs import replace

from protocol import grants, keys
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.grants import GrantBody
from protocol.keys import OpeningKey
from protocol.limits import NetworkLimits
from tests.fuzz.values import Maker

_LIMITS: Final = NetworkLimits()
_OPENING: Final = OpeningKey(b"e" * 32)


def grant_box(raw: bytes) -> bytes:
    """`raw` is what is in the box: the padded plaintext."""
    sealed = encode(grants.GrantBoxes(keys.seal(_OPENING.public, raw, entropy=b"x" * 32), b""))
    opened = grants.open_grant(_OPENING, sealed, _LIMITS)
    if opened is None:
        raise Malformed("not a grant")
    return grants._pad(encode(opened.sealed), grants._GRANT_PAD_BYTES)


def made_grant_box(dice: random.Random) -> bytes:
    maker = Maker(dice)
    made: grants.SealedGrant = maker.make(grants.SealedGrant)
    whole = replace(made, body=encode(maker.make(GrantBody)), content_key=maker.octets(32))
    return grants._pad(encode(whole), grants._GRANT_PAD_BYTES)


def owner_box(raw: bytes) -> bytes:
    """`raw` is what is in the owner's box: the padded plaintext."""
    body = grants.open_owner_box(_OPENING, keys.seal(_OPENING.public, raw, entropy=b"x" * 32), _LIMITS)
    if body is None:
        raise Malformed("not a body")
    return grants._pad(body, grants._BODY_PAD_BYTES)


def made_owner_box(dice: random.Random) -> bytes:
    made: GrantBody = Maker(dice).make(GrantBody)
    return grants._pad(encode(made), grants._BODY_PAD_BYTES)
