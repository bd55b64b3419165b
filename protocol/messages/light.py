"""The `light` protocol: what a light client asks of any clinic, and verifies for itself.

Nothing here is believed because a clinic says it. Headers are verified by chain and finalization,
transactions by their path to a final header's root. What only the owner may see (her sealed keys) is
asked for under her owner key's signature.
"""

from collections.abc import Sequence

from protocol import limits
from protocol.access_requests import RequestId
from protocol.blocks import BlockHash, Finality, Header, SignedCard
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.epochs import Opening
from protocol.errors import Malformed
from protocol.invitations import SignedInvitation
from protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey, is_public_key, verify
from protocol.ownership import Ownership
from protocol.proofs import Route, StateProof
from protocol.roll import Roll
from protocol.transactions import GrantId, TokenId, TransactionId

HEADERS_MAX = 256
TRANSACTIONS_MAX = 64
OWNER_KEYS_MAX = 64
NONCE_BYTES = 32
WAIT_MS_MAX = 8_000
_OWNED = "owned"


class HeadersRequest(Wire, frozen=True, tag=1):
    """Asks for final headers from `height` on; waits up to `wait_ms` for one where there is none yet."""

    height: int
    wait_ms: int


class HeadersReply(Wire, frozen=True, tag=2):
    """Consecutive headers of one epoch, the last with its finality; none where nothing is newer.

    Where the header before them closes its epoch, `opening` shows the committee of these. Where the last
    of them does, `closing` shows the next committee: the only one that counts after it.
    """

    headers: tuple[Header, ...]
    finality: Finality | None
    opening: Opening | None
    closing: Opening | None
    head: int


class LocateRequest(Wire, frozen=True, tag=3):
    """Asks where transactions are final; waits up to `wait_ms` until all are."""

    transactions: tuple[TransactionId, ...]
    wait_ms: int


class Located(Wire, frozen=True):
    """Transaction `raw` is number `index` of `size` in the block of this height and hash."""

    raw: bytes
    height: int
    block: BlockHash
    index: int
    size: int
    path: tuple[bytes, ...]


class LocateReply(Wire, frozen=True, tag=4):
    """One entry for each transaction asked for, in order; None where it is not final here."""

    located: tuple[Located | None, ...]


class OwnedRequest(Wire, frozen=True, tag=5):
    """Asks what one-time owner keys own, whatever gave it to them. Each key signs (see `OwnedProof`),
    so that nobody else learns whether a key owns something."""

    nonce: bytes
    keys: tuple[PublicKey, ...]
    signatures: tuple[bytes, ...]


class OwnedProof(Wire, frozen=True):
    """What each owner key signs, as kind `owned`: this clinic and the nonce it gave."""

    server: PublicKey
    nonce: bytes


class Owned(Wire, frozen=True):
    """What the state says of a key, and the sealed content key where it is the token's owner."""

    ownership: Ownership
    sealed_key: bytes


class OwnedReply(Wire, frozen=True, tag=6):
    """One entry for each key asked for, in order, after the final block of `height`; None where the key's
    signature is not right."""

    height: int
    owned: tuple[Owned | None, ...]


class NonceRequest(Wire, frozen=True, tag=7):
    """Asks for a nonce for one signed request on this stream."""


class NonceReply(Wire, frozen=True, tag=8):
    nonce: bytes


class GenesisRequest(Wire, frozen=True, tag=9):
    """Asks for the genesis file: what a clinic that was invited knows only the hash of."""


class GenesisReply(Wire, frozen=True, tag=10):
    """The encoded Genesis. Its hash is the network's id."""

    genesis: bytes


class JoinRequest(Wire, frozen=True, tag=11):
    """An invited clinic asks to be admitted, and how far that is; asking again changes nothing.

    `acceptance` is the signature of the card's identity key, as kind `terms`, over the terms' hash.
    """

    invitation: SignedInvitation
    card: SignedCard
    acceptance: bytes


class JoinReply(Wire, frozen=True, tag=12):
    """`taken` is False for whoever may not ask, without a reason. `approvals` of the `needed` are there;
    `admitted` once the clinic is a member."""

    taken: bool
    admitted: bool
    approvals: int
    needed: int


class RollRequest(Wire, frozen=True, tag=13):
    """Asks who is a member now."""


class RollReply(Wire, frozen=True, tag=14):
    """The roll after the final block of `height`, proven against its header."""

    height: int
    roll: Roll


class RouteRequest(Wire, frozen=True, tag=15):
    """Asks for the way from the committee of `epoch` to the newest final header."""

    epoch: int


class RouteReply(Wire, frozen=True, tag=16):
    """The way, or a part of it that ends with an epoch; None where there is none from that epoch."""

    route: Route | None


class Subject(Wire, frozen=True):
    """What a proof is asked about: a token, or one of its grants where `grant` is not empty."""

    token: TokenId
    grant: GrantId


class ProofRequest(Wire, frozen=True, tag=17):
    """Asks for a proof of the newest state, from the committee of `epoch` on.

    `keys[i]` owns or owned the token of `subjects[i]`, and signs as for OwnedRequest: what is so of a
    grant is told to nobody else.
    """

    nonce: bytes
    epoch: int
    subjects: tuple[Subject, ...]
    keys: tuple[PublicKey, ...]
    signatures: tuple[bytes, ...]


class ProofReply(Wire, frozen=True, tag=18):
    """The proof, its standings in the order asked; None without a reason."""

    proof: StateProof | None


