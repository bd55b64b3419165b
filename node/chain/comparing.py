"""Comparing chains: what each member holds final at the height where this node is, asked of it.

Members that are equally far ask each other for no blocks, and validators hear of final blocks by votes
and certificates alone. So two chains of the same length would stand side by side unseen.
"""

import trio

from node.chain.halt import Halt
from node.chain.ledger import Ledger
from node.ports import TaskStatus, Transport
from node.rpc import Caller
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import ProtocolError, TransportError
from protocol.keys import PublicKey
from protocol.messages.light import HeadersReply, HeadersRequest

PROTOCOL = "light"


class Comparison:
    """Asks every member on contact, with each heartbeat, and when one says what fits no block here."""

    def __init__(self, *, transport: Transport, ledger: Ledger, halt: Halt) -> None:
        self._transport, self._ledger, self._halt = transport, ledger, halt
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        self._wanted: dict[PublicKey, None] = {}
        self._asked = trio.Event()
        transport.on_connected(self.want)

    def want(self, peer: PublicKey) -> None:
        """Compares with this member soon, once however often this is called until then."""
        self._wanted[peer] = None
        self._asked.set()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while not self._halt.is_on:
            with trio.move_on_after(self._ledger.state.limits.heartbeat_ms / limits.SECOND_MS):
                await self._asked.wait()
            wanted, self._wanted, self._asked = list(self._wanted), {}, trio.Event()
            connected = set(self._transport.connected())
            async with trio.open_nursery() as nursery:
                for peer in wanted or self._ledger.membership.keys:
                    if peer in connected and peer != self._transport.identity:
                        nursery.start_soon(self._compare, peer)
        await trio.sleep_forever()

    async def _compare(self, peer: PublicKey) -> None:
        # A member that cannot be asked, or answers nonsense, shows nothing.
        try:
            reply = await self._ask(peer, self._ledger.height)
            if not reply.headers and 0 < reply.head < self._ledger.height:
                reply = await self._ask(peer, reply.head)
        except (TransportError, ProtocolError):
            return
        if reply.finality is not None:
            self._halt.see(reply.headers, reply.finality)

    async def _ask(self, peer: PublicKey, height: int) -> HeadersReply:
        raw = await self._caller.call(peer, encode(HeadersRequest(max(1, height), 0)))
        return decode(HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
