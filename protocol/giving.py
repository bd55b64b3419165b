"""A record given to another person: what the two sides hand each other, and what each of them signs.

The receiver's device makes a take code: one-time keys, and consent to be given one record under them. The
giver signs a transfer to these keys and hands it back as a gift. It is no transaction until the receiver
has signed it too: nobody is given a record unasked, and a gift gone astray is of no use to its finder.
"""

from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.armour import CodeKind, unwrap_code, wrap_code
from protocol.blocks import NetworkId
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.errors import Code, Malformed, UserError
from protocol.grants import SealedKey, seal_key
from protocol.keys import NETWORK_ID_BYTES, PublicKey, SigningKey, verify
from protocol.persons import is_reference
from protocol.rekeying import FreshKeys
from protocol.transactions import (
    KIND,
    TRANSFER_REASONS,
    Enrolment,
    Envelope,
    Signature,
    SignedEnrolment,
    TokenId,
    Transfer,
    sealed_hash,
    sign_body,
    sign_enrolment,
    verify_enrolment,
)

_ASK_AGAIN: Final = {
    CodeKind.TAKE: "ask the receiver for a new one, from: chartmesh my take",
    CodeKind.GIFT: "ask the giver for a new one, made for a new code of yours",
}


class TakeCode(Wire, frozen=True):
    """What a receiver gives out. The consent is an enrolment with no clinic: its issuer is its own owner
    key, so that nothing can be minted by it. `name` is what the receiver calls himself; `reference` tells
    the receiver's own wallet for whom the record is (`protocol.persons`)."""

    network: NetworkId
    name: str
    consent: SignedEnrolment
    reference: bytes


class Gift(Wire, frozen=True):
    """A transfer that lacks the receiver's signature, and the sealed key that travels beside it."""

    network: NetworkId
    consent: SignedEnrolment
    body: bytes
    by_owner: Signature
    by_next_key: Signature
    sealed: bytes


@dataclass(frozen=True, slots=True)
class VerifiedGift:
    """A gift whose signatures hold: nothing but the receiver's is missing."""

    gift: Gift
    transfer: Transfer
    consent: Enrolment


def sign_consent(owner: SigningKey, keys: FreshKeys, not_after_ms: int, network: bytes) -> SignedEnrolment:
    """The consent to be given one record under `keys`, whose owner key is `owner`, up to Unix time
    `not_after_ms`."""
    terms = Enrolment(owner.public, keys.owner_key, keys.next_key_hash, keys.enc_key, not_after_ms)
    return sign_enrolment(terms, owner, network)


def verify_take(code: TakeCode) -> Enrolment:
    """The receiver's consent. Raises Malformed: a field out of its limits, or not signed by its owner
    key."""
    _require(1 <= len(code.name) <= limits.NAME_CHARS_MAX and code.name.isprintable(), "name")
    _require(is_reference(code.reference), "reference")
    return _verify_consent(code.consent, code.network)


def encode_take(code: TakeCode) -> str:
    """The text of a take code, `CM1…`. Raises Malformed, as `verify_take` does."""
    verify_take(code)
    return wrap_code(CodeKind.TAKE, encode(code))


def decode_take(text: str) -> TakeCode:
    """The take code of `text`, verified. Raises UserError RECEIVE_CODE: a slip, or not from a device."""
    payload = unwrap_code(CodeKind.TAKE, text)
    try:
        code = decode(TakeCode, payload, limit=limits.CODE_BYTES_MAX)
        verify_take(code)
    except Malformed as error:
        raise unusable(CodeKind.TAKE, "this code is not valid") from error
    return code


