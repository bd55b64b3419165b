"""The `blocks` protocol as a member serves it: final blocks by height, sealed bytes, and the time.

Whoever catches up asks for much. Blocks are read one at a time, and between two of them the node does what
else it has to do: serving never holds up finality.
"""

from collections.abc import Callable

import trio

from node.chain.ledger import Ledger
from node.ports import Stream, Transport
from node.rpc import answer_frames
from protocol import limits
from protocol.blocks import Block
from protocol.codec import encode
from protocol.keys import PublicKey
from protocol.messages.blocks import (
    BlocksReply,
    BlocksRequest,
    SealedName,
    SealedReply,
    SealedRequest,
    TimeReply,
    TimeRequest,
    decode_question,
)

PROTOCOL = "blocks"
_OVERHEAD_BYTES = limits.KIB


class BlocksDoor:
    """Answers members that catch up. One reply is in the making at a time."""

    def __init__(self, *, transport: Transport, ledger: Ledger, wall_ms: Callable[[], int]) -> None:
        self._ledger, self._wall_ms = ledger, wall_ms
        self._making = trio.Lock()
        transport.serve(PROTOCOL, self._serve)

    async def _serve(self, stream: Stream) -> None:
        await answer_frames(stream, self._answer, limit=limits.CONTROL_FRAME_BYTES_MAX)

    async def _answer(self, peer: PublicKey, frame: bytes) -> bytes:
        match decode_question(frame):
            case BlocksRequest(height, last):
                async with self._making:
                    return encode(await self._range(height, last))
            case TimeRequest(nonce):
                return encode(TimeReply(nonce, self._wall_ms(), self._ledger.height))
            case SealedRequest(wanted):
                return encode(SealedReply(tuple(map(self._sealed, wanted))))

    def _sealed(self, name: SealedName) -> bytes:
        return self._ledger.sealed(name.token, name.sealed_hash) or b""

    async def _range(self, height: int, last: int) -> BlocksReply:
        """Blocks from `height` on, to the first with its own finality at `last` or past the target, and
        never of two epochs."""
        blocks: list[Block] = []
        certified, finality, size = 0, None, 0
        while (block := self._ledger.block(height)) is not None:
            if blocks and block.header.epoch != blocks[0].header.epoch:
                break
            size += sum(map(len, block.transactions)) + sum(map(len, block.sealed)) + _OVERHEAD_BYTES
            if size > limits.BLOCKS_REPLY_BYTES_MAX and finality is not None:
                break
            blocks.append(block)
            own = self._ledger.finality(height)
            if own is not None:
                certified, finality = len(blocks), own
                if (
                    height >= last
                    or size >= limits.RANGE_BYTES_TARGET
                    or len(blocks) >= limits.RANGE_BLOCKS_MAX
                ):
                    break
            height += 1
            await trio.lowlevel.checkpoint()
        return BlocksReply(tuple(blocks[:certified]), finality, self._ledger.height)
