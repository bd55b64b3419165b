"""Gossip: a fast path for final blocks and for revocations the moment they are signed. Never relied on."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from node.chain.ledger import Ledger
from node.ports import GossipMessage, TaskStatus, Transport
from protocol.blocks import Block, Finality, Header
from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from protocol.finality import check_contents, verify_final
from protocol.keys import PublicKey
from protocol.limits import GOSSIP_BYTES_MAX
from protocol.messages.blocks import FinalBlock, decode_final_block
from protocol.messages.consensus import Submission
from protocol.transactions import decode_transaction

BLOCKS = "blocks"
URGENT = "urgent"
TOPICS = (BLOCKS, URGENT)
OUTGOING_MAX = 64

Adopt = Callable[[Sequence[Block], Finality], Awaitable[None]]
See = Callable[[Sequence[Header], Finality], None]
Receive = Callable[[PublicKey, Sequence[Submission]], Awaitable[None]]


class GossipService:
    """Publishes what this node made final as proposer and what its patients revoked; takes in others'."""

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        adopt: Adopt,
        receive: Receive,
        heard_of: Callable[[int], None],
        see: See,
    ) -> None:
        """`see` looks at whatever is shown as final, so that a second chain is noticed."""
        self._transport, self._ledger = transport, ledger
        self._adopt, self._receive, self._heard_of, self._see = adopt, receive, heard_of, see
        self._blocks = transport.subscribe(BLOCKS)
        self._urgent = transport.subscribe(URGENT)
        self._out, self._outgoing = trio.open_memory_channel[tuple[str, bytes]](OUTGOING_MAX)

    def publish_block(self, block: Block, finality: Finality) -> None:
        """Queues a final block; dropped when the queue is full, for catch-up repairs it.

        Validators have it from consensus, and three copies more would cost each of them a sixth of its
        time under load: only where someone else listens is anything published.
        """
        validators = frozenset(self._ledger.membership.validators)
        if not validators.issuperset(self._transport.subscribers(BLOCKS)):
            self._queue(BLOCKS, encode(FinalBlock(block, finality)))

    def publish_urgent(self, submission: Submission) -> None:
        self._queue(URGENT, encode(submission))

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publish)
            nursery.start_soon(self._take, self._blocks, self._take_block)
            nursery.start_soon(self._take, self._urgent, self._take_urgent)
            task_status.started()

    def _queue(self, topic: str, payload: bytes) -> None:
        try:
            self._out.send_nowait((topic, payload))
        except trio.WouldBlock:
            return

    async def _publish(self) -> None:
        async for topic, payload in self._outgoing:
            if len(payload) <= GOSSIP_BYTES_MAX:
                await self._transport.publish(topic, payload)

    async def _take(
        self,
        messages: trio.MemoryReceiveChannel[GossipMessage],
        take: Callable[[GossipMessage], Awaitable[None]],
    ) -> None:
        async for message in messages:
            # What a member forwards may be another's mistake: it is dropped, the member is not.
            try:
                await take(message)
            except ProtocolError:
                continue

    async def _take_block(self, message: GossipMessage) -> None:
        final = decode_final_block(message.payload)
        head, header = self._ledger.head.header, final.block.header
        self._see([header], final.finality)
        if header.height != head.height + 1:
            self._heard_of(header.height)
            return
        verify_final(head, [header], final.finality, self._ledger.membership.committee)
        # Whoever passes it on could leave out sealed bytes, which then are missing here for good.
        check_contents(final.block, [decode_transaction(raw) for raw in final.block.transactions])
        await self._adopt([final.block], final.finality)

    async def _take_urgent(self, message: GossipMessage) -> None:
        submission = decode(Submission, message.payload, limit=GOSSIP_BYTES_MAX)
        await self._receive(message.sender or self._transport.identity, [submission])
