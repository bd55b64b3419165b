"""Keeps here the ciphertext that the ledger says this clinic should hold.

What is missing is brought from the other holders; what was erased goes, and that is attested in the audit
log; ciphertext that no token came for goes in the end. Nothing is agreed on between clinics: placement
follows from the ledger alone.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from node.chain.ledger import FinalizedBlock, Ledger
from node.ports import Offload, Store, TaskStatus
from node.records.audit_log import AuditLog
from node.records.copy_exchange import CopyExchange
from node.records.vault import Vault
from node.store import layout
from protocol import limits
from protocol.errors import Code, ProtocolError, Refused, StorageError, TransportError, UserError
from protocol.keys import PublicKey
from protocol.state import TokenState
from protocol.transactions import Erase, Mint, TokenId

TRANSACTIONS_AT_ONCE: Final = 200
_log = logging.getLogger(__name__)

Name = tuple[PublicKey, bytes]
"""Issuer and content root, by which a blob is found."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """When a missing copy is asked for again, and how long after the last time. Seconds of trio's clock."""

    at_s: float
    pause_s: float


class Copies:
    """Begins to act when the ledger is fresh, and stops whenever it is not."""

    def __init__(
        self,
        *,
        exchange: CopyExchange,
        vault: Vault,
        audit: AuditLog,
        ledger: Ledger,
        ledger_store: Store,
        offload: Offload,
    ) -> None:
        self._exchange, self._vault, self._audit, self._ledger = exchange, vault, audit, ledger
        self._store, self._offload = ledger_store, offload
        self._due: dict[TokenId, None] = {}
        self._retries: dict[TokenId, _Retry] = {}
        self._unowned: dict[Name, int] = {}
        self._look_at_s = self._count_at_s = 0.0
        self._work = trio.Event()
        ledger.observe(self._see)
        ledger.membership.observe(self._look_again)

    @property
    def missing(self) -> int:
        """How many copies that should be here were asked for and could not be had, of those remembered."""
        return sum(retry.pause_s > limits.COPY_RETRY_S for retry in self._retries.values())

    async def renew(self, name: TokenId, token: TokenState) -> None:
        """Drops a copy that was found damaged, and brings it from another holder."""
        with _later_if_full():
            if await self._vault.delete(token.issuer, token.content.root):
                self._due[name] = None
                self._work.set()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled.

        Raises:
            StorageError: a store failed.
        """
        task_status.started()
        while True:
            while not self._exchange.is_fresh:
                await self._ledger.wait_advanced()
            self._work = trio.Event()
            if trio.current_time() >= self._look_at_s:
                self._look_at_s = trio.current_time() + limits.COPIES_CHECK_S
                await self._look_at_all()
            await self._look_at_due()
            with trio.move_on_at(min([self._look_at_s, *(one.at_s for one in self._retries.values())])):
                await self._work.wait()

    # What is to be looked at.

    def _see(self, final: FinalizedBlock) -> None:
        for transaction in final.transactions:
            match transaction.body:
                case Mint():
                    self._defer(TokenId(transaction.id))
                case Erase(token=token):
                    self._due[token] = None
                    self._work.set()

    def _look_again(self) -> None:
        """Where copies belong depends on who is a member."""
        self._look_at_s = 0.0
        self._work.set()

    async def _look_at_due(self) -> None:
        now_s = trio.current_time()
        due, self._due = list(self._due), {}
        due += [name for name, retry in self._retries.items() if retry.at_s <= now_s]
        for name in due:
            token = self._ledger.state.token(name)
            if token is not None:
                await self._tend(name, token)

    async def _look_at_all(self) -> None:
        """At every token on the ledger, some at a time: the event loop has other work."""
        unowned = set(await self._offload.run(self._vault.names))

        async def look(name: TokenId, token: TokenState) -> bool:
            unowned.discard((token.issuer, token.content.root))
            await self._tend(name, token)
            return False

        await self._any_token(look)
        await self._end_unowned(unowned)

    async def _any_token(self, is_it: Callable[[TokenId, TokenState], Awaitable[bool]]) -> bool:
        """Whether any token on the ledger, erased ones too, is the one looked for."""
        start = b""
        while names := await self._offload.run(lambda start=start: self._transactions(start)):  # type: ignore[misc]
            for name in map(TokenId, names):
                token = self._ledger.state.token(name)
                if token is not None and await is_it(name, token):
                    return True
            start = layout.transaction(names[-1]) + b"\0"
        return False

    def _transactions(self, start: bytes) -> list[bytes]:
        found = self._store.iterate(layout.TRANSACTION, start=start)
        return [key[len(layout.TRANSACTION) :] for key, _ in islice(found, TRANSACTIONS_AT_ONCE)]

    # What is done.

    async def _tend(self, name: TokenId, token: TokenState) -> None:
        """Does what one token needs here now."""
        is_done = False
        with _later_if_full():
            is_done = await self._do(name, token)
        if is_done:
            self._retries.pop(name, None)
        else:
            self._defer(name)
            await trio.sleep(limits.COPY_PAUSE_S)

    async def _do(self, name: TokenId, token: TokenState) -> bool:
        """Whether all is as it should be then."""
        is_ours = self._exchange.identity in self._exchange.holders(token)
        if token.erased:
            return await self._end(name, token, is_ours=is_ours)
        if is_ours and not self._vault.holds(token.issuer, token.content.root):
            return await self._bring(name, token)
        return True

    async def _end(self, name: TokenId, token: TokenState, *, is_ours: bool) -> bool:
        """Deletes the ciphertext of an erased token and attests that it is not here; whether that is so."""
        place = token.issuer, token.content.root
        if self._vault.is_arriving(*place) or await self._is_shared(token):
            return False
        was_here = await self._vault.delete(*place)
        if was_here or is_ours:
            await self._audit.attest_deletion(name)
        return True

    async def _is_shared(self, erased: TokenState) -> bool:
        """Whether what is here of an erased token is another's too, which lives. Only an issuer that mints
        one ciphertext twice makes such, so it is looked for when there is something to delete, and not
        remembered."""
        place = erased.issuer, erased.content.root

        async def lives(_: TokenId, token: TokenState) -> bool:
            return not token.erased and (token.issuer, token.content.root) == place

        return self._vault.holds(*place) and await self._any_token(lives)

    async def _bring(self, name: TokenId, token: TokenState) -> bool:
        """Whether a whole copy came from any of the others."""
        for source in self._exchange.sources(token):
            try:
                await self._exchange.bring(name, token, source)
            except (Refused, TransportError, ProtocolError) as error:
                _log.info("no copy from %s: %s", source.hex()[:12], error)
            except UserError as error:
                _log.warning("a copy is not taken: %s", error)
                return False
            else:
                return True
        return False

    def _defer(self, name: TokenId) -> None:
        """Asks for a copy again later, where it is still missing then."""
        known = self._retries.pop(name, None)
        if len(self._retries) < limits.COPIES_WANTED_MAX:
            pause_s = (
                limits.COPY_RETRY_S if known is None else min(2 * known.pause_s, limits.COPIES_CHECK_S)
            )
            self._retries[name] = _Retry(trio.current_time() + pause_s, pause_s)

    async def _end_unowned(self, unowned: set[Name]) -> None:
        """Drops what no token has been about at many looks in a row: its mint never came.

        Looks count only while the ledger is fresh and long after one another, for a mint may wait until
        the network can make it final.
        """
        if trio.current_time() < self._count_at_s:
            return
        self._count_at_s = trio.current_time() + limits.COPIES_CHECK_S
        self._unowned = {name: self._unowned.get(name, 0) + 1 for name in unowned}
        for (issuer, root), looks in self._unowned.items():
            if looks >= limits.UNOWNED_LOOKS:
                with _later_if_full():
                    await self._vault.delete(issuer, root)


@contextmanager
def _later_if_full() -> Iterator[None]:
    """Leaves for later what a nearly full disk does not take: the clinic goes on without it."""
    try:
        yield
    except StorageError as error:
        if error.code != Code.STORE_FULL:
            raise
        _log.warning("copies wait for room: %s", error)
