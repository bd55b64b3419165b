"""The `blocks` protocol: catch-up by height range, for members and (headers apart) nobody else.

Requests and replies travel one frame each on a kept stream, in turn.
"""

from protocol import limits
from protocol.blocks import Block, Finality, check_block
from protocol.codec import HASH_BYTES, Wire, decode
from protocol.errors import Malformed
from protocol.transactions import TokenId

NONCE_BYTES = 16


class FinalBlock(Wire, frozen=True):
    """A block with its own finalization: what the gossip topic `blocks` carries."""

    block: Block
    finality: Finality


class BlocksRequest(Wire, frozen=True, tag=1):
    """Asks for final blocks from `height` to `last`, or as many of them as fit the reply.

    Where block `last` has no finalization of its own, the reply goes on to the next that has one.
    """

    height: int
    last: int


class TimeRequest(Wire, frozen=True, tag=2):
    """Asks what time it is there, and how far the ledger is."""

    nonce: bytes


class BlocksReply(Wire, frozen=True, tag=3):
    """Consecutive blocks of one epoch, the last with its own finality; none where nothing is newer."""

    blocks: tuple[Block, ...]
    finality: Finality | None
    head: int


class TimeReply(Wire, frozen=True, tag=4):
    nonce: bytes
    time_ms: int
    head: int


class SealedName(Wire, frozen=True):
    """Sealed bytes by the token that they belong to and their hash."""

    token: TokenId
    sealed_hash: bytes


class SealedRequest(Wire, frozen=True, tag=5):
    """Asks for sealed bytes that the asker lacks."""

    wanted: tuple[SealedName, ...]


class SealedReply(Wire, frozen=True, tag=6):
    """One entry for each that was asked for, in order; empty where it is not here."""

    sealed: tuple[bytes, ...]


BlocksQuestion = BlocksRequest | TimeRequest | SealedRequest


def decode_question(raw: bytes) -> BlocksQuestion:
    """Raises Malformed."""
    question: BlocksQuestion = decode(
        BlocksQuestion,  # type: ignore[arg-type]
        raw,
        limit=limits.CONTROL_FRAME_BYTES_MAX,
    )
    match question:
        case BlocksRequest(height, last):
            _require(0 <= height <= last)
        case TimeRequest(nonce):
            _require(len(nonce) == NONCE_BYTES)
        case SealedRequest(wanted):
            _require(1 <= len(wanted) <= limits.SEALED_ASKED_MAX)
            _require(all(len(one.token) == len(one.sealed_hash) == HASH_BYTES for one in wanted))
    return question


def decode_blocks_reply(raw: bytes) -> BlocksReply:
    """Raises Malformed where the reply is not one, or has blocks without finality."""
    reply = decode(BlocksReply, raw, limit=limits.BLOCKS_REPLY_BYTES_MAX)
    for block in reply.blocks:
        check_block(block)
    _require(bool(reply.blocks) == (reply.finality is not None))
    return reply


def decode_time_reply(raw: bytes, nonce: bytes) -> TimeReply:
    """Raises Malformed, also where the answer is to another nonce."""
    reply = decode(TimeReply, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)
    _require(reply.nonce == nonce and reply.time_ms >= 0 and reply.head >= 0)
    return reply


def decode_sealed_reply(raw: bytes, asked: int) -> SealedReply:
    """Raises Malformed, also where it is not an answer to so many."""
    reply = decode(SealedReply, raw, limit=limits.BLOCKS_REPLY_BYTES_MAX)
    _require(len(reply.sealed) == asked)
    _require(all(len(sealed) <= limits.SEALED_BYTES_MAX for sealed in reply.sealed))
    return reply


def decode_final_block(raw: bytes) -> FinalBlock:
    """Raises Malformed."""
    final = decode(FinalBlock, raw, limit=limits.GOSSIP_BYTES_MAX)
    check_block(final.block)
    return final


def _require(condition: bool) -> None:
    if not condition:
        raise Malformed("blocks message has a field out of its limits")
