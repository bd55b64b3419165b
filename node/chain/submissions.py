"""Transactions on their way in: checked, kept until they are final, passed to all validators.

A transaction accepted from this node's own users is durable before they are told, and is offered to
the validators again until it is final, also after a restart, without being signed again.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from node.chain.denials import Denials
from node.ports import Offload, Store, TaskStatus, Transport
from node.store import layout
from protocol import limits
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.errors import Malformed, Rejected, Rejection, UserError
from protocol.keys import PublicKey
from protocol.mempool import Mempool, Pending, VerifiedCache
from protocol.messages.consensus import Forward, Submission
from protocol.transactions import (
    Revoke,
    TransactionId,
    VerifiedTransaction,
    named_sealed_hash,
    sealed_hash,
    transaction_id,
)

PROTOCOL = "consensus"
FORWARD_BYTES_MAX = 128 * limits.KIB
FORWARD_AGAIN_S = 3.0
SUBMISSION_BYTES_MAX = limits.TRANSACTION_BYTES_MAX + limits.SEALED_BYTES_MAX + limits.KIB
VERIFY_TOGETHER_MIN = 16

WhyNot = Callable[[VerifiedTransaction], str | None]


@dataclass(slots=True)
class _Outcome:
    settled: trio.Event = field(default_factory=trio.Event)
    reason: str | None = None


class Submissions:
    """The way into the mempool, from this node's users and from other validators."""

    def __init__(
        self,
        *,
        transport: Transport,
        store: Store,
        mempool: Mempool,
        verified: VerifiedCache,
        denials: Denials,
        validators: Sequence[PublicKey],
        offload: Offload,
    ) -> None:
        self._transport, self._store, self._offload = transport, store, offload
        self._mempool, self._verified = mempool, verified
        self._validators = [peer for peer in validators if peer != transport.identity]
        self._outcomes: dict[TransactionId, _Outcome] = {}
        self._own: dict[TransactionId, Submission] = {}
        self._unsaved: list[tuple[TransactionId, Submission, trio.Event]] = []
        self._work = trio.Event()
        self._added: list[Callable[[], None]] = []
        self._rejection: WhyNot = lambda transaction: None
        self._is_final: Callable[[TransactionId], bool] = lambda name: False
        self._denials = denials
        self._on_revoked: Callable[[Submission], None] = lambda submission: None

    def connect(
        self,
        *,
        rejection: WhyNot,
        is_final: Callable[[TransactionId], bool],
        on_revoked: Callable[[Submission], None],
    ) -> None:
        """`rejection` says why the ledger would refuse; `on_revoked` passes own users' revocations on."""
        self._rejection, self._is_final, self._on_revoked = rejection, is_final, on_revoked

    def on_added(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when the mempool has something new."""
        self._added.append(callback)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._reload()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save_and_forward)
            nursery.start_soon(self._forward_again)
            task_status.started()

    async def submit(self, raw: bytes, sealed: bytes, *, sender: bytes) -> TransactionId:
        """Accepts a transaction from a user of this node; durable when it returns. One that is pending
        or final already, or ends a grant that is ended already, is accepted again and changes nothing.

        Raises:
            Malformed: not a transaction, a signature is wrong, or `sealed` is not what it names.
            Rejected: the ledger would refuse it now.
            UserError: LIMIT, too many wait.
        """
        transaction = self._verified.verify(raw)
        _check_sealed(transaction, sealed)
        # What another node forwarded is in the mempool too, but only that node would remember it.
        if transaction.id in self._own or self._is_final(transaction.id):
            return transaction.id
        if isinstance(transaction.body, Revoke):
            await self._denials.see(transaction, self._transport.identity)
        reason = self._rejection(transaction)
        if reason == Rejection.ALREADY_REVOKED:
            return transaction.id
        if reason is not None:
            raise Rejected(reason)
        # Only what the ledger would take is passed on: strangers could else have this node flood all.
        if isinstance(transaction.body, Revoke):
            self._on_revoked(Submission(raw, sealed))
        self._mempool.add(Pending(transaction, sealed, sender))
        self._outcomes.setdefault(transaction.id, _Outcome())
        saved = trio.Event()
        self._unsaved.append((transaction.id, Submission(raw, sealed), saved))
        self._work.set()
        await saved.wait()
        return transaction.id

    async def wait_final(self, name: TransactionId) -> None:
        """Returns when a transaction submitted here is final. Raises Rejected where it never will be."""
        outcome = self._outcomes.get(name)
        if outcome is None:
            return
        await outcome.settled.wait()
        if outcome.reason is not None:
            raise Rejected(outcome.reason)

    async def check(self, transactions: Iterable[bytes]) -> None:
        """Checks signatures ahead of use: beside the event loop, where there are many to check.

        Raises:
            Malformed: not a transaction, or a signature is wrong.
        """
        unseen = self._verified.unseen(transactions)
        if len(unseen) < VERIFY_TOGETHER_MIN:
            for raw in unseen:
                self._verified.verify(raw)
            return
        check = self._verified.check
        for transaction in await self._offload.run(lambda: [check(raw) for raw in unseen]):
            self._verified.add(transaction)

    async def heed(self, transactions: Sequence[bytes], peer: PublicKey) -> None:
        """Checks what `peer` sent and heeds the revocations in it: each counts from sight on, whatever
        becomes of the rest. Raises Malformed, as `check`."""
        await self.check(transactions)
        for raw in transactions:
            transaction = self._verified.verify(raw)
            if isinstance(transaction.body, Revoke):
                await self._denials.see(transaction, peer)

    async def receive(self, peer: PublicKey, submissions: Sequence[Submission]) -> None:
        """Takes transactions that a member forwarded. Raises Malformed: the member vouched for them."""
        await self.heed([item.transaction for item in submissions], peer)
        added = False
        for item in submissions:
            transaction = self._verified.verify(item.transaction)
            _check_sealed(transaction, item.sealed)
            if transaction.id in self._mempool or self._rejection(transaction) is not None:
                continue
            try:
                added |= self._mempool.add(Pending(transaction, item.sealed, peer))
            except UserError:
                break
        if added:
            self._tell()

    def settle(self, blocks: Sequence[Block]) -> None:
        """These blocks are final: whoever waits for their transactions is told."""
        for block in blocks:
            for raw in block.transactions:
                self._finish(transaction_id(raw), None)

    def reject(self, name: TransactionId, reason: str) -> None:
        """The ledger will never take this one."""
        if self._finish(name, reason):
            self._store.write((), [layout.pending(name)])

    def _finish(self, name: TransactionId, reason: str | None) -> bool:
        outcome = self._outcomes.pop(name, None)
        if outcome is not None:
            outcome.reason = reason
            outcome.settled.set()
        return self._own.pop(name, None) is not None

    def _reload(self) -> None:
        """Offers what was pending before a restart again."""
        prefix = len(layout.PENDING)
        for key, raw in self._store.iterate(layout.PENDING):
            item = decode(Submission, raw, limit=SUBMISSION_BYTES_MAX)
            transaction = self._verified.verify(item.transaction)
            if self._rejection(transaction) is None:
                self._own[TransactionId(key[prefix:])] = item
                # More than the mempool takes waits its turn with the other validators.
                with suppress(UserError):
                    self._mempool.add(Pending(transaction, item.sealed, self._transport.identity))

    async def _save_and_forward(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            unsaved, self._unsaved = self._unsaved, []
            puts = [(layout.pending(name), encode(item)) for name, item, _ in unsaved]
            await self._offload.run(lambda puts=puts: self._store.write(puts, sync=True))  # type: ignore[misc]
            own = {name: item for name, item, _ in unsaved if name in self._outcomes}
            self._own.update(own)
            # What was settled while it was written is not waited for, and needs no second life.
            settled = [layout.pending(name) for name, _, _ in unsaved if name not in own]
            if settled:
                self._store.write((), settled)
            self._forward(list(own.values()))
            self._tell()
            for _, _, saved in unsaved:
                saved.set()

    async def _forward_again(self) -> None:
        while True:
            await trio.sleep(FORWARD_AGAIN_S)
            before = list(self._own.items())
            await trio.sleep(FORWARD_AGAIN_S)
            self._forward([item for name, item in before if name in self._own])

    def _forward(self, items: Sequence[Submission]) -> None:
        batch: list[Submission] = []
        size = 0
        for item in items:
            length = len(item.transaction) + len(item.sealed)
            full = size + length > FORWARD_BYTES_MAX or len(batch) == limits.BLOCK_TRANSACTIONS_MAX
            if batch and full:
                self._send(batch)
                batch, size = [], 0
            batch.append(item)
            size += length
        if batch:
            self._send(batch)

    def _send(self, batch: Sequence[Submission]) -> None:
        payload = encode(Forward(tuple(batch)))
        for peer in self._validators:
            self._transport.send(peer, PROTOCOL, payload)

    def _tell(self) -> None:
        for callback in self._added:
            callback()


def _check_sealed(transaction: VerifiedTransaction, sealed: bytes) -> None:
    named = named_sealed_hash(transaction.body)
    if len(sealed) > limits.SEALED_BYTES_MAX or (sealed_hash(sealed) if sealed else None) != named:
        raise Malformed("the sealed bytes are not those that the transaction names")
