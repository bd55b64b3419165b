"""The server's end of a stream whose replies about blocks and time are sometimes false."""

import random

from msgspec.structs import replace

from node.ports import Stream
from protocol import limits
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.keys import PublicKey
from protocol.limits import DAY_MS
from protocol.messages.blocks import BlocksReply, SealedReply, TimeReply

Reply = BlocksReply | TimeReply | SealedReply
LIES = 0.7
"""How many replies of one are false."""


class LyingStream:
    """A `ports.Stream` around an honest one."""

    def __init__(self, inner: Stream, dice: random.Random) -> None:
        self._inner, self._dice = inner, dice

    @property
    def peer(self) -> PublicKey:
        return self._inner.peer

    async def send(self, frame: bytes) -> None:
        await self._inner.send(self._twist(frame) if self._dice.random() < LIES else frame)

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        return await self._inner.receive(limit, timeout_s)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _twist(self, frame: bytes) -> bytes:
        match decode(Reply, frame, limit=limits.BLOCKS_REPLY_BYTES_MAX):  # type: ignore[arg-type]
            case BlocksReply() as reply:
                return encode(self._twist_blocks(reply))
            case TimeReply() as reply:
                return encode(self._twist_time(reply))
            case SealedReply() as reply:
                return encode(self._twist_sealed(reply))
        raise AssertionError("a reply that the protocol does not have")

    def _twist_sealed(self, reply: SealedReply) -> SealedReply:
        """Nothing, something else, or too little."""
        count = len(reply.sealed)
        return self._dice.choice(
            (
                SealedReply((b"",) * count),
                SealedReply((b"something else",) * count),
                SealedReply(reply.sealed[1:]),
            )
        )

    def _twist_blocks(self, reply: BlocksReply) -> BlocksReply:
        """A gap, another order, nothing at all, no sealed bytes, or a head that is not there."""
        return self._dice.choice(
            (
                replace(reply, blocks=reply.blocks[1:]),
                replace(reply, blocks=reply.blocks[::-1]),
                BlocksReply((), None, reply.head),
                replace(reply, blocks=tuple(map(_stripped, reply.blocks))),
                replace(reply, head=reply.head + 1_000),
            )
        )

    def _twist_time(self, reply: TimeReply) -> TimeReply:
        """Wrong by up to ten days."""
        offset_ms = self._dice.randint(-10 * DAY_MS, 10 * DAY_MS)
        return replace(reply, time_ms=max(0, reply.time_ms + offset_ms), head=reply.head + 1_000)


def _stripped(block: Block) -> Block:
    return replace(block, sealed=(b"",) * len(block.sealed))