def sign_gift(
    token: TokenId,
    generation: int,
    held: SealedKey,
    *,
    to: TakeCode,
    reason: str,
    owner: SigningKey,
    next_key: SigningKey,
    entropy: bytes,
) -> Gift:
    """The gift that ends `generation` of `token`, and every grant with it.

    `held` is sealed to the receiver, as that of his person; `entropy` is 32 fresh random bytes.
    """
    consent = verify_take(to)
    given = SealedKey(held.content_key, held.label, to.reference)
    sealed = seal_key(given, to=consent.enc_key, entropy=entropy)
    transfer = Transfer(
        token=token,
        generation=generation,
        reason=reason,
        next_key=next_key.public,
        owner_key=consent.owner_key,
        next_key_hash=consent.next_key_hash,
        enc_key=consent.enc_key,
        sealed_key_hash=sealed_hash(sealed),
        keep=(),
    )
    body, network = encode(transfer), to.network
    by_owner, by_next_key = (sign_body(body, key, network) for key in (owner, next_key))
    return Gift(network, to.consent, body, by_owner, by_next_key, sealed)


def verify_gift(gift: Gift) -> VerifiedGift:
    """What `gift` would give, its signatures checked: whether the ledger agrees is for the ledger to say.

    Raises:
        Malformed: a field out of its limits, keys that the receiver did not consent to (he could not undo
            what another's next key does), shares that would live on, or a signature that does not verify.
    """
    consent = _verify_consent(gift.consent, gift.network)
    transfer = decode(Transfer, gift.body, limit=limits.TRANSACTION_BYTES_MAX)
    given = (transfer.owner_key, transfer.next_key_hash, transfer.enc_key)
    _require(given == (consent.owner_key, consent.next_key_hash, consent.enc_key), "keys")
    _require(len(transfer.token) == HASH_BYTES and transfer.generation >= 0, "token")
    _require(transfer.reason in TRANSFER_REASONS, "reason")
    _require(transfer.keep == (), "keep")
    _require(transfer.sealed_key_hash == sealed_hash(gift.sealed), "sealed")
    _require(gift.by_next_key.key == transfer.next_key, "next_key")
    for item in (gift.by_owner, gift.by_next_key):
        _require(verify(item.key, KIND, gift.network, gift.body, item.signature), "signature")
    return VerifiedGift(gift, transfer, consent)


def encode_gift(gift: Gift) -> str:
    """The text of a gift, `CM1…`. Raises Malformed, as `verify_gift` does."""
    verify_gift(gift)
    return wrap_code(CodeKind.GIFT, encode(gift))


def decode_gift(text: str) -> VerifiedGift:
    """The gift of `text`, verified. Raises UserError RECEIVE_CODE: a slip, or not from a device."""
    payload = unwrap_code(CodeKind.GIFT, text)
    try:
        return verify_gift(decode(Gift, payload, limit=limits.CODE_BYTES_MAX))
    except Malformed as error:
        raise unusable(CodeKind.GIFT, "this code is not valid") from error


def sign_taken(gift: Gift, owner: SigningKey) -> bytes:
    """The transfer's bytes, with the signature of the receiver's one-time key `owner`."""
    by_receiver = sign_body(gift.body, owner, gift.network)
    return encode(Envelope(gift.body, (gift.by_owner, gift.by_next_key, by_receiver)))


def check_usable(
    kind: CodeKind, consent: Enrolment, code_network: bytes, network: bytes, now_ms: int
) -> None:
    """Raises UserError RECEIVE_CODE: for another network, or expired."""
    if code_network != network:
        raise unusable(kind, "this code is for another network")
    if now_ms > consent.not_after_ms:
        raise unusable(kind, "this code has expired")


def unusable(kind: CodeKind, message: str) -> UserError:
    """The refusal of a take code or a gift, with what to do next."""
    return UserError(message, _ASK_AGAIN[kind], code=Code.RECEIVE_CODE)


def _verify_consent(signed: SignedEnrolment, network: bytes) -> Enrolment:
    _require(len(network) == NETWORK_ID_BYTES, "network")
    consent = verify_enrolment(signed, network)
    _require(consent.issuer == PublicKey(consent.owner_key), "issuer")
    return consent


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise Malformed(f"field of a gift or its code is not acceptable: {name}")
