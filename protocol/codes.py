"""Receive codes: what a patient shows at the desk so that a clinic may mint records to her keys.

A code carries one or several signed enrolments, each good for one record, and a checkpoint: a block the
patient's device knows to be final, by which the clinic's node notices that the two follow other chains.
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocol import limits
from protocol.armour import CodeKind, unwrap_code, wrap_code
from protocol.blocks import BlockHash, NetworkId
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.errors import Code, Malformed, UserError
from protocol.keys import NETWORK_ID_BYTES, PublicKey, fingerprint
from protocol.persons import is_reference
from protocol.transactions import Enrolment, SignedEnrolment, verify_enrolment

_ASK_AGAIN = "ask the patient for a new code made for this clinic"


class ReceiveCode(Wire, frozen=True):
    """Enrolments for one clinic of one network. `clinic` is its identity key, `clinic_name` for people.

    `reference` is the person whose records these will be, as this clinic knows her (`protocol.persons`).
    """

    network: NetworkId
    clinic: PublicKey
    clinic_name: str
    checkpoint_height: int
    checkpoint_hash: BlockHash
    enrolments: tuple[SignedEnrolment, ...]
    reference: bytes


@dataclass(frozen=True, slots=True)
class VerifiedEnrolment:
    """An enrolment whose signature holds: the signed bytes for the mint, and the terms inside."""

    signed: SignedEnrolment
    terms: Enrolment


def encode_code(code: ReceiveCode) -> str:
    """The text of a code, `CM1…`.

    Raises:
        Malformed: a field out of its limits, or an enrolment that does not fit the code.
    """
    verify_code(code)
    return wrap_code(CodeKind.RECEIVE, encode(code))


def decode_code(text: str) -> ReceiveCode:
    """The code of `text`, every enrolment in it verified.

    Raises:
        UserError: RECEIVE_CODE: a slip in the text, or a code that no patient's device makes.
    """
    payload = unwrap_code(CodeKind.RECEIVE, text)
    try:
        code = decode(ReceiveCode, payload, limit=limits.CODE_BYTES_MAX)
        verify_code(code)
    except Malformed as error:
        raise _unusable("this receive code is not valid") from error
    return code


def verify_code(code: ReceiveCode) -> tuple[VerifiedEnrolment, ...]:
    """The enrolments of `code`, their signatures checked.

    Raises:
        Malformed: a field out of its limits, an enrolment not signed by its owner or for another clinic,
            or one-time keys that come twice.
    """
    if len(code.network) != NETWORK_ID_BYTES or len(code.checkpoint_hash) != HASH_BYTES:
        raise Malformed("receive code has a field of the wrong length")
    if code.checkpoint_height < 0:
        raise Malformed("receive code names no height")
    if not 1 <= len(code.clinic_name) <= limits.NAME_CHARS_MAX or not code.clinic_name.isprintable():
        raise Malformed("clinic name is empty, too long or not printable")
    if not is_reference(code.reference):
        raise Malformed("receive code does not say whose it is")
    if not 1 <= len(code.enrolments) <= limits.ENROLMENTS_PER_CODE_MAX:
        raise Malformed("receive code has no enrolments or too many")
    verified = tuple(
        VerifiedEnrolment(item, verify_enrolment(item, code.network)) for item in code.enrolments
    )
    if any(item.terms.issuer != code.clinic for item in verified):
        raise Malformed("enrolment is for another clinic than its receive code")
    for name in ("owner_key", "next_key_hash", "enc_key"):
        if len({getattr(item.terms, name) for item in verified}) != len(verified):
            raise Malformed(f"two enrolments of a receive code share their {name}")
    return verified


def check_code(
    code: ReceiveCode,
    *,
    network: NetworkId,
    clinic: PublicKey,
    now_ms: int,
    used: Callable[[PublicKey], bool],
) -> tuple[VerifiedEnrolment, ...]:
    """What clinic `clinic` may still mint with `code`: one record for each, in the code's order.

    `used` tells whether an owner key is already in the ledger or promised to another record.

    Raises:
        UserError: RECEIVE_CODE: for another network, for another clinic, used already, or expired.
    """
    check_addressed(code, network=network, clinic=clinic)
    try:
        unused = tuple(item for item in verify_code(code) if not used(item.terms.owner_key))
    except Malformed as error:
        raise _unusable("this receive code is not valid") from error
    if not unused:
        raise _unusable("this receive code was used already")
    usable = tuple(item for item in unused if now_ms <= item.terms.not_after_ms)
    if not usable:
        raise _unusable("this receive code has expired")
    return usable


def check_addressed(code: ReceiveCode, *, network: NetworkId, clinic: PublicKey) -> None:
    """Raises UserError RECEIVE_CODE: for another network, or for another clinic."""
    if code.network != network:
        raise _unusable("this receive code is for another network")
    if code.clinic != clinic:
        raise _unusable(
            f"this receive code is for another clinic: {code.clinic_name} ({fingerprint(code.clinic)})"
        )


def _unusable(message: str) -> UserError:
    return UserError(message, _ASK_AGAIN, code=Code.RECEIVE_CODE)
