"""Catch-up by height: what makes a node correct, whatever gossip loses.

The service asks the members how far they are and pulls what is missing from several at once, in the
ranges of a `protocol.catchup.Plan`. Signatures are checked as replies arrive; each reply is then verified
against the newest final header here, in order, before anything of it is kept. Whoever is slow, silent or
wrong costs a turn and is avoided for a while.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import trio

from node.chain.guide import Guide
from node.chain.ledger import Ledger
from node.ports import Entropy, TaskStatus, Transport
from node.rpc import Caller
from protocol import limits
from protocol.blocks import Block, Finality, Header
from protocol.catchup import Arrived, Avoided, Plan, Range, known_height
from protocol.codec import encode
from protocol.errors import ProtocolError, RemoteProtocolError, TransportError
from protocol.finality import verify_final
from protocol.keys import PublicKey
from protocol.messages.blocks import (
    NONCE_BYTES,
    BlocksReply,
    BlocksRequest,
    TimeRequest,
    decode_blocks_reply,
    decode_time_reply,
)

PROTOCOL = "blocks"
HEAD_S = 3.0
LOOK_S = 0.5
_log = logging.getLogger(__name__)

Adopt = Callable[[Sequence[Block], Finality], Awaitable[None]]
See = Callable[[Sequence[Header], Finality], None]
Check = Callable[[Iterable[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far catching up is. `blocks_per_s` is None where nothing is being caught up."""

    height: int
    known_height: int
    blocks_per_s: float | None

    @property
    def left_s(self) -> float | None:
        """How long the rest will take at this rate."""
        return (self.known_height - self.height) / self.blocks_per_s if self.blocks_per_s else None


