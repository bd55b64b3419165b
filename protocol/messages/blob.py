"""The `blob` protocol: ciphertext to its holders and to those with a live grant.

A stream carries one exchange after another. Push (members only): PushRequest, then, where the reply is
PushGo, the chunks as ChunkFrame from `next_chunk` on, then Holding. Fetch: NonceRequest, Nonce, a
SignedFetchRequest, then Serve followed by one ChunkFrame for each chunk, or Refusal and nothing else. Where
it came as a PacedCall, the chunks follow as ReadCalls ask for them, until the asker ends the stream.
Copy (among the holders of a blob): CopyRequest, then CopyGo followed by the chunks, or Refusal.
"""

from protocol import limits
from protocol.access import NONCE_BYTES, SignedFetchRequest
from protocol.codec import HASH_BYTES, Wire, decode
from protocol.errors import Malformed
from protocol.keys import PublicKey
from protocol.transactions import Content, TokenId

PATH_MAX = 24  # a tree of 2^24 chunks of 256 KiB is 4 TiB
_CHUNKS_MAX = 2**PATH_MAX


class NonceRequest(Wire, frozen=True, tag=1):
    """Asks for the nonce of the next fetch on this stream."""


class FetchCall(Wire, frozen=True, tag=2):
    signed: SignedFetchRequest


class PushRequest(Wire, frozen=True, tag=3):
    """Offers a blob to a clinic that placement names as a holder."""

    content: Content


class CopyRequest(Wire, frozen=True, tag=10):
    """Asks, as one that should hold the token's ciphertext too, for some of its chunks: all of them to
    have a copy again, a single one to see whether the other holder has it.
    """

    token: TokenId
    first_chunk: int
    chunk_count: int


class PacedCall(Wire, frozen=True, tag=12):
    """As FetchCall, and after Serve nothing comes but what ReadCalls ask for: so that several holders can
    each bring a part of one record.
    """

    signed: SignedFetchRequest


class ReadCall(Wire, frozen=True, tag=13):
    """Asks for the next chunks under a PacedCall: some of those in its request, and together no more."""

    first_chunk: int
    chunk_count: int


BlobQuestion = NonceRequest | FetchCall | PushRequest | CopyRequest | PacedCall | ReadCall


class Nonce(Wire, frozen=True, tag=4):
    nonce: bytes


class Refusal(Wire, frozen=True, tag=5):
    """The one answer to all that is not served, whatever the reason: no field, always the same bytes."""


class Serve(Wire, frozen=True, tag=6):
    """The chunks asked for follow. `audit_sequence` is the server's audit record of it."""

    content: Content
    audit_sequence: int


class PushGo(Wire, frozen=True, tag=7):
    """Send from this chunk on; equal to `content.chunks` where all are here already."""

    next_chunk: int


class Holding(Wire, frozen=True, tag=8):
    """The holder's signature, as kind `holding`, over the content's root: it stores every chunk."""

    holder: PublicKey
    root: bytes
    signature: bytes


class CopyGo(Wire, frozen=True, tag=11):
    """The chunks asked for follow."""


BlobReply = Nonce | Refusal | Serve | PushGo | Holding | CopyGo


class ChunkFrame(Wire, frozen=True, tag=9):
    """One chunk of ciphertext with its RFC 9162 path to the content's root."""

    index: int
    path: tuple[bytes, ...]
    ciphertext: bytes


def decode_blob_question(raw: bytes) -> BlobQuestion:
    """Raises Malformed."""
    question: BlobQuestion = decode(BlobQuestion, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)  # type: ignore[arg-type]
    match question:
        case CopyRequest(token, first, count):
            _require(len(token) == HASH_BYTES and first >= 0 and 0 < count <= _CHUNKS_MAX)
        case ReadCall(first, count):
            _require(first >= 0 and 0 < count <= _CHUNKS_MAX)
        case NonceRequest() | FetchCall() | PacedCall() | PushRequest():
            pass
    return question


def decode_blob_reply(raw: bytes) -> BlobReply:
    """Raises Malformed."""
    reply: BlobReply = decode(BlobReply, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)  # type: ignore[arg-type]
    match reply:
        case Nonce(nonce):
            _require(len(nonce) == NONCE_BYTES)
        case PushGo(next_chunk):
            _require(next_chunk >= 0)
        case Serve(_, sequence):
            _require(sequence >= 0)
        case Refusal() | Holding() | CopyGo():
            pass
    return reply


def decode_chunk_frame(raw: bytes) -> ChunkFrame:
    """Raises Malformed. Whether the chunk is right, only its path shows."""
    chunk = decode(ChunkFrame, raw, limit=limits.CHUNK_FRAME_BYTES_MAX)
    _require(chunk.index >= 0 and len(chunk.path) <= PATH_MAX)
    _require(0 < len(chunk.ciphertext) <= limits.CHUNK_BYTES)
    _require(all(len(item) == HASH_BYTES for item in chunk.path))
    return chunk


def _require(condition: bool) -> None:
    if not condition:
        raise Malformed("blob message has a field out of its limits")
