"""Transactions: the shape of every field, the patient's enrolment in a mint, and what is named."""

import msgspec
import pytest

from protocol import limits
from protocol.codec import HASH_BYTES, encode
from protocol.errors import Malformed
from protocol.keys import SigningKey
from protocol.transactions import (
    Body,
    Enrolment,
    GrantId,
    Mint,
    SignedEnrolment,
    TokenId,
    TransactionId,
    decode_transaction,
    named_sealed_hash,
    sealed_hash,
    sealed_token,
    sign_transaction,
    transaction_id,
    verify_enrolment,
    verify_transaction,
)
from tests.sample_transactions import (
    ENC,
    ENROLMENT,
    HASH,
    HEIR,
    ISSUER,
    NETWORK,
    NEXT,
    OWNER,
    SIGNED,
    TOKEN,
    mint,
)

BODIES = {type(body).__name__: (body, signers) for body, signers in SIGNED}
SHORT, LONG, NO_KEY = bytes(HASH_BYTES - 1), bytes(HASH_BYTES + 1), b"\x03" + bytes(32)
KEYED = {"next_key_hash": SHORT, "enc_key": NO_KEY, "owner_key": NO_KEY, "sealed_key_hash": SHORT}
UNORDERED = (GrantId(b"b" * 32), GrantId(b"a" * 32))