class SyncService:
    """Fetches the final blocks that this node missed."""

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        entropy: Entropy,
        guide: Guide,
    ) -> None:
        self._ledger, self._transport = ledger, transport
        self._entropy, self._guide = entropy, guide
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.BLOCKS_REPLY_BYTES_MAX)
        self._adopt: Adopt | None = None
        self._check: Check | None = None
        self._see: See | None = None
        self._plan: Plan[BlocksReply] = Plan(ledger.height)
        self._heads: dict[PublicKey, int] = {}
        self._visits: dict[PublicKey, trio.CancelScope] = {}
        self._avoided = Avoided()
        self._room = trio.CapacityLimiter(limits.CATCH_UP_PEERS_MAX)
        self._wanted, self._news = trio.Event(), trio.Event()
        self._began: tuple[float, int] | None = None
        self._has_stopped = False
        transport.on_connected(lambda peer: self.kick())

    def connect(self, *, adopt: Adopt, check: Check, see: See) -> None:
        """`adopt` commits verified blocks above the head; `check` checks signatures ahead of that; `see`
        looks at whatever is shown as final, so that a second chain is noticed."""
        self._adopt, self._check, self._see = adopt, check, see

    def stop(self) -> None:
        """Nobody is asked any more."""
        self._has_stopped = True

    def kick(self) -> None:
        """Something is known to be missing, or may be: look soon."""
        self._wanted.set()

    def heard_of(self, height: int) -> None:
        """Somebody says that a block of `height` is final."""
        if height > self._ledger.height:
            self.kick()

    def heard_from(self, peer: PublicKey, head: int) -> None:
        """`peer` says that its newest final block is at height `head`."""
        self._heads[peer] = head
        self.heard_of(head)

    @property
    def _known_height(self) -> int:
        return known_height(self._heads, self._ledger.membership.committee.faults)

    @property
    def progress(self) -> Progress:
        height = self._ledger.height
        known = max(height, self._known_height)
        if self._began is None or known == height:
            return Progress(height, known, None)
        began_s, first = self._began
        took_s = trio.current_time() - began_s
        return Progress(height, known, (height - first) / took_s if took_s > 0 else None)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_in)
            task_status.started()
            while True:
                self._plan.reached(self._ledger.height)
                for peer in self._candidates():
                    self._visits[peer] = trio.CancelScope()
                    nursery.start_soon(self._visit, peer, self._visits[peer])
                with trio.move_on_after(self._pause_s()):
                    await self._wanted.wait()
                self._wanted = trio.Event()

    def _pause_s(self) -> float:
        """How long to wait for news before looking again."""
        is_missing = self._known_height > self._ledger.height and not self._visits
        return (limits.CATCH_UP_RETRY_MS if is_missing else self._ledger.state.limits.heartbeat_ms) / 1000

    # Fetching.

    def _candidates(self) -> list[PublicKey]:
        """Whom to visit now, of the members that are connected and a newcomer's guide."""
        if self._has_stopped:
            return []
        members = {*self._ledger.membership.keys, *self._guide.keys} - {self._transport.identity}
        connected = [peer for peer in self._transport.connected() if peer in members]
        good = self._avoided.left(
            connected, self._ledger.height, self._heads, self._known_height, _now_ms()
        )
        start = self._entropy.below(len(good)) if good else 0
        return [peer for peer in good[start:] + good[:start] if peer not in self._visits]

    async def _visit(self, peer: PublicKey, scope: trio.CancelScope) -> None:
        """Fetches from one peer until it has nothing more."""
        try:
            with scope:
                async with self._room:
                    await self._fetch_from(peer)
        except TransportError as error:
            _log.info("catching up from %s failed: %s", peer.hex()[:12], error)
            self._avoid(peer)
        except ProtocolError as error:
            self._blame(peer, error)
        finally:
            del self._visits[peer]

    async def _fetch_from(self, peer: PublicKey) -> None:
        self._plan.heard(peer, await self._head_of(peer))
        while self._plan.is_ahead(peer):
            heights = self._plan.ask(peer, _now_ms())
            if heights is None:
                # Another's range may become overdue without any news.
                with trio.move_on_after(LOOK_S):
                    await self._news.wait()
                continue
            if self._began is None:
                self._began = trio.current_time(), self._ledger.height
            reply = await self._ask(peer, heights)
            self._plan.answered(peer, reply.blocks[-1].header.height, reply, _now_ms())
            self._plan.heard(peer, reply.head)
            self._tell()

    async def _head_of(self, peer: PublicKey) -> int:
        nonce = self._entropy.bytes(NONCE_BYTES)
        with trio.move_on_after(HEAD_S):
            raw = await self._caller.call(peer, encode(TimeRequest(nonce)))
            head = decode_time_reply(raw, nonce).head
            self._heads[peer] = head
            return head
        raise TransportError("the peer does not say in time how far it is")

    async def _ask(self, peer: PublicKey, heights: Range) -> BlocksReply:
        """A reply of `peer` for `heights` with all signatures checked, and nothing else."""
        raw = await self._caller.call(peer, encode(BlocksRequest(heights.first, heights.last)))
        reply = decode_blocks_reply(raw)
        found = [block.header.height for block in reply.blocks]
        if not found or found != list(range(heights.first, heights.first + len(found))):
            raise RemoteProtocolError("the reply is not the blocks that were asked for")
        assert self._check is not None
        await self._check(raw for block in reply.blocks for raw in block.transactions)
        return reply

    # Taking in.

    async def _take_in(self) -> None:
        """Adopts what arrived, in order of height."""
        while True:
            self._plan.reached(self._ledger.height)
            arrived = self._plan.take()
            for peer in self._plan.overtaken(_now_ms()):
                _log.info("%s is too slow to catch up from", peer.hex()[:12])
                self._avoid(peer)
            if arrived is not None:
                await self._adopt_reply(arrived)
                self._tell()
                continue
            if self._ledger.height >= self._known_height:
                self._began = None
            await self._news.wait()

    async def _adopt_reply(self, arrived: Arrived[BlocksReply]) -> None:
        head, reply = self._ledger.head.header, arrived.reply
        blocks = [block for block in reply.blocks if block.header.height > head.height]
        assert self._adopt is not None
        assert self._see is not None
        assert reply.finality is not None
        self._see([block.header for block in reply.blocks], reply.finality)
        if not blocks:
            return
        try:
            headers = [block.header for block in blocks]
            verify_final(head, headers, reply.finality, self._ledger.membership.committee)
            await self._adopt(blocks, reply.finality)
        except RemoteProtocolError as error:
            self._blame(arrived.peer, error)

    def _blame(self, peer: PublicKey, error: ProtocolError) -> None:
        _log.warning("%s sent blocks that do not verify: %s", peer.hex()[:12], error)
        self._avoid(peer)

    def _avoid(self, peer: PublicKey) -> None:
        """Ends the visit to a peer that failed; its ranges are for others."""
        self._plan.release(peer)
        self._avoided.failed(peer, _now_ms())
        if peer in self._visits:
            self._visits[peer].cancel()
        self._tell()
        self.kick()

    def _tell(self) -> None:
        """Whoever waits for the plan to change looks at it again."""
        self._news.set()
        self._news = trio.Event()


def _now_ms() -> int:
    return int(trio.current_time() * limits.SECOND_MS)
