"""The transactions of version 1: bodies, the signed envelope, and verification of its signatures.

A transaction is one byte string, kept and forwarded as received: `Envelope{body, signatures}`, where
`body` is the encoding of one of the tagged bodies below. Its id is the hash of all of it, and the id
of a Mint is the id of its token. What signatures alone can show is checked here; what needs the
ledger's state is checked in `protocol.ledger`.

Bytes that must be deletable (sealed keys, sealed grants) are detached: a body carries only their
hash, and the bytes travel beside the transaction.
"""

from collections.abc import Iterable, Iterator
from typing import NewType

import msgspec

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Malformed
from protocol.keys import (
    SIGNATURE_BYTES,
    PublicKey,
    SealKey,
    SigningKey,
    is_public_key,
    is_seal_key,
    verify,
)
from protocol.membership import (
    Admit,
    Approved,
    MembershipBody,
    Promote,
    Remove,
    RotateVoteKey,
    Suspend,
    are_approvers,
    membership_fault,
    verify_admission,
)

TransactionId = NewType("TransactionId", bytes)
TokenId = NewType("TokenId", bytes)
GrantId = NewType("GrantId", bytes)

NONCE_BYTES = 16
KIND = "transaction"


class Content(Wire, frozen=True):
    """What a token is a token of: the ciphertext's tree and the commitments (design §5).

    `length` is that of the plaintext in bytes, `chunk` of a ciphertext chunk with its tag.
    """

    suite: int
    chunk: int
    length: int
    chunks: int
    root: bytes
    salt: bytes
    key_commitment: bytes
    plaintext_commitment: bytes


class Enrolment(Wire, frozen=True):
    """The patient's consent to one mint by one issuer, under one-time keys. Signed by `owner_key`."""

    issuer: PublicKey
    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey
    not_after_ms: int


class SignedEnrolment(Wire, frozen=True):
    body: bytes
    signature: bytes


class Mint(Wire, frozen=True, tag=1):
    """A new token. Signed by the issuer; the enrolment inside is signed by the owner."""

    nonce: bytes
    issuer: PublicKey
    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey
    content: Content
    sealed_key_hash: bytes
    enrolment: SignedEnrolment


class Grant(Wire, frozen=True, tag=2):
    """Registers a grant by its hash. Signed by the token's owner key."""

    token: TokenId
    grant_id: GrantId
    sealed_hash: bytes


class Revoke(Wire, frozen=True, tag=3):
    """Ends a grant for good, also one not yet registered. Signed by any owner key since the grant."""

    token: TokenId
    grant_id: GrantId


class Transfer(Wire, frozen=True, tag=4):
    """A new owner. Signed by owner key, next key and the new owner key, in this order."""

    token: TokenId
    generation: int
    reason: str
    next_key: PublicKey
    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey
    sealed_key_hash: bytes
    keep: tuple[GrantId, ...]


class Rotate(Wire, frozen=True, tag=5):
    """New keys of the same owner. Signed by the next key and the new owner key."""

    token: TokenId
    generation: int
    next_key: PublicKey
    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey
    sealed_key_hash: bytes
    keep: tuple[GrantId, ...]


class Erase(Wire, frozen=True, tag=6):
    """Retires the token; holders delete. Signed by owner key and next key."""

    token: TokenId
    generation: int
    next_key: PublicKey


class AuditHead(Wire, frozen=True, tag=7):
    """A member's commitment to its audit log: `head` is the root of the map over its first `sequence`
    records (see `audit_map`)."""

    member: PublicKey
    sequence: int
    head: bytes


Body = Mint | Grant | Revoke | Transfer | Rotate | Erase | AuditHead | MembershipBody

TRANSFER_REASONS = frozenset({"guardian", "majority", "estate", "recovery", "merge"})


class Signature(Wire, frozen=True):
    key: PublicKey
    signature: bytes


class Envelope(Wire, frozen=True):
    body: bytes
    signatures: tuple[Signature, ...]


class UnverifiedTransaction(msgspec.Struct, frozen=True, gc=False):
    """Decoded and of the right shape; its signatures are not checked yet."""

    raw: bytes
    id: TransactionId
    body: Body
    envelope: Envelope


class VerifiedTransaction(msgspec.Struct, frozen=True, gc=False):
    """Every signature in it is valid, and the signers are those that the body names."""

    raw: bytes
    id: TransactionId
    body: Body
    signers: tuple[PublicKey, ...]


