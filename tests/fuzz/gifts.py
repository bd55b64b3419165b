"""The doors for what two people hand each other when a record changes hands."""

import random

from protocol.blocks import NetworkId
from protocol.codec import HASH_BYTES
from protocol.giving import (
    TakeCode,
    decode_gift,
    decode_take,
    encode_gift,
    encode_take,
    sign_consent,
    sign_gift,
)
from protocol.grants import RecordLabel, SealedKey
from protocol.rekeying import FreshKeys
from protocol.transactions import TokenId
from tests.fuzz.values import Maker
from tests.sample_transactions import ENROLMENT, ISSUER, NETWORK, OWNER

REFERENCE = b"known here as 16"


def take(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    plain = "".join(text.split()).replace("-", "").upper()
    assert encode_take(decode_take(text)) == plain
    return raw


def gift(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    plain = "".join(text.split()).replace("-", "").upper()
    assert encode_gift(decode_gift(text).gift) == plain
    return raw


def _made_code(dice: random.Random) -> TakeCode:
    keys = FreshKeys(OWNER.public, dice.randbytes(HASH_BYTES), ENROLMENT.enc_key)
    return TakeCode(NetworkId(NETWORK), "Ben", sign_consent(OWNER, keys, 2**41, NETWORK), REFERENCE)


def made_take(dice: random.Random) -> bytes:
    return encode_take(_made_code(dice)).encode()


def made_gift(dice: random.Random) -> bytes:
    held = SealedKey(dice.randbytes(HASH_BYTES), Maker(dice).make(RecordLabel), REFERENCE)
    return encode_gift(
        sign_gift(
            TokenId(dice.randbytes(HASH_BYTES)),
            1,
            held,
            to=_made_code(dice),
            reason="estate",
            owner=ISSUER,
            next_key=OWNER,
            entropy=dice.randbytes(HASH_BYTES),
        )
    ).encode()
