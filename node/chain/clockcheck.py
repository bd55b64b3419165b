"""Whether this node's wall clock agrees with the members': else it neither serves nor votes.

What the members say is kept as a distance from the elapsed clock of this node, which nobody can set. So a
wall clock that is set wrong, or stands still, shows at the next look at it and not at the next round.
"""

from collections.abc import Callable

import trio

from node.chain.ledger import Ledger
from node.ports import Clock, Entropy, TaskStatus, Transport
from node.rpc import Caller
from protocol import limits
from protocol.codec import encode
from protocol.errors import ProtocolError, TransportError
from protocol.keys import PublicKey
from protocol.median import doubting_median
from protocol.messages.blocks import NONCE_BYTES, TimeRequest, decode_time_reply

PROTOCOL = "blocks"
CHECK_S = 10.0
FIRST_CHECK_S = 0.5
ANSWER_MS = 2_000


class ClockCheck:
    """Asks the validators for the time, by nonce, and takes the median of what a quorum says, itself among
    them where it is one.

    Before a quorum has answered the clock counts as off. Without one later on, its last answers stand:
    nothing final is new then, so freshness ends serving by itself.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        ledger: Ledger,
        on_verdict: Callable[[], None],
        heard_from: Callable[[PublicKey, int], None],
    ) -> None:
        """`on_verdict` is called each time that a quorum has answered."""
        self._transport, self._clock, self._entropy = transport, clock, entropy
        self._ledger, self._on_verdict, self._heard_from = ledger, on_verdict, heard_from
        self._tolerance_ms = ledger.state.limits.tolerance_ms
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.CONTROL_FRAME_BYTES_MAX)
        self._again = trio.Event()
        self._members_ms: int | None = None
        self.heights: dict[PublicKey, int] = {}
        transport.on_connected(lambda peer: self._look())
        ledger.observe(lambda final: self._look())

    @property
    def offset_ms(self) -> int | None:
        """How far the members' clocks are ahead of this node's now; None before a quorum has answered."""
        return None if self._members_ms is None else self._members_ms - self._ahead_ms()

    @property
    def is_good(self) -> bool:
        return self.offset_ms is not None and abs(self.offset_ms) <= self._tolerance_ms

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            await self._check()
            self._again = trio.Event()
            with trio.move_on_after(CHECK_S if self.is_good else FIRST_CHECK_S):
                await self._again.wait()

    def _ahead_ms(self) -> int:
        """How far this node's wall clock is ahead of its elapsed clock."""
        return self._clock.wall_ms() - self._clock.elapsed_ms()

    def _look(self) -> None:
        """Asks again at once while the clock is in doubt; it is too when a quorum has signed a time that
        has not come here: then both clocks of this node may have stood still."""
        ahead_ms = self._ledger.head.header.time_ms - self._clock.wall_ms()
        if not self.is_good or ahead_ms > self._tolerance_ms:
            self._again.set()

    async def _check(self) -> None:
        own, membership = self._transport.identity, self._ledger.membership
        answers: list[int] = []
        connected = set(self._transport.connected())
        async with trio.open_nursery() as nursery:
            for peer in membership.validators:
                if peer in connected and peer != own:
                    nursery.start_soon(self._ask, peer, answers)
        if own in membership.validators:
            answers.append(self._own_say())
        if len(answers) >= membership.committee.quorum:
            ahead_ms = self._ahead_ms()
            self._members_ms = ahead_ms + doubting_median([one - ahead_ms for one in answers])
            self._on_verdict()

    def _own_say(self) -> int:
        """By its elapsed clock: a node whose wall clock was set wrong does not speak for it."""
        return self._ahead_ms() if self._members_ms is None else self._members_ms

    async def _ask(self, peer: PublicKey, answers: list[int]) -> None:
        """Adds what a validator's clock is ahead of this node's elapsed clock. It is off by half the way
        there and back at most, so a slow answer has no say."""
        nonce = self._entropy.bytes(NONCE_BYTES)
        sent_ms = self._clock.elapsed_ms()
        with trio.move_on_after(ANSWER_MS / 1000):
            # A peer that cannot be asked, or answers nonsense, has no say.
            try:
                reply = decode_time_reply(await self._caller.call(peer, encode(TimeRequest(nonce))), nonce)
            except (TransportError, ProtocolError):
                return
            now_ms = self._clock.elapsed_ms()
            if now_ms - sent_ms <= ANSWER_MS:
                answers.append(reply.time_ms + (now_ms - sent_ms) // 2 - now_ms)
            self.heights[peer] = reply.head
            self._heard_from(peer, reply.head)