WRONG_FIELDS: list[tuple[str, str, object]] = [
    *(("Mint", field, value) for field, value in KEYED.items()),
    ("Mint", "nonce", bytes(15)),
    ("Mint", "nonce", bytes(17)),
    ("Mint", "enrolment", SignedEnrolment(encode(ENROLMENT), bytes(63))),
    *(("Transfer", field, value) for field, value in KEYED.items()),
    *(("Rotate", field, value) for field, value in KEYED.items()),
    *((kind, "generation", -1) for kind in ("Transfer", "Rotate", "Erase")),
    *(
        (kind, "token", value)
        for kind in ("Grant", "Revoke", "Transfer", "Rotate", "Erase")
        for value in (SHORT, LONG, b"")
    ),
    *((kind, "grant_id", value) for kind in ("Grant", "Revoke") for value in (SHORT, LONG)),
    *(
        (kind, "keep", value)
        for kind in ("Transfer", "Rotate")
        for value in (UNORDERED, UNORDERED[:1] * 2, (GrantId(SHORT),))
    ),
    ("Transfer", "reason", "sale"),
    ("Transfer", "reason", ""),
    ("Grant", "sealed_hash", LONG),
    ("AuditHead", "sequence", -1),
    ("AuditHead", "head", SHORT),
]
WRONG_CONTENT: list[tuple[str, object]] = [
    ("suite", 0),
    ("suite", 2),
    ("chunk", limits.CHUNK_BYTES - 1),
    ("length", 0),
    ("length", -1),
    ("length", limits.RECORD_BYTES_MAX + 1),
    ("chunks", 0),
    ("chunks", 2 * limits.RECORD_BYTES_MAX // limits.CHUNK_BYTES + 1),
    *((field, SHORT) for field in ("root", "salt", "key_commitment", "plaintext_commitment")),
]


def refused(body: Body, signers: tuple[SigningKey, ...], reason: str = "field is not acceptable") -> None:
    with pytest.raises(Malformed, match=reason):
        decode_transaction(sign_transaction(body, signers, NETWORK))


@pytest.mark.parametrize("kind", BODIES)
def test_a_transaction_of_each_kind_is_verified_and_named_by_its_bytes(kind: str) -> None:
    body, signers = BODIES[kind]
    raw = sign_transaction(body, signers, NETWORK)
    verified = verify_transaction(decode_transaction(raw), NETWORK)
    assert (verified.raw, verified.id, verified.body) == (raw, transaction_id(raw), body)
    assert verified.signers == tuple(key.public for key in signers)


@pytest.mark.parametrize(("kind", "field", "value"), WRONG_FIELDS)
def test_a_field_of_the_wrong_shape_is_refused(kind: str, field: str, value: object) -> None:
    body, signers = BODIES[kind]
    refused(msgspec.structs.replace(body, **{field: value}), signers, f"acceptable: ({field}|signers)$")


@pytest.mark.parametrize(("field", "value"), WRONG_CONTENT)
def test_a_content_of_the_wrong_shape_is_refused(field: str, value: object) -> None:
    content = msgspec.structs.replace(mint().content, **{field: value})
    refused(msgspec.structs.replace(mint(), content=content), (ISSUER,), f"content.{field}")


def test_too_many_grants_to_keep_are_refused() -> None:
    keep = tuple(GrantId(number.to_bytes(32, "big")) for number in range(limits.KEEP_GRANTS_MAX + 1))
    for kind in ("Transfer", "Rotate"):
        body, signers = BODIES[kind]
        decode_transaction(sign_transaction(msgspec.structs.replace(body, keep=keep[1:]), signers, NETWORK))
        refused(msgspec.structs.replace(body, keep=keep), signers, "keep")


@pytest.mark.parametrize(
    ("kind", "signers"),
    [
        ("Mint", (OWNER,)),
        ("Transfer", (OWNER, HEIR, HEIR)),
        ("Transfer", (OWNER, NEXT, OWNER)),
        ("Rotate", (HEIR, HEIR)),
        ("Rotate", (NEXT, OWNER)),
        ("Erase", (OWNER, HEIR)),
        ("AuditHead", (OWNER,)),
    ],
)
def test_signers_other_than_the_body_names_are_refused(kind: str, signers: tuple[SigningKey, ...]) -> None:
    refused(BODIES[kind][0], signers, "signers")


def test_only_the_patients_own_signature_enrols() -> None:
    assert verify_enrolment(mint().enrolment, NETWORK) == ENROLMENT
    for enrolment in (mint(owner=ISSUER).enrolment, mint(network=HASH).enrolment):
        with pytest.raises(Malformed, match="not signed by its owner key"):
            verify_enrolment(enrolment, NETWORK)


@pytest.mark.parametrize(
    "enrolment",
    [
        msgspec.structs.replace(ENROLMENT, issuer=HEIR.public),
        msgspec.structs.replace(ENROLMENT, next_key_hash=bytes(32)),
        msgspec.structs.replace(ENROLMENT, enc_key=ENC[:-1] + b"\x00"),
    ],
)
def test_a_mint_must_say_what_the_patient_signed(enrolment: Enrolment) -> None:
    raw = sign_transaction(mint(enrolment), (ISSUER,), NETWORK)
    with pytest.raises(Malformed, match="enrolment names another"):
        verify_transaction(decode_transaction(raw), NETWORK)


def test_a_mint_to_a_key_that_signed_no_enrolment_is_malformed() -> None:
    other = msgspec.structs.replace(ENROLMENT, owner_key=HEIR.public)
    for body in (mint(other, HEIR), mint(owner=ISSUER), mint(network=HASH)):
        raw = sign_transaction(body, (ISSUER,), NETWORK)
        with pytest.raises(Malformed, match="enrolment"):
            verify_transaction(decode_transaction(raw), NETWORK)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": NO_KEY},
        {"owner_key": NO_KEY},
        {"enc_key": NO_KEY},
        {"next_key_hash": SHORT},
        {"not_after_ms": -1},
    ],
)
def test_an_enrolment_of_the_wrong_shape_is_malformed(changes: dict[str, bytes | int]) -> None:
    with pytest.raises(Malformed, match="acceptable"):
        verify_enrolment(mint(msgspec.structs.replace(ENROLMENT, **changes)).enrolment, NETWORK)


def test_bodies_name_the_sealed_bytes_beside_them_and_their_token() -> None:
    name, sealed = TransactionId(b"i" * 32), sealed_hash(b"sealed")
    with_sealed = {"Mint": "sealed_key_hash", "Grant": "sealed_hash", "Transfer": "sealed_key_hash"}
    with_sealed["Rotate"] = "sealed_key_hash"
    for kind, (body, _) in BODIES.items():
        if kind not in with_sealed:
            assert named_sealed_hash(body) is None
            continue
        named = msgspec.structs.replace(body, **{with_sealed[kind]: sealed})
        assert named_sealed_hash(named) == sealed
        assert sealed_token(name, body) == (TokenId(name) if isinstance(body, Mint) else TOKEN)
