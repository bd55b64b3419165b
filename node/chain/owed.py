"""Sealed bytes that this node should hold and does not: the durable list of them.

Final blocks come without the sealed bytes of what has ended since, and whoever serves them can leave out
others as well: nothing in a block tells the two apart. What does is the state after it. So what a block
lacks is put down here, in the batch that stores the block, unless its access is over by then; and what
ends later is taken off in the batch that ends it.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from node.ports import Put, Store
from node.store import layout
from protocol import limits
from protocol.blocks import Block
from protocol.codec import Wire, decode, encode
from protocol.proofs import ABOUT_TOKEN
from protocol.sealed import Bearer, bearer_of, bears
from protocol.state import LedgerState
from protocol.transactions import (
    Erase,
    GrantId,
    Revoke,
    Rotate,
    TokenId,
    Transfer,
    VerifiedTransaction,
    named_sealed_hash,
)

_TOKEN = slice(len(layout.OWED), len(layout.OWED) + 32)
_GRANT = slice(len(layout.OWED) + 32, None)

TakenIn = tuple[Block, Sequence[VerifiedTransaction]]
"""A final block as it came, and its transactions."""


class OwedEntry(Wire, frozen=True):
    """The hash of what is lacking, and until what time of the ledger it counts; None is for good."""

    sealed_hash: bytes
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Owed:
    """One entry of the list."""

    bearer: Bearer
    entry: OwedEntry

    @property
    def key(self) -> bytes:
        return layout.owed(*self.bearer)

    def counts_at(self, time_ms: int) -> bool:
        """Whether the longest life that a grant may have is not over at this time."""
        return self.entry.until_ms is None or time_ms <= self.entry.until_ms


@dataclass(frozen=True, slots=True)
class Change:
    """What a batch puts on the list and takes off it, and by how much the list grows."""

    puts: Sequence[Put]
    deletes: Sequence[bytes]
    growth: int


class OwedSealed:
    """The list as it is. The ledger writes it, each time with what makes it change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.count = sum(1 for _ in store.iterate(layout.OWED))

    def get(self, bearer: Bearer) -> Owed | None:
        raw = self._store.get(layout.owed(*bearer))
        return None if raw is None else _read(layout.owed(*bearer), raw)

    def some(self, start: bytes, most: int) -> list[Owed]:
        """Up to `most` entries in the order of their keys, from the key `start` on."""
        entries = zip(range(most), self._store.iterate(layout.OWED, start=start), strict=False)
        return [_read(*put) for _, put in entries]

    def change(self, blocks: Sequence[TakenIn], state: LedgerState, stored: Container[bytes]) -> Change:
        """What taking in consecutive `blocks` changes, `state` being that after the last. `stored` are the
        keys that the same batch writes."""
        puts = {owed.key: owed for owed in self._lacking(blocks, state) if not self._has(owed, stored)}
        deletes = [
            owed.key
            for owed in self._touched(blocks)
            if owed.key not in puts and not bears(state, owed.bearer, owed.entry.sealed_hash)
        ]
        new = sum(self._store.get(key) is None for key in puts)
        return Change(
            [(key, encode(owed.entry)) for key, owed in puts.items()], deletes, new - len(deletes)
        )

    def changed(self, change: Change) -> None:
        """`change` is on the disk."""
        self.count += change.growth

    def _lacking(self, blocks: Sequence[TakenIn], state: LedgerState) -> Iterator[Owed]:
        """What came without its sealed bytes and should not have."""
        now_ms = blocks[-1][0].header.time_ms
        for block, transactions in blocks:
            for transaction, sealed in zip(transactions, block.sealed, strict=True):
                bearer = None if sealed else bearer_of(transaction)
                name = named_sealed_hash(transaction.body)
                if bearer is None or name is None:
                    continue
                life_ms = None if bearer[1] == ABOUT_TOKEN else state.limits.grant_life_max_ms
                until_ms = None if life_ms is None else block.header.time_ms + life_ms
                owed = Owed(bearer, OwedEntry(name, until_ms))
                if bears(state, bearer, name) and owed.counts_at(now_ms):
                    yield owed

    def _has(self, owed: Owed, stored: Container[bytes]) -> bool:
        key = layout.sealed(owed.bearer[0], owed.entry.sealed_hash)
        return key in stored or self._store.get(key) is not None

    def _touched(self, blocks: Sequence[TakenIn]) -> Iterator[Owed]:
        """The entries that `blocks` may have ended, each once."""
        if not self.count:
            return
        tokens: dict[TokenId, None] = {}
        grants: dict[Bearer, None] = {}
        for _, transactions in blocks:
            for transaction in transactions:
                match transaction.body:
                    case Transfer() | Rotate() | Erase() as body:
                        tokens[body.token] = None
                    case Revoke() as body:
                        grants[body.token, body.grant_id] = None
        for token in tokens:
            yield from (_read(*put) for put in self._store.iterate(layout.owed(token)))
        for bearer in grants:
            owed = None if bearer[0] in tokens else self.get(bearer)
            if owed is not None:
                yield owed


def _read(key: bytes, raw: bytes) -> Owed:
    entry = decode(OwedEntry, raw, limit=limits.KIB)
    return Owed((TokenId(key[_TOKEN]), GrantId(key[_GRANT])), entry)
