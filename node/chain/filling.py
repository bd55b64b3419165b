"""Fetching sealed bytes that final blocks came without, from whichever members have them.

Each round asks every connected member for all that is owed, from another place of the list on each time.
What a member gives counts only if it has the hash that the ledger names, so a member can keep something
back and nothing more. What nobody has is asked for ever more rarely, until its access ends.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from node.chain.ledger import Ledger
from node.chain.owed import Owed
from node.ports import Entropy, TaskStatus, Transport
from node.rpc import Caller
from node.store import layout
from protocol import limits
from protocol.codec import HASH_BYTES, encode
from protocol.errors import ProtocolError, RemoteProtocolError, TransportError
from protocol.keys import PublicKey
from protocol.messages.blocks import SealedName, SealedRequest, decode_sealed_reply
from protocol.transactions import sealed_hash

PROTOCOL = "blocks"
_log = logging.getLogger(__name__)


class FillingService:
    """Asks once the newest final block is fresh: most of what an old one lacks was ended by a later one."""

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        entropy: Entropy,
        is_caught_up: Callable[[], bool],
    ) -> None:
        self._transport, self._ledger, self._entropy = transport, ledger, entropy
        self._is_caught_up = is_caught_up
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.BLOCKS_REPLY_BYTES_MAX)
        self._news, self._before = trio.Event(), 0
        transport.on_connected(lambda peer: self._news.set())
        ledger.observe(lambda final: self._look())

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        pause_s = limits.OWED_PAUSE_S
        while True:
            while not self._ledger.owed.count or not self._is_caught_up():
                await self._ledger.wait_advanced()
            self._before, self._news = self._ledger.owed.count, trio.Event()
            await self._round()
            await trio.sleep(limits.OWED_PAUSE_S)
            if self._ledger.owed.count < self._before:
                pause_s = limits.OWED_PAUSE_S
                continue
            pause_s = min(2 * pause_s, limits.OWED_PAUSE_S_MAX)
            with trio.move_on_after(pause_s - limits.OWED_PAUSE_S):
                await self._news.wait()
                pause_s = limits.OWED_PAUSE_S

    def _look(self) -> None:
        """A block came without some of its sealed bytes: whoever waits asks again."""
        if self._ledger.owed.count > self._before:
            self._news.set()

    async def _round(self) -> None:
        """Asks all that are connected, one after the other, as long as anything is owed."""
        members = set(self._ledger.membership.keys) - {self._transport.identity}
        peers = [peer for peer in self._transport.connected() if peer in members]
        start = self._entropy.below(len(peers)) if peers else 0
        for peer in peers[start:] + peers[:start]:
            if not self._ledger.owed.count:
                return
            try:
                with trio.move_on_after(limits.OWED_VISIT_S):
                    await self._visit(peer)
            except TransportError as error:
                _log.info("asking %s for sealed bytes failed: %s", peer.hex()[:12], error)
            except ProtocolError as error:
                _log.warning("%s sent sealed bytes that are not right: %s", peer.hex()[:12], error)

    async def _visit(self, peer: PublicKey) -> None:
        """Asks one member for the whole list: from some place to its end, and then what is before."""
        middle = layout.owed(self._entropy.bytes(HASH_BYTES))
        await self._walk(peer, middle, None)
        await self._walk(peer, layout.OWED, middle)

    async def _walk(self, peer: PublicKey, start: bytes, end: bytes | None) -> None:
        while wanted := self._ledger.owed.some(start, limits.SEALED_ASKED_MAX):
            start = wanted[-1].key + b"\0"
            wanted = [owed for owed in wanted if end is None or owed.key < end]
            if not wanted:
                return
            await self._ask(peer, wanted)

    async def _ask(self, peer: PublicKey, listed: Sequence[Owed]) -> None:
        now_ms = self._ledger.head.header.time_ms
        ended = [owed.bearer for owed in listed if not owed.counts_at(now_ms)]
        wanted = [owed for owed in listed if owed.counts_at(now_ms)]
        names = tuple(SealedName(owed.bearer[0], owed.entry.sealed_hash) for owed in wanted)
        found = {}
        if names:
            raw = await self._caller.call(peer, encode(SealedRequest(names)))
            reply = decode_sealed_reply(raw, len(names))
            for owed, sealed in zip(wanted, reply.sealed, strict=True):
                if sealed and sealed_hash(sealed) != owed.entry.sealed_hash:
                    raise RemoteProtocolError("the bytes are others than those asked for")
                if sealed:
                    found[owed.bearer] = sealed
        if found or ended:
            await self._ledger.fill(found, ended)