class GrantsRequest(Wire, frozen=True, tag=19):
    """Asks for the owner's copies of the live grants of the token that `key` owns, those with ids after
    `after`, which is empty at first. The key signs as for OwnedRequest."""

    nonce: bytes
    key: PublicKey
    signature: bytes
    after: GrantId


class OwnerCopy(Wire, frozen=True):
    """A grant, and the box in which its owner left herself the body."""

    grant: GrantId
    box: bytes


class GrantsReply(Wire, frozen=True, tag=20):
    """Ids rise. `next` is what to ask after for more; empty where that was all, or nothing is told."""

    copies: tuple[OwnerCopy, ...]
    next: GrantId


class WaitingRequest(Wire, frozen=True, tag=21):
    """Asks which of this clinic's access requests wait for the holders of `keys`, who sign as for
    OwnedRequest: to others it is not told whether one was asked."""

    nonce: bytes
    keys: tuple[PublicKey, ...]
    signatures: tuple[bytes, ...]


class Waiting(Wire, frozen=True):
    """A box for the holder of `key`: see `protocol.access_requests.open_request`."""

    key: PublicKey
    sealed: bytes


class WaitingReply(Wire, frozen=True, tag=22):
    waiting: tuple[Waiting, ...]


class AnswerRequest(Wire, frozen=True, tag=23):
    """The answer to an access request of this clinic, signed by the key that it was addressed to."""

    request: RequestId
    is_approved: bool
    signature: bytes


class AnswerReply(Wire, frozen=True, tag=24):
    """`taken` is False for whoever may not answer and where nothing was asked, without a reason."""

    taken: bool


def sign_owned(proof: OwnedProof, key: SigningKey, network: bytes) -> bytes:
    """What the holder of owner key `key` shows to the clinic that gave the nonce."""
    return key.sign(_OWNED, network, encode(proof))


def verify_owned(proof: OwnedProof, key: PublicKey, signature: bytes, network: bytes) -> bool:
    """Whether the holder of `key` made `signature` over `proof`."""
    return verify(key, _OWNED, network, encode(proof), signature)


LightQuestion = (
    HeadersRequest
    | LocateRequest
    | OwnedRequest
    | NonceRequest
    | GenesisRequest
    | JoinRequest
    | RollRequest
    | RouteRequest
    | ProofRequest
    | GrantsRequest
    | WaitingRequest
    | AnswerRequest
)


def decode_light_question(raw: bytes) -> LightQuestion:
    """Raises Malformed."""
    question: LightQuestion = decode(
        LightQuestion,  # type: ignore[arg-type]
        raw,
        limit=limits.CONTROL_FRAME_BYTES_MAX,
    )
    match question:
        case HeadersRequest(height, wait_ms):
            _require(height >= 1 and 0 <= wait_ms <= WAIT_MS_MAX)
        case LocateRequest(transactions, wait_ms):
            _require(1 <= len(transactions) <= TRANSACTIONS_MAX and 0 <= wait_ms <= WAIT_MS_MAX)
            _require(all(len(item) == HASH_BYTES for item in transactions))
        case OwnedRequest(nonce, keys, signatures) | WaitingRequest(nonce, keys, signatures):
            _require(len(nonce) == NONCE_BYTES and 1 <= len(keys) <= OWNER_KEYS_MAX)
            _require(len(keys) == len(signatures) and all(map(is_public_key, keys)))
            _require(all(len(item) == SIGNATURE_BYTES for item in signatures))
        case ProofRequest(nonce, epoch, subjects, keys, signatures):
            _require(len(nonce) == NONCE_BYTES and epoch >= 0 and 1 <= len(subjects) <= limits.CLAIMS_MAX)
            _require(len(subjects) == len(keys) == len(signatures) and all(map(is_public_key, keys)))
            _require(all(len(item) == SIGNATURE_BYTES for item in signatures))
            _require(all(len(one.token) == HASH_BYTES for one in subjects))
            _require(all(len(one.grant) in (0, HASH_BYTES) for one in subjects))
        case GrantsRequest(nonce, key, signature, after):
            _require(len(nonce) == NONCE_BYTES and is_public_key(key))
            _require(len(signature) == SIGNATURE_BYTES and len(after) in (0, HASH_BYTES))
        case AnswerRequest(request, _, signature):
            _require(len(request) == HASH_BYTES and len(signature) == SIGNATURE_BYTES)
        case RouteRequest(epoch):
            _require(epoch >= 0)
        case JoinRequest(_, _, acceptance):
            _require(len(acceptance) == SIGNATURE_BYTES)
        case NonceRequest() | GenesisRequest() | RollRequest():
            pass
    return question


def decode_waiting_reply(raw: bytes, keys: Sequence[PublicKey]) -> WaitingReply:
    """The reply to a WaitingRequest about `keys`. Raises Malformed."""
    reply = decode(WaitingReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
    _require(len(reply.waiting) <= limits.REQUESTS_REPLY_MAX)
    _require(all(one.key in keys for one in reply.waiting))
    return reply


def decode_join_reply(raw: bytes) -> JoinReply:
    """Raises Malformed."""
    reply = decode(JoinReply, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)
    _require(0 <= reply.approvals <= limits.MEMBERS_MAX and 0 <= reply.needed <= limits.MEMBERS_MAX)
    return reply


def _require(condition: bool) -> None:
    if not condition:
        raise Malformed("light request has a field out of its limits")
