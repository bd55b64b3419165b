"""Catch-up by height: what makes a node correct, whatever gossip loses.

The service pulls final blocks from one peer after another until nobody it can reach is ahead. Each
reply is verified against the newest final header here before anything of it is kept.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from node.chain.ledger import Ledger
from node.ports import Entropy, Stream, TaskStatus, Transport
from node.rpc import Caller, answer_frames
from protocol import limits
from protocol.blocks import Block, Certificate, Committee
from protocol.codec import encode
from protocol.errors import ProtocolError, TransportError
from protocol.finality import verify_final
from protocol.keys import PublicKey
from protocol.messages.blocks import (
    BlocksReply,
    BlocksRequest,
    TimeReply,
    TimeRequest,
    decode_blocks_reply,
    decode_question,
)

PROTOCOL = "blocks"
BLOCKS_PER_REPLY_MAX = 256
REPLY_BYTES_TARGET = limits.MIB
_log = logging.getLogger(__name__)

Adopt = Callable[[Sequence[Block], Certificate], Awaitable[None]]


class SyncService:
    """Serves final blocks by height, and fetches those missed."""

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        committee: Committee,
        members: Sequence[PublicKey],
        entropy: Entropy,
        wall_ms: Callable[[], int],
    ) -> None:
        self._ledger, self._committee, self._transport = ledger, committee, transport
        self._members = [peer for peer in members if peer != transport.identity]
        self._entropy, self._wall_ms = entropy, wall_ms
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.BLOCKS_REPLY_BYTES_MAX)
        self._adopt: Adopt | None = None
        self._wanted = trio.Event()
        self.target_height = 0
        transport.serve(PROTOCOL, self._serve)
        transport.on_connected(lambda peer: self.kick())

    def connect(self, adopt: Adopt) -> None:
        """`adopt` commits verified blocks above the head."""
        self._adopt = adopt

    def kick(self) -> None:
        """Something is known to be missing, or may be: look soon."""
        self._wanted.set()

    def heard_of(self, height: int) -> None:
        """A member's head is at `height`."""
        if height > self._ledger.height:
            self.target_height = max(self.target_height, height)
            self.kick()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            with trio.move_on_after(self._ledger.state.limits.heartbeat_ms / 1000):
                await self._wanted.wait()
            self._wanted = trio.Event()
            await self._catch_up()

    async def _catch_up(self) -> None:
        peers = [peer for peer in self._transport.connected() if peer in self._members]
        start = self._entropy.below(len(peers)) if peers else 0
        for peer in peers[start:] + peers[:start]:
            # One peer's failure or lie costs only a turn: the next is asked.
            try:
                while await self._pull(peer):
                    pass
            except TransportError as error:
                _log.info("catching up from %s failed: %s", peer.hex()[:12], error)
            except ProtocolError as error:
                _log.warning("%s sent blocks that do not verify: %s", peer.hex()[:12], error)

    async def _pull(self, peer: PublicKey) -> bool:
        """Fetches one reply's worth; whether the peer has more."""
        head = self._ledger.head.header
        raw = await self._caller.call(peer, encode(BlocksRequest(head.height + 1)))
        reply = decode_blocks_reply(raw)
        if reply.certificate is None:
            return False
        verify_final(head, [block.header for block in reply.blocks], reply.certificate, self._committee)
        assert self._adopt is not None
        await self._adopt(reply.blocks, reply.certificate)
        return reply.head > self._ledger.height

    async def _serve(self, stream: Stream) -> None:
        await answer_frames(stream, self._answer, limit=limits.CONTROL_FRAME_BYTES_MAX)

    async def _answer(self, peer: PublicKey, frame: bytes) -> bytes:
        match decode_question(frame):
            case BlocksRequest(height):
                return encode(self._range(height))
            case TimeRequest(nonce):
                return encode(TimeReply(nonce, self._wall_ms(), self._ledger.height))

    def _range(self, height: int) -> BlocksReply:
        """Blocks from `height` on, up to the first with its own certificate past the target size."""
        blocks: list[Block] = []
        certified, certificate, size = 0, None, 0
        while height <= self._ledger.height and (block := self._ledger.block(height)) is not None:
            size += sum(map(len, block.transactions)) + sum(map(len, block.sealed)) + limits.KIB
            if size > limits.BLOCKS_REPLY_BYTES_MAX and certificate is not None:
                break
            blocks.append(block)
            own = self._ledger.certificate(height)
            if own is not None:
                certified, certificate = len(blocks), own
                if size >= REPLY_BYTES_TARGET or len(blocks) >= BLOCKS_PER_REPLY_MAX:
                    break
            height += 1
        return BlocksReply(tuple(blocks[:certified]), certificate, self._ledger.height)