def transaction_id(raw: bytes) -> TransactionId:
    """The id of a transaction: of its bytes as received, signatures included."""
    return TransactionId(digest("transaction", raw))


def next_key_hash(next_key: bytes) -> bytes:
    """The commitment of KERI pre-rotation: what a token says of the key that comes next."""
    return digest("next-key", next_key)


def sealed_hash(sealed: bytes) -> bytes:
    """The hash by which a body names detached sealed bytes."""
    return digest("sealed", sealed)


def named_sealed_hash(body: Body) -> bytes | None:
    """The hash of the sealed bytes that must travel beside this body, or None."""
    match body:
        case Grant():
            return body.sealed_hash
        case Mint() | Transfer() | Rotate():
            return body.sealed_key_hash
        case _:
            return None


def sealed_token(name: TransactionId, body: Body) -> TokenId:
    """The token that the sealed bytes beside a transaction belong to."""
    match body:
        case Grant() | Transfer() | Rotate():
            return body.token
        case _:
            return TokenId(name)


def sign_enrolment(enrolment: Enrolment, owner: SigningKey, network: bytes) -> SignedEnrolment:
    """The patient's signature under a one-time owner key."""
    raw = encode(enrolment)
    return SignedEnrolment(raw, owner.sign("enrolment", network, raw))


def verify_enrolment(signed: SignedEnrolment, network: bytes) -> Enrolment:
    """The enrolment of `signed`.

    Raises:
        Malformed: not canonical, of the wrong shape, or not signed by its owner key.
    """
    enrolment = decode(Enrolment, signed.body, limit=limits.KIB)
    _require(is_public_key(enrolment.issuer), "issuer")
    _require_keys(enrolment.owner_key, enrolment.next_key_hash, enrolment.enc_key)
    _require(enrolment.not_after_ms >= 0, "not_after_ms")
    if not verify(enrolment.owner_key, "enrolment", network, signed.body, signed.signature):
        raise Malformed("enrolment is not signed by its owner key")
    return enrolment


def sign_transaction(body: Body, signers: tuple[SigningKey, ...], network: bytes) -> bytes:
    """The transaction's bytes, signed by `signers` in the order that the body's docstring names."""
    raw = encode(body)
    return encode(Envelope(raw, tuple(sign_body(raw, key, network) for key in signers)))


def sign_body(raw: bytes, key: SigningKey, network: bytes) -> Signature:
    """One signature of a transaction with the encoded body `raw`: also a member's approval."""
    return Signature(key.public, key.sign(KIND, network, raw))


def approved_transaction(body: Approved, approvals: Iterable[Signature]) -> bytes:
    """The transaction's bytes of a change with its approvals, given in any order."""
    return encode(Envelope(encode(body), tuple(sorted(approvals, key=lambda item: item.key))))


def decode_transaction(raw: bytes) -> UnverifiedTransaction:
    """The transaction of `raw`, its shape and the names of its signers checked.

    Raises:
        Malformed: not canonical, too long, a field of the wrong shape, or signers missing.
    """
    envelope = decode(Envelope, raw, limit=limits.TRANSACTION_BYTES_MAX)
    body: Body = decode(Body, envelope.body, limit=limits.TRANSACTION_BYTES_MAX)  # type: ignore[arg-type]
    _check_shape(body)
    _check_signers(body, tuple(item.key for item in envelope.signatures))
    return UnverifiedTransaction(raw, transaction_id(raw), body, envelope)


def verify_transaction(unverified: UnverifiedTransaction, network: bytes) -> VerifiedTransaction:
    """`unverified` with every signature checked: the costly step, safe to run in a thread.

    Raises:
        Malformed: a signature, or a mint's enrolment, does not verify.
    """
    envelope, body = unverified.envelope, unverified.body
    for item in envelope.signatures:
        if not verify(item.key, KIND, network, envelope.body, item.signature):
            raise Malformed("transaction signature does not verify")
    match body:
        case Mint():
            _check_enrolment(body, verify_enrolment(body.enrolment, network))
        case Admit():
            verify_admission(body, network)
        case _:
            pass
    signers = tuple(item.key for item in envelope.signatures)
    return VerifiedTransaction(unverified.raw, unverified.id, body, signers)


