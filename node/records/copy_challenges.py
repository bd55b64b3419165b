"""Looks now and then whether the holders still have what they should: a chunk at random each time."""

import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import islice
from typing import Final

import trio

from node.chain.ledger import Ledger
from node.ports import Entropy, Offload, Store, TaskStatus
from node.records.copy_exchange import CopyExchange
from node.records.vault import Vault
from node.store import layout
from protocol import limits
from protocol.codec import HASH_BYTES
from protocol.errors import StorageError, TransportError
from protocol.keys import PublicKey
from protocol.state import TokenState
from protocol.transactions import TokenId

FAILURES_SHOWN: Final = 2  # in a row: one may be a holder that has just begun to bring its copy
_log = logging.getLogger(__name__)


class Shown(StrEnum):
    """What a holder did when asked for a chunk. UNKNOWN: this clinic holds no copy, so it may not ask."""

    SHOWN = "shown"
    MISSING = "missing"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


class CopyChallenges:
    """Asks about one random record of this clinic's at a time, and again about those that failed.

    Where this clinic's own copy is damaged and another's is not, `renew` is asked for a new one.
    """

    def __init__(
        self,
        *,
        exchange: CopyExchange,
        vault: Vault,
        ledger: Ledger,
        ledger_store: Store,
        entropy: Entropy,
        offload: Offload,
        renew: Callable[[TokenId, TokenState], Awaitable[None]],
    ) -> None:
        self._renew = renew
        self._exchange, self._vault, self._ledger = exchange, vault, ledger
        self._store, self._entropy, self._offload = ledger_store, entropy, offload
        self._failures: dict[tuple[PublicKey, TokenId], int] = {}

    def lacking(self) -> dict[PublicKey, int]:
        """How many copies each clinic should hold and did not show when asked, time after time."""
        found: dict[PublicKey, int] = {}
        for (peer, _), failures in self._failures.items():
            if failures >= FAILURES_SHOWN:
                found[peer] = found.get(peer, 0) + 1
        return found

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(limits.CHALLENGE_S)
            if self._exchange.is_fresh:
                for name in {*self._failed(), *await self._offload.run(self._random)}:
                    await self._challenge(name)

    async def look(self, name: TokenId, token: TokenState) -> dict[PublicKey, Shown]:
        """Which of a token's holders show a chunk that is drawn now, if this clinic is one of them."""
        shown = dict.fromkeys(self._exchange.holders(token), Shown.UNKNOWN)
        if self._exchange.identity not in shown:
            return shown
        index = self._entropy.below(token.content.chunks)

        async def ask(peer: PublicKey) -> None:
            try:
                has = await self._exchange.look(name, token, peer, index)
                shown[peer] = Shown.SHOWN if has else Shown.MISSING
            except TransportError as error:
                shown[peer] = Shown.UNREACHABLE
                _log.info("%s cannot be asked for its copy: %s", peer.hex()[:12], error)

        async with trio.open_nursery() as nursery:
            for peer in shown:
                if peer == self._exchange.identity:
                    shown[peer] = Shown.SHOWN if await self._has(token, index) else Shown.MISSING
                else:
                    nursery.start_soon(ask, peer)
        return shown

    # Inside.

    async def _challenge(self, name: TokenId) -> None:
        token = self._ledger.state.token(name)
        if token is None or token.erased:
            self._failures = {key: count for key, count in self._failures.items() if key[1] != name}
            return
        seen = await self.look(name, token)
        if seen.get(self._exchange.identity) == Shown.MISSING and Shown.SHOWN in seen.values():
            await self._renew(name, token)
        for peer, shown in seen.items():
            key = (peer, name)
            is_room = key in self._failures or len(self._failures) < limits.CHALLENGE_FAILURES_MAX
            if shown == Shown.SHOWN:
                self._failures.pop(key, None)
            elif shown == Shown.MISSING and is_room:
                self._failures[key] = self._failures.get(key, 0) + 1

    async def _has(self, token: TokenState, index: int) -> bool:
        try:
            reader = await self._vault.open(token.issuer, token.content.root)
            if reader is not None:
                await self._offload.run(lambda: reader.chunk(index))
        except StorageError as error:
            _log.error("a copy here is damaged: %s", error)
            return False
        return reader is not None

    def _failed(self) -> list[TokenId]:
        """One token that failed, the one asked about longest ago."""
        for key in self._failures:
            self._failures[key] = self._failures.pop(key)
            return [key[1]]
        return []

    def _random(self) -> list[TokenId]:
        """A token held here, near a point of the ledger drawn at random; none where there is none near."""
        start = layout.transaction(self._entropy.bytes(HASH_BYTES))
        found = self._store.iterate(layout.TRANSACTION, start=start)
        for key, _ in islice(found, limits.CHALLENGE_STEPS_MAX):
            name = TokenId(key[len(layout.TRANSACTION) :])
            token = self._ledger.state.token(name)
            if (
                token is None
                or token.erased
                or self._exchange.identity not in self._exchange.holders(token)
            ):
                continue
            return [name]
        return []
