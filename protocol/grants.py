"""Grants: the body that only its two sides see, and the sealed boxes in which both have it.

The ledger knows a grant by its id, the hash of the body, and no more. Grantee, purposes, dates and
record label travel in an anonymous sealed box, padded so that its size tells little. To read, the
grantee shows the body to a holder, which compares it with the ledger (`protocol.access`). A second box
holds the body for the owner: on a new device she has her words, and nothing else tells her to whom she
gave what.
"""

from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Malformed
from protocol.keys import OpeningKey, PublicKey, SealKey, is_public_key, seal
from protocol.limits import NetworkLimits
from protocol.padded import open_padded, padded
from protocol.persons import is_reference
from protocol.purposes import is_purpose
from protocol.transactions import GrantId, TokenId

READ: Final = "read"
"""The action of fetching ciphertext."""

WHOLE_RECORD: Final = "record"
"""The scope that covers every chunk of the record. Words this version does not know cover nothing."""

SALT_BYTES: Final = 16
CONTENT_KEY_BYTES: Final = 32

_BREAK_GLASS_PURPOSE: Final = "BTG"
_GRANT_PAD_BYTES: Final = 512
_BODY_PAD_BYTES: Final = 256
_KEY_PAD_BYTES: Final = 256


class GrantBody(Wire, frozen=True):
    """What the patient allows. Lists are sorted and without repetition; none may be empty but
    `obligations`. `break_glass` says the same as the purpose BTG. `salt` makes the id unguessable."""

    token: TokenId
    grantee_key: PublicKey
    actions: tuple[str, ...]
    purposes: tuple[str, ...]
    not_before_ms: int
    not_after_ms: int
    max_stale_s: int
    scope: tuple[str, ...]
    obligations: tuple[str, ...]
    break_glass: bool
    salt: bytes


class RecordLabel(Wire, frozen=True):
    """What a record is called, for people. `size` is in bytes, `time_ms` when it was added.

    `file_name` is a name and never a path; `type` is a `protocol.records.RecordType` word. `prior` is the
    id of the token that this one amends, or empty: here and not on the ledger, where it would link the two.
    `keep_until_ms` is when the duty to keep it ends that its issuer named, 0 where it named none.
    """

    title: str
    type: str
    file_name: str
    size: int
    time_ms: int
    prior: bytes
    keep_until_ms: int = 0


class SealedGrant(Wire, frozen=True):
    """What the grantee receives: the encoded GrantBody, the content key and the label. `reference` is whose
    record it is, as this grantee knows her (`protocol.persons`)."""

    body: bytes
    content_key: bytes
    label: RecordLabel
    reference: bytes


class GrantBoxes(Wire, frozen=True):
    """The detached bytes of a grant: a SealedGrant for the grantee, and the body for the owner."""

    grantee: bytes
    owner: bytes


class SealedKey(Wire, frozen=True):
    """What the owner receives with a mint, and leaves herself on transfer and rotation.

    `reference` is whose record it is, as its issuer knows her, or for the owner key to which it is sealed.
    It is not in the label, which all grantees see: by it they could compare whom they know.
    """

    content_key: bytes
    label: RecordLabel
    reference: bytes


@dataclass(frozen=True, slots=True)
class OpenedGrant:
    """A grant out of its box. It counts only if `grant_id` is the one that the ledger names."""

    grant_id: GrantId
    body: GrantBody
    sealed: SealedGrant


def grant_id(body: bytes) -> GrantId:
    """The id of an encoded GrantBody."""
    return GrantId(digest("grant", body))


def decode_grant_body(raw: bytes, network_limits: NetworkLimits) -> GrantBody:
    """The body of `raw`. Raises Malformed: not canonical, or a field out of its limits."""
    body = decode(GrantBody, raw, limit=limits.GRANT_BODY_BYTES_MAX)
    check_grant_body(body, network_limits)
    return body


def check_grant_body(body: GrantBody, network_limits: NetworkLimits) -> None:
    """Raises Malformed, naming the field, where `body` is not one that a node may act on."""
    _require(len(body.token) == HASH_BYTES, "token")
    _require(is_public_key(body.grantee_key), "grantee_key")
    _require_words(body.actions, limits.ACTIONS_MAX, "actions")
    _require_words(body.purposes, limits.PURPOSES_MAX, "purposes")
    _require(all(map(is_purpose, body.purposes)), "purposes")
    _require_words(body.scope, limits.SCOPE_ITEMS_MAX, "scope")
    if body.obligations:
        _require_words(body.obligations, limits.OBLIGATIONS_MAX, "obligations")
    _require(body.break_glass == (_BREAK_GLASS_PURPOSE in body.purposes), "break_glass")
    _require(0 <= body.not_before_ms < body.not_after_ms, "not_after_ms")
    _require(body.not_after_ms - body.not_before_ms <= network_limits.grant_life_max_ms, "not_after_ms")
    _require(1 <= body.max_stale_s <= limits.MAX_STALE_S_MAX, "max_stale_s")
    _require(len(body.salt) == SALT_BYTES, "salt")


