"""Transactions on their way in: checked, kept until they are final, passed to all validators.

A transaction accepted from this node's own users is durable before they are told, and is offered to
the validators again until it is final, also after a restart, without being signed again.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from node.chain.checking import check_signatures
from node.chain.denials import Denials
from node.chain.membership import Membership
from node.ports import Offload, Store, TaskStatus, Transport
from node.store import layout
from node.store.waiting import once_there_is_room
from protocol import limits
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.errors import Malformed, Rejected, Rejection, UserError
from protocol.keys import PublicKey
from protocol.membership import Suspend
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
NARROWING = (Revoke, Suspend)  # what counts from sight on

WhyNot = Callable[[VerifiedTransaction], str | None]


@dataclass(slots=True)
class _Outcome:
    """What became of a transaction, for one who waits for it."""

    settled: trio.Event = field(default_factory=trio.Event)
    reason: str | None = None


@dataclass(slots=True)
class _Batch:
    """Transactions that go to the disk together; why the ledger will not take some of them after all."""

    items: dict[TransactionId, Submission] = field(default_factory=dict)
    refused: dict[TransactionId, str] = field(default_factory=dict)
    saved: trio.Event = field(default_factory=trio.Event)


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
        membership: Membership,
        offload: Offload,
    ) -> None:
        self._transport, self._store, self._offload = transport, store, offload
        self._mempool, self._verified = mempool, verified
        self._membership = membership
        # Accepted here and not settled yet: in a batch first, then durable among the own.
        self._open: set[TransactionId] = set()
        self._own: dict[TransactionId, Submission] = {}
        self._next, self._saving = _Batch(), _Batch()
        self._waited_for: dict[TransactionId, _Outcome] = {}
        self._work = trio.Event()
        self._added: list[Callable[[], None]] = []
        self._rejection: WhyNot = lambda transaction: None
        self._is_final: Callable[[TransactionId], bool] = lambda name: False
        self._denials = denials
        self._on_narrowing: Callable[[Submission], None] = lambda submission: None

    def connect(
        self,
        *,
        rejection: WhyNot,
        is_final: Callable[[TransactionId], bool],
        on_narrowing: Callable[[Submission], None],
    ) -> None:
        """`rejection` says why the ledger would refuse; `on_narrowing` passes on what own users revoke
        or suspend."""
        self._rejection, self._is_final, self._on_narrowing = rejection, is_final, on_narrowing

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
        name, batch = await self._accept(Submission(raw, sealed), sender)
        if batch is not None:
            await batch.saved.wait()
            if name in batch.refused:
                raise Rejected(batch.refused[name])
        return name

    async def submit_all(self, items: Sequence[Submission], *, sender: bytes) -> list[bool]:
        """As `submit`, for several transactions at once: whether each was accepted.

        Raises:
            Malformed: one is not what `submit` would take from anyone.
        """
        accepted: list[tuple[TransactionId, _Batch | None] | None] = []
        for item in items:
            # Each is judged alone: what one of them lacks costs the others nothing.
            try:
                accepted.append(await self._accept(item, sender))
            except (Rejected, UserError):
                accepted.append(None)
        taken: list[bool] = []
        for found in accepted:
            if found is not None and found[1] is not None:
                await found[1].saved.wait()
            taken.append(found is not None and (found[1] is None or found[0] not in found[1].refused))
        return taken

    async def wait_final(self, name: TransactionId) -> None:
        """Returns when a transaction submitted here is final. Raises Rejected where it never will be."""
        if name not in self._open:
            return
        outcome = self._waited_for.setdefault(name, _Outcome())
        await outcome.settled.wait()
        if outcome.reason is not None:
            raise Rejected(outcome.reason)

    async def check(self, transactions: Iterable[bytes]) -> None:
        """Checks signatures ahead of use: beside the event loop, where there are many to check.

        Raises:
            Malformed: not a transaction, or a signature is wrong.
        """
        await check_signatures(self._verified, self._offload, transactions)

    async def heed(self, transactions: Sequence[bytes], peer: PublicKey) -> None:
        """Checks what `peer` sent and heeds the revocations and suspensions in it: each counts from sight
        on, whatever becomes of the rest. Raises Malformed, as `check`."""
        await self.check(transactions)
        for raw in transactions:
            transaction = self._verified.verify(raw)
            if isinstance(transaction.body, NARROWING):
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
        if name not in self._open:
            return
        for batch in (self._next, self._saving):
            if name in batch.items:
                batch.refused[name] = reason
        if self._finish(name, reason):
            self._store.write((), [layout.pending(name)])

    def _finish(self, name: TransactionId, reason: str | None) -> bool:
        """Settles an open transaction; whether it is durable here."""
        self._open.discard(name)
        outcome = self._waited_for.pop(name, None)
        if outcome is not None:
            outcome.reason = reason
            outcome.settled.set()
        return self._own.pop(name, None) is not None

    async def _accept(self, item: Submission, sender: bytes) -> tuple[TransactionId, _Batch | None]:
        """Lets a transaction in. It is durable once the batch is saved; without one there is nothing
        to wait for. Raises as `submit` does."""
        transaction = self._verified.verify(item.transaction)
        name = transaction.id
        _check_sealed(transaction, item.sealed)
        # What another node forwarded is in the mempool too, but only that node would remember it.
        if name in self._open:
            return name, next((b for b in (self._next, self._saving) if name in b.items), None)
        is_narrowing = isinstance(transaction.body, NARROWING)
        if is_narrowing and not self._is_final(name):
            await self._denials.see(transaction, self._transport.identity)
        reason = self._rejection(transaction)
        if reason is not None:
            if reason == Rejection.ALREADY_REVOKED or self._is_final(name):
                return name, None
            raise Rejected(reason)
        # Only what the ledger would take is passed on: strangers could else have this node flood all.
        if is_narrowing:
            self._on_narrowing(item)
        self._mempool.add(Pending(transaction, item.sealed, sender))
        self._open.add(name)
        self._next.items[name] = item
        self._work.set()
        return name, self._next

    def _reload(self) -> None:
        """Offers what was pending before a restart again."""
        for _, raw in self._store.iterate(layout.PENDING):
            item = decode(Submission, raw, limit=SUBMISSION_BYTES_MAX)
            transaction = self._verified.verify(item.transaction)
            if self._rejection(transaction) is None:
                self._open.add(transaction.id)
                self._own[transaction.id] = item
                # More than the mempool takes waits its turn with the other validators.
                with suppress(UserError):
                    self._mempool.add(Pending(transaction, item.sealed, self._transport.identity))

    async def _save_and_forward(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            batch, self._next = self._next, _Batch()
            self._saving = batch
            # The others may have it before it is durable here: only to its user nothing is said yet.
            self._forward(list(batch.items.values()))
            self._tell()
            puts = [(layout.pending(name), encode(item)) for name, item in batch.items.items()]
            await once_there_is_room(self._offload, partial(self._store.write, puts, sync=True))
            self._own.update((name, item) for name, item in batch.items.items() if name in self._open)
            # What was settled while it was written needs no second life.
            settled = [layout.pending(name) for name in batch.items if name not in self._open]
            if settled:
                self._store.write((), settled)
            batch.saved.set()

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
        others = (peer for peer in self._membership.validators if peer != self._transport.identity)
        for peer in others:
            self._transport.send(peer, PROTOCOL, payload)

    def _tell(self) -> None:
        for callback in self._added:
            callback()


def _check_sealed(transaction: VerifiedTransaction, sealed: bytes) -> None:
    named = named_sealed_hash(transaction.body)
    if len(sealed) > limits.SEALED_BYTES_MAX or (sealed_hash(sealed) if sealed else None) != named:
        raise Malformed("the sealed bytes are not those that the transaction names")
