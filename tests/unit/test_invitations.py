"""An invitation comes back as its inviter signed it, for a time, and says why it is not taken."""

from typing import Any

import msgspec
import pytest

from protocol import limits
from protocol.armour import CodeKind, is_code, unwrap_code, wrap_code
from protocol.blocks import BlockHash, NetworkId
from protocol.codec import digest, encode
from protocol.errors import Code, Malformed, UserError
from protocol.invitations import (
    Invitation,
    SignedInvitation,
    check_invitation,
    decode_invitation,
    encode_invitation,
    invitation_id,
    sign_invitation,
    verify_invitation,
)
from protocol.keys import SigningKey

INVITER = SigningKey(bytes(32))
TERMS = digest("terms", b"the terms")
EXPIRES_MS = 1_800_000_000_000
INVITATION = Invitation(
    network=NetworkId(bytes(range(32))),
    name="test",
    inviter=INVITER.public,
    addresses=("/ip4/192.0.2.7/tcp/4001",),
    checkpoint_height=41,
    checkpoint_hash=BlockHash(bytes(32)),
    terms_hash=TERMS,
    expires_ms=EXPIRES_MS,
    secret=bytes(16),
)


def changed(**fields: Any) -> Invitation:
    return msgspec.structs.replace(INVITATION, **fields)


def forged(invitation: Invitation, key: SigningKey) -> SignedInvitation:
    body = encode(invitation)
    return SignedInvitation(body, key.sign("invitation", invitation.network, body))


def refusal(text: str) -> UserError:
    with pytest.raises(UserError) as caught:
        decode_invitation(text)
    assert caught.value.hint
    return caught.value


def test_an_invitation_comes_back_as_it_was_made() -> None:
    signed = sign_invitation(INVITATION, INVITER)
    assert decode_invitation(encode_invitation(signed)) == signed
    assert verify_invitation(signed) == INVITATION


def test_the_largest_invitation_fits() -> None:
    largest = changed(
        name="ü" * limits.NAME_CHARS_MAX,
        addresses=("x" * limits.ADDRESS_CHARS_MAX,) * limits.ADDRESSES_MAX,
        checkpoint_height=2**63 - 1,
    )
    signed = sign_invitation(largest, INVITER)
    assert decode_invitation(encode_invitation(signed)) == signed


def test_an_invitation_fits_a_qr_code_that_a_telephone_reads() -> None:
    # QR version 20 at the lowest correction level holds 1249 alphanumeric characters.
    assert len(encode_invitation(sign_invitation(INVITATION, INVITER))) <= 1249


@pytest.mark.parametrize(
    "fields",
    [
        {"network": NetworkId(bytes(31))},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * (limits.NAME_CHARS_MAX + 1)},
        {"inviter": bytes(33)},
        {"addresses": ()},
        {"addresses": ("",)},
        {"addresses": ("x" * (limits.ADDRESS_CHARS_MAX + 1),)},
        {"addresses": ("x",) * (limits.ADDRESSES_MAX + 1)},
        {"checkpoint_height": -1},
        {"checkpoint_hash": BlockHash(bytes(31))},
        {"terms_hash": b""},
        {"expires_ms": -1},
        {"secret": bytes(15)},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_a_field_out_of_its_limits_is_refused_on_both_sides(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        sign_invitation(changed(**fields), INVITER)
    with pytest.raises(Malformed):
        verify_invitation(forged(changed(**fields), INVITER))


def test_only_the_inviter_that_it_names_can_have_signed_it() -> None:
    stranger = SigningKey(bytes(31) + b"\1")
    with pytest.raises(Malformed):
        verify_invitation(forged(INVITATION, stranger))
    text = wrap_code(CodeKind.INVITATION, encode(forged(INVITATION, stranger)))
    assert refusal(text).code is Code.INVITATION


def test_a_signature_is_good_for_one_network() -> None:
    signed = sign_invitation(INVITATION, INVITER)
    elsewhere = encode(changed(network=NetworkId(bytes(32))))
    with pytest.raises(Malformed):
        verify_invitation(SignedInvitation(elsewhere, signed.signature))


def test_a_slip_in_the_text_is_told_as_an_invitation_with_a_slip() -> None:
    text = encode_invitation(sign_invitation(INVITATION, INVITER))
    slipped = text[:40] + ("Q" if text[40] != "Q" else "P") + text[41:]
    assert refusal(slipped).code is Code.INVITATION
    assert refusal(text[:-3]).code is Code.INVITATION
    assert refusal("hello").code is Code.INVITATION


def test_a_code_of_another_kind_is_told_from_an_invitation() -> None:
    error = refusal(wrap_code(CodeKind.RECEIVE, b"something"))
    assert error.code is Code.INVITATION
    assert "something else" in error.message
    with pytest.raises(UserError) as caught:
        unwrap_code(CodeKind.RECEIVE, encode_invitation(sign_invitation(INVITATION, INVITER)))
    assert caught.value.code is Code.RECEIVE_CODE


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("CM1ABC", True), ("  cm1abc", True), ("CM2", False), ("x.genesis", False), ("", False)],
)
def test_a_code_is_told_from_a_file_name(text: str, is_one: bool) -> None:
    assert is_code(text) == is_one


def test_it_is_good_until_it_expires_and_no_longer() -> None:
    check_invitation(INVITATION, now_ms=EXPIRES_MS, terms_hash=TERMS)
    with pytest.raises(UserError) as caught:
        check_invitation(INVITATION, now_ms=EXPIRES_MS + 1, terms_hash=TERMS)
    assert caught.value.code is Code.INVITATION


def test_terms_that_this_program_does_not_know_cannot_be_accepted() -> None:
    with pytest.raises(UserError) as caught:
        check_invitation(INVITATION, now_ms=0, terms_hash=bytes(32))
    assert caught.value.code is Code.TERMS


def test_two_invitations_have_two_ids_that_do_not_tell_the_secret() -> None:
    other = changed(secret=bytes(15) + b"\1")
    assert invitation_id(INVITATION) != invitation_id(other)
    assert invitation_id(changed(expires_ms=1)) == invitation_id(INVITATION)