def _check_enrolment(mint: Mint, enrolment: Enrolment) -> None:
    _require(enrolment.issuer == mint.issuer, "enrolment names another issuer")
    _require(enrolment.owner_key == mint.owner_key, "enrolment names another owner key")
    _require(enrolment.next_key_hash == mint.next_key_hash, "enrolment names another next key")
    _require(enrolment.enc_key == mint.enc_key, "enrolment names another sealing key")


def _check_signers(body: Body, keys: tuple[PublicKey, ...]) -> None:
    match body:
        case Mint():
            expected: tuple[PublicKey | None, ...] = (body.issuer,)
        case Grant() | Revoke():
            expected = (None,)
        case Transfer():
            expected = (None, body.next_key, body.owner_key)
        case Rotate():
            expected = (body.next_key, body.owner_key)
        case Erase():
            expected = (None, body.next_key)
        case AuditHead():
            expected = (body.member,)
        case RotateVoteKey():
            expected = (body.member, body.vote_key)
        case Admit() | Promote() | Suspend() | Remove():
            _require(are_approvers(keys), "signers")
            return
    _require(len(keys) == len(expected), "signers")
    for key, wanted in zip(keys, expected, strict=True):
        _require(is_public_key(key) and wanted in (None, key), "signers")


def _check_shape(body: Body) -> None:
    for size, value, name in _sized_fields(body):
        _require(len(value) == size, name)
    match body:
        case Mint():
            _require(is_public_key(body.issuer), "issuer")
            _require_keys(body.owner_key, body.next_key_hash, body.enc_key)
            _check_content(body.content)
        case Transfer() | Rotate():
            _require(body.generation >= 0, "generation")
            _require(is_public_key(body.next_key), "next_key")
            _require_keys(body.owner_key, body.next_key_hash, body.enc_key)
            _require(len(body.keep) <= limits.KEEP_GRANTS_MAX, "keep")
            _require(list(body.keep) == sorted(set(body.keep)), "keep")
            _require(all(len(item) == HASH_BYTES for item in body.keep), "keep")
            if isinstance(body, Transfer):
                _require(body.reason in TRANSFER_REASONS, "reason")
        case Erase():
            _require(body.generation >= 0, "generation")
            _require(is_public_key(body.next_key), "next_key")
        case AuditHead():
            _require(is_public_key(body.member), "member")
            _require(body.sequence >= 0, "sequence")
        case Grant() | Revoke():
            pass
        case _:
            fault = membership_fault(body)
            _require(not fault, fault)


def _sized_fields(body: Body) -> Iterator[tuple[int, bytes, str]]:
    match body:
        case Mint():
            yield NONCE_BYTES, body.nonce, "nonce"
            yield HASH_BYTES, body.sealed_key_hash, "sealed_key_hash"
            yield SIGNATURE_BYTES, body.enrolment.signature, "enrolment"
        case Grant():
            yield HASH_BYTES, body.token, "token"
            yield HASH_BYTES, body.grant_id, "grant_id"
            yield HASH_BYTES, body.sealed_hash, "sealed_hash"
        case Revoke():
            yield HASH_BYTES, body.token, "token"
            yield HASH_BYTES, body.grant_id, "grant_id"
        case Transfer() | Rotate():
            yield HASH_BYTES, body.token, "token"
            yield HASH_BYTES, body.sealed_key_hash, "sealed_key_hash"
        case Erase():
            yield HASH_BYTES, body.token, "token"
        case AuditHead():
            yield HASH_BYTES, body.head, "head"
        case _:
            pass


def _check_content(content: Content) -> None:
    _require(content.suite == 1, "content.suite")
    _require(content.chunk == limits.CHUNK_BYTES, "content.chunk")
    _require(0 < content.length <= limits.RECORD_BYTES_MAX, "content.length")
    _require(0 < content.chunks <= 2 * limits.RECORD_BYTES_MAX // content.chunk, "content.chunks")
    for name in ("root", "salt", "key_commitment", "plaintext_commitment"):
        _require(len(getattr(content, name)) == HASH_BYTES, f"content.{name}")


def _require_keys(owner_key: bytes, next_hash: bytes, enc_key: bytes) -> None:
    _require(is_public_key(owner_key), "owner_key")
    _require(len(next_hash) == HASH_BYTES, "next_key_hash")
    _require(is_seal_key(enc_key), "enc_key")


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise Malformed(f"transaction field is not acceptable: {name}")
