"""The `audit` protocol: an owner asks a clinic who asked for her records there.

NonceRequest, Nonce, then AuditQuestion signed under the owner key of each token; the reply holds the
records of those tokens with the clinic's signed head, and shows that these are all of them. A clinic
that was not asked by the owner says nothing, in the same bytes as where there is nothing to say.
"""

from protocol import limits
from protocol.audit import AuditRecord
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.errors import Malformed
from protocol.excerpt import Excerpt
from protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey, is_public_key, verify
from protocol.transactions import TokenId

NONCE_BYTES = 32
TOKENS_MAX = 32
_HEAD = "audit-head"


class NonceRequest(Wire, frozen=True, tag=1):
    """Asks for the nonce of the next question on this stream."""


class AuditQuestion(Wire, frozen=True, tag=2):
    """`keys[i]` signs for `tokens[i]` (see `AuditProof`). Asks for records after sequence `after`, and for
    what shows them to be all against the head that the ledger has for this clinic, over its first
    `posted` records (0 where it has none)."""

    nonce: bytes
    tokens: tuple[TokenId, ...]
    keys: tuple[PublicKey, ...]
    signatures: tuple[bytes, ...]
    after: int
    posted: int


class AuditProof(Wire, frozen=True):
    """What an owner key signs, as kind `audit-question`: the clinic asked, its nonce, her token."""

    server: PublicKey
    nonce: bytes
    token: TokenId


class Nonce(Wire, frozen=True, tag=3):
    nonce: bytes


class SignedHead(Wire, frozen=True):
    """The clinic's audit head, signed as kind `audit-head` over `AuditHeadBody`."""

    body: bytes
    signature: bytes


class AuditHeadBody(Wire, frozen=True):
    """`head` is the root of the map over the first `sequence` records (see `audit_map`)."""

    server: PublicKey
    sequence: int
    head: bytes
    time_ms: int


def sign_head(body: AuditHeadBody, key: SigningKey, network: bytes) -> SignedHead:
    """The head of a clinic's log, signed by its identity key."""
    raw = encode(body)
    return SignedHead(raw, key.sign(_HEAD, network, raw))


def open_head(signed: SignedHead, server: PublicKey, network: bytes) -> AuditHeadBody:
    """The head that `server` signed. Raises Malformed."""
    head = decode(AuditHeadBody, signed.body, limit=limits.KIB)
    if head.server != server or not verify(server, _HEAD, network, signed.body, signed.signature):
        raise Malformed("the clinic's audit head is not signed by it")
    return head


class AuditReply(Wire, frozen=True, tag=4):
    """Records in rising sequence; `more` where the frame's limit cut them: ask again `after` the last.

    With the last of them `shown` has the places of the tokens under `head`, and `posted` those under the
    head asked for, None where this clinic cannot show that one.
    """

    records: tuple[AuditRecord, ...]
    head: SignedHead
    more: bool
    shown: Excerpt | None
    posted: Excerpt | None


AuditAsk = NonceRequest | AuditQuestion


def decode_audit_ask(raw: bytes) -> AuditAsk:
    """Raises Malformed."""
    ask: AuditAsk = decode(AuditAsk, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)  # type: ignore[arg-type]
    if isinstance(ask, AuditQuestion):
        count = len(ask.tokens)
        shapely = (
            len(ask.nonce) == NONCE_BYTES
            and 1 <= count <= TOKENS_MAX
            and count == len(ask.keys) == len(ask.signatures)
            and all(len(item) == HASH_BYTES for item in ask.tokens)
            and all(map(is_public_key, ask.keys))
            and all(len(item) == SIGNATURE_BYTES for item in ask.signatures)
            and ask.after >= 0
            and ask.posted >= 0
        )
        if not shapely:
            raise Malformed("audit question has a field out of its limits")
    return ask


def decode_audit_reply(raw: bytes) -> AuditReply:
    """Raises Malformed."""
    return decode(AuditReply, raw, limit=limits.AUDIT_REPLY_BYTES_MAX)
