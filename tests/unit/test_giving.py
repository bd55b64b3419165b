"""A gift is a transfer that both sides signed, to keys that the receiver consented to, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.armour import CodeKind, wrap_code
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, UserError
from protocol.giving import (
    Gift,
    TakeCode,
    check_usable,
    decode_gift,
    decode_take,
    encode_gift,
    encode_take,
    sign_consent,
    sign_gift,
    sign_taken,
    verify_gift,
    verify_take,
)
from protocol.grants import RecordLabel, SealedKey, open_key
from protocol.rekeying import FreshKeys
from protocol.transactions import (
    GrantId,
    TokenId,
    Transfer,
    decode_transaction,
    sign_body,
    verify_transaction,
)
from protocol.wallet import cold_master, hot_master, next_key, next_key_hashes, opening_key, owner_key
from tests.unit.test_codes import CLINIC, NETWORK, NOT_AFTER_MS, OTHER_NETWORK, enrolment

GIVER, RECEIVER = bytes(32), bytes(31) + b"\1"
GIVER_HOT, RECEIVER_HOT = hot_master(GIVER), hot_master(RECEIVER)
TOKEN = TokenId(b"t" * 32)
REFERENCE = b"to the taker: me"
HELD = SealedKey(b"k" * 32, RecordLabel("Letter", "pdf", "letter.pdf", 100, 1, b""), b"the giver's ref.")
TAKER = owner_key(RECEIVER_HOT, 3)


def fresh(index: int = 3) -> FreshKeys:
    [next_hash] = next_key_hashes(cold_master(RECEIVER), index, 1)
    opening = opening_key(RECEIVER_HOT, index).public
    return FreshKeys(owner_key(RECEIVER_HOT, index).public, next_hash, opening)


def take_code() -> TakeCode:
    return TakeCode(NETWORK, "Ben", sign_consent(TAKER, fresh(), NOT_AFTER_MS, NETWORK), REFERENCE)


def gift() -> Gift:
    return sign_gift(
        TOKEN,
        2,
        HELD,
        to=take_code(),
        reason="majority",
        owner=owner_key(GIVER_HOT, 0),
        next_key=next_key(cold_master(GIVER), 0),
        entropy=b"e" * 32,
    )


def with_transfer(**fields: Any) -> Gift:
    """A gift that says something else, signed anew by the giver."""
    made = gift()
    body = encode(replace(decode(Transfer, made.body, limit=10_000), **fields))
    owner, following = owner_key(GIVER_HOT, 0), next_key(cold_master(GIVER), 0)
    by_owner, by_next = (sign_body(body, key, NETWORK) for key in (owner, following))
    return replace(made, body=body, by_owner=by_owner, by_next_key=by_next)


def test_codes_come_back_as_they_were_made() -> None:
    assert decode_take(encode_take(take_code())) == take_code()
    assert verify_take(take_code()).owner_key == TAKER.public
    assert decode_gift(encode_gift(gift())).gift == gift()


def test_a_taken_gift_is_a_transfer_that_three_keys_signed() -> None:
    raw = sign_taken(gift(), TAKER)
    verified = verify_transaction(decode_transaction(raw), NETWORK)
    transfer = verified.body
    assert isinstance(transfer, Transfer)
    assert (transfer.token, transfer.generation, transfer.reason) == (TOKEN, 2, "majority")
    assert FreshKeys(transfer.owner_key, transfer.next_key_hash, transfer.enc_key) == fresh()
    following = next_key(cold_master(GIVER), 0)
    assert verified.signers == (owner_key(GIVER_HOT, 0).public, following.public, TAKER.public)
    assert open_key(opening_key(RECEIVER_HOT, 3), gift().sealed) == replace(HELD, reference=REFERENCE)
    assert open_key(opening_key(GIVER_HOT, 0), gift().sealed) is None


def test_a_gift_that_another_signs_for_is_no_transaction() -> None:
    with pytest.raises(Malformed):
        decode_transaction(sign_taken(gift(), owner_key(RECEIVER_HOT, 4)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_transfer(next_key_hash=fresh(4).next_key_hash),
        lambda: with_transfer(enc_key=fresh(4).enc_key),
        lambda: with_transfer(owner_key=fresh(4).owner_key),
        lambda: with_transfer(keep=(GrantId(b"g" * 32),)),
        lambda: with_transfer(reason="sale"),
        lambda: with_transfer(generation=-1),
        lambda: with_transfer(token=TokenId(b"short")),
        lambda: with_transfer(next_key=TAKER.public),
        lambda: replace(gift(), sealed=b"another box"),
        lambda: replace(gift(), network=OTHER_NETWORK),
        lambda: replace(gift(), by_owner=replace(gift().by_owner, signature=bytes(64))),
        lambda: replace(gift(), by_next_key=gift().by_owner),
        lambda: replace(gift(), by_next_key=replace(gift().by_next_key, signature=bytes(64))),
        lambda: replace(gift(), consent=sign_consent(TAKER, fresh(4), NOT_AFTER_MS, NETWORK)),
        lambda: replace(gift(), consent=enrolment(0)),
    ],
)
def test_a_gift_that_no_honest_device_makes_is_refused(make: Callable[[], Gift]) -> None:
    made = make()
    with pytest.raises(Malformed):
        verify_gift(made)
    with pytest.raises(UserError) as caught:
        decode_gift(wrap_code(CodeKind.GIFT, encode(made)))
    assert caught.value.code is Code.RECEIVE_CODE


@pytest.mark.parametrize(
    "code",
    [
        replace(take_code(), name=""),
        replace(take_code(), name="\x1b[2J"),
        replace(take_code(), network=OTHER_NETWORK),
        replace(take_code(), consent=enrolment(0, issuer=CLINIC)),
    ],
)
def test_a_take_code_that_no_honest_device_makes_is_refused(code: TakeCode) -> None:
    with pytest.raises(Malformed):
        verify_take(code)
    with pytest.raises(UserError) as caught:
        decode_take(wrap_code(CodeKind.TAKE, encode(code)))
    assert caught.value.code is Code.RECEIVE_CODE


def test_one_code_is_not_taken_for_the_other() -> None:
    for text, read in ((encode_take(take_code()), decode_gift), (encode_gift(gift()), decode_take)):
        with pytest.raises(UserError, match="something else"):
            read(text)


def test_a_code_is_for_one_network_and_lasts_to_its_last_millisecond() -> None:
    consent = verify_take(take_code())
    check_usable(CodeKind.TAKE, consent, NETWORK, NETWORK, NOT_AFTER_MS)
    with pytest.raises(UserError, match="expired"):
        check_usable(CodeKind.TAKE, consent, NETWORK, NETWORK, NOT_AFTER_MS + 1)
    with pytest.raises(UserError, match="another network"):
        check_usable(CodeKind.GIFT, consent, NETWORK, OTHER_NETWORK, 0)
