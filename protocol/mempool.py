"""Transactions that wait to become final, and signatures already checked. Memory only, bounded."""

from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from protocol import limits
from protocol.blocks import NetworkId
from protocol.errors import Code, UserError
from protocol.transactions import (
    TransactionId,
    VerifiedTransaction,
    decode_transaction,
    verify_transaction,
)

VERIFIED_MAX = 4 * limits.MEMPOOL_TRANSACTIONS_MAX


class VerifiedCache:
    """Each signature is checked once: from the mempool to the final block (first in, first out)."""

    def __init__(self, network: NetworkId) -> None:
        self.network = network
        # By the bytes themselves: to look one up costs no hash. A plain dictionary would search for its
        # oldest entry longer and longer.
        self._verified: OrderedDict[bytes, VerifiedTransaction] = OrderedDict()

    def verify(self, raw: bytes) -> VerifiedTransaction:
        """The verified transaction of `raw`, from memory where it was seen. Raises Malformed."""
        known = self._verified.get(raw)
        return known if known is not None else self.add(self.check(raw))

    def check(self, raw: bytes) -> VerifiedTransaction:
        """Verifies without touching the memory, so that a thread may run it. Raises Malformed."""
        return verify_transaction(decode_transaction(raw), self.network)

    def unseen(self, raws: Iterable[bytes]) -> list[bytes]:
        """Those of `raws` that `verify` would have to check."""
        return [raw for raw in raws if raw not in self._verified]

    def add(self, transaction: VerifiedTransaction) -> VerifiedTransaction:
        self._verified[transaction.raw] = transaction
        while len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)
        return transaction


@dataclass(frozen=True, slots=True)
class Pending:
    transaction: VerifiedTransaction
    sealed: bytes
    sender: bytes


class Mempool:
    """Pending transactions by id, with a quota for each sender, taken from the senders in turn.

    Those of one sender keep their order. So whoever sends most waits longest, and nobody behind it.
    """

    def __init__(self) -> None:
        self._pending: dict[TransactionId, Pending] = {}
        self._by_sender: dict[bytes, dict[TransactionId, Pending]] = {}
        self._unswept: list[TransactionId] = []
        self.version = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, name: object) -> bool:
        return name in self._pending

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending.values())

    def get(self, name: TransactionId) -> Pending | None:
        return self._pending.get(name)

    def add(self, pending: Pending) -> bool:
        """Whether the transaction is new.

        Raises:
            UserError: LIMIT, where the mempool or the sender's share of it is full.
        """
        name, sender = pending.transaction.id, pending.sender
        if name in self._pending:
            return False
        full = len(self._pending) >= limits.MEMPOOL_TRANSACTIONS_MAX
        if full or len(self._by_sender.get(sender, ())) >= limits.MEMPOOL_PER_SENDER_MAX:
            raise UserError(
                "too many transactions wait to become final",
                "try again in a few seconds",
                code=Code.LIMIT,
            )
        self._pending[name] = pending
        self._by_sender.setdefault(sender, {})[name] = pending
        self.version += 1
        return True

    def remove(self, names: Iterable[TransactionId]) -> None:
        for name in names:
            pending = self._pending.pop(name, None)
            if pending is None:
                continue
            self.version += 1
            share = self._by_sender[pending.sender]
            del share[name]
            if not share:
                del self._by_sender[pending.sender]

    def without(self, names: Container[TransactionId]) -> Iterator[Pending]:
        """Pending transactions, one of each sender in turn, those of `names` left out."""
        waiting = [iter(share.values()) for share in self._by_sender.values()]
        while waiting:
            goes_on: list[Iterator[Pending]] = []
            for share in waiting:
                found = next((item for item in share if item.transaction.id not in names), None)
                if found is not None:
                    yield found
                    goes_on.append(share)
            waiting = goes_on

    def some(self, count: int) -> list[Pending]:
        """Pending transactions that were not among the last ones given, `count` at most: called again and
        again, it goes through all of them."""
        if not self._unswept:
            self._unswept = list(reversed(self._pending))
        given, self._unswept = self._unswept[-count:], self._unswept[:-count]
        return [self._pending[name] for name in reversed(given) if name in self._pending]