def check_label(label: RecordLabel) -> None:
    """Raises Malformed, naming the field, where `label` is out of its limits or not printable."""
    for value, longest, name in (
        (label.title, limits.TITLE_CHARS_MAX, "title"),
        (label.type, limits.WORD_CHARS_MAX, "type"),
        (label.file_name, limits.FILE_NAME_CHARS_MAX, "file_name"),
    ):
        _require(len(value) <= longest and value.isprintable(), name)
    _require(not {"/", "\\"} & set(label.file_name), "file_name")
    _require(label.file_name not in (".", ".."), "file_name")
    _require(label.size >= 0 and label.time_ms >= 0, "size")
    _require(len(label.prior) in (0, HASH_BYTES), "prior")
    kept_ms = label.keep_until_ms - label.time_ms
    _require(label.keep_until_ms == 0 or 0 < kept_ms <= limits.RETENTION_MS_MAX, "keep_until_ms")


def seal_grant(
    body: GrantBody,
    content_key: bytes,
    label: RecordLabel,
    reference: bytes,
    *,
    to: SealKey,
    owner: SealKey,
    network_limits: NetworkLimits,
    entropy: bytes,
) -> tuple[GrantId, bytes]:
    """The grant's id and its sealed bytes, for the grantee's sealing key `to` and the owner's.

    `entropy` is 32 fresh random bytes. Raises Malformed where a field is out of its limits.
    """
    check_grant_body(body, network_limits)
    _check_sealed(content_key, label, reference)
    raw = encode(body)
    sealed = padded(SealedGrant(raw, content_key, label, reference), _GRANT_PAD_BYTES)
    boxes = GrantBoxes(
        seal(to, sealed, entropy=entropy),
        seal(owner, padded(body, _BODY_PAD_BYTES), entropy=digest("owner-box", entropy)),
    )
    return grant_id(raw), encode(boxes)


def open_grant(opening_key: OpeningKey, sealed: bytes, network_limits: NetworkLimits) -> OpenedGrant | None:
    """The grant in `sealed`, or None: not for this key, or not a grant that any holder would honour.

    The caller compares the id, and `body.token`, with those of the transaction beside it.
    """
    boxes = _boxes(sealed)
    opened = None
    if boxes is not None:
        opened = open_padded(SealedGrant, opening_key, boxes.grantee, _GRANT_PAD_BYTES)
    if opened is None:
        return None
    try:
        _check_sealed(opened.content_key, opened.label, opened.reference)
        return OpenedGrant(grant_id(opened.body), decode_grant_body(opened.body, network_limits), opened)
    except Malformed:
        return None


def owner_box(sealed: bytes) -> bytes:
    """The owner's box out of a grant's sealed bytes, empty where they are no such bytes."""
    boxes = _boxes(sealed)
    return b"" if boxes is None else boxes.owner


def open_owner_box(opening_key: OpeningKey, box: bytes, network_limits: NetworkLimits) -> bytes | None:
    """The encoded GrantBody in an owner's box, or None: not for this key, or no body that a holder would
    honour. The caller compares its hash with the grant's id."""
    opened = open_padded(GrantBody, opening_key, box, _BODY_PAD_BYTES)
    if opened is None:
        return None
    try:
        check_grant_body(opened, network_limits)
    except Malformed:
        return None
    return encode(opened)


def seal_key(held: SealedKey, *, to: SealKey, entropy: bytes) -> bytes:
    """What the owner is to have, sealed to her sealing key `to`.

    `entropy` is 32 fresh random bytes. Raises Malformed where a field is out of its limits.
    """
    _check_sealed(held.content_key, held.label, held.reference)
    return seal(to, padded(held, _KEY_PAD_BYTES), entropy=entropy)


def open_key(opening_key: OpeningKey, sealed: bytes) -> SealedKey | None:
    """What the owner received in `sealed`, or None where it is not for this key or not of this form."""
    opened = open_padded(SealedKey, opening_key, sealed, _KEY_PAD_BYTES)
    if opened is None:
        return None
    try:
        _check_sealed(opened.content_key, opened.label, opened.reference)
    except Malformed:
        return None
    return opened


def _check_sealed(content_key: bytes, label: RecordLabel, reference: bytes) -> None:
    _require(len(content_key) == CONTENT_KEY_BYTES, "content_key")
    _require(is_reference(reference), "reference")
    check_label(label)


def _boxes(sealed: bytes) -> GrantBoxes | None:
    try:
        return decode(GrantBoxes, sealed, limit=limits.SEALED_BYTES_MAX)
    except Malformed:
        return None


def _require_words(words: tuple[str, ...], count_max: int, name: str) -> None:
    _require(1 <= len(words) <= count_max and list(words) == sorted(set(words)), name)
    for word in words:
        _require(0 < len(word) <= limits.WORD_CHARS_MAX and word.isascii() and word.isprintable(), name)


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise Malformed(f"grant field is not acceptable: {name}")
