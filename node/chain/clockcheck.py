"""Whether this node's wall clock agrees with the members': else it neither serves nor votes."""

import statistics
from collections.abc import Callable

import trio

from node.chain.membership import Membership
from node.ports import Clock, Entropy, TaskStatus, Transport
from node.rpc import Caller
from protocol import limits
from protocol.codec import encode
from protocol.errors import ProtocolError, TransportError
from protocol.keys import PublicKey
from protocol.messages.blocks import NONCE_BYTES, TimeRequest, decode_time_reply

PROTOCOL = "blocks"
CHECK_S = 10.0
FIRST_CHECK_S = 0.5
ANSWER_S = 2.0


class ClockCheck:
    """Asks the validators for the time, by nonce, and takes the median of a quorum's answers.

    Without a quorum of answers the last verdict stands: nothing final is new then, so freshness ends
    serving by itself. Before the first verdict the clock counts as off.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        membership: Membership,
        tolerance_ms: int,
        on_verdict: Callable[[bool], None],
        heard_from: Callable[[PublicKey, int], None],
    ) -> None:
        self._transport, self._clock, self._entropy = transport, clock, entropy
        self._membership, self._tolerance_ms = membership, tolerance_ms
        self._on_verdict, self._heard_from = on_verdict, heard_from
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.CONTROL_FRAME_BYTES_MAX)
        self._again = trio.Event()
        self.is_good = False
        self.offset_ms: int | None = None
        self.heights: dict[PublicKey, int] = {}
        transport.on_connected(lambda peer: self._again.set())

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            await self._check()
            self._again = trio.Event()
            if self.is_good:
                await trio.sleep(CHECK_S)
            else:
                with trio.move_on_after(FIRST_CHECK_S):
                    await self._again.wait()

    async def _check(self) -> None:
        own, validators = self._transport.identity, self._membership.validators
        offsets = [0] if own in validators else []
        connected = set(self._transport.connected())
        async with trio.open_nursery() as nursery:
            for peer in validators:
                if peer in connected and peer != own:
                    nursery.start_soon(self._ask, peer, offsets)
        if len(offsets) >= self._membership.committee.quorum:
            self.offset_ms = int(statistics.median(sorted(offsets)))
            self.is_good = abs(self.offset_ms) <= self._tolerance_ms
            self._on_verdict(self.is_good)

    async def _ask(self, peer: PublicKey, offsets: list[int]) -> None:
        nonce = self._entropy.bytes(NONCE_BYTES)
        sent_ms = self._clock.elapsed_ms()
        with trio.move_on_after(ANSWER_S):
            # A peer that cannot be asked, or answers nonsense, has no say.
            try:
                reply = decode_time_reply(await self._caller.call(peer, encode(TimeRequest(nonce))), nonce)
            except (TransportError, ProtocolError):
                return
            travel_ms = (self._clock.elapsed_ms() - sent_ms) // 2
            offsets.append(reply.time_ms + travel_ms - self._clock.wall_ms())
            self.heights[peer] = reply.head
            self._heard_from(peer, reply.head)
