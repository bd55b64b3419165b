"""The final chain on the store, and the state after it: what every other service reads.

A block is committed in one synced batch with its finality, the state it changes, and the pointer
to the head. At start the state is read in a full pass and its root compared with the head's header,
so that an index that silently reads short shows before anything is served or voted on.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from node.chain.membership import Membership
from node.chain.owed import Change, OwedSealed
from node.ports import Clock, Offload, Put, Store
from node.store import layout
from node.store.counted import CountedPrefix
from node.store.waiting import once_there_is_room
from protocol import limits
from protocol.access import Freshness
from protocol.blocks import Block, BlockHash, Finality, Genesis, Header, block_hash
from protocol.chain import Execution, closes_epoch, genesis_header
from protocol.codec import Wire, decode, encode
from protocol.epochs import Opening, prove_opening
from protocol.errors import StorageError
from protocol.membership import MembershipBody
from protocol.sealed import Bearer
from protocol.state import LedgerState, genesis_state
from protocol.statemap import StateMap
from protocol.transactions import (
    GrantId,
    Revoke,
    TokenId,
    TransactionId,
    VerifiedTransaction,
    decode_transaction,
    named_sealed_hash,
    sealed_hash,
    sealed_token,
)

_BLOCK_BYTES_MAX = limits.CONSENSUS_FRAME_BYTES_MAX


class Head(Wire, frozen=True):
    """The newest final block, as stored. Only the genesis block has no finality."""

    header: Header
    finality: Finality | None


class StoredOpening(Wire, frozen=True):
    """The opening of an epoch, and the height of the block that closed the one before."""

    height: int
    opening: Opening


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """What observers of the chain are told, after it is durable."""

    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    finality: Finality | None
    state: LedgerState


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A block that is final, and what executing it gave."""

    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    execution: Execution


class DeniedGrants(Container[tuple[TokenId, GrantId]]):
    """Grants revoked at sight here, final or not, for `access.decide`. Each test is one point read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __contains__(self, grant: object) -> bool:
        match grant:
            case (bytes() as token, bytes() as name):
                return self._store.get(layout.denied(token, name)) is not None
            case _:
                return False


Observer = Callable[[FinalizedBlock], None]
Filler = Callable[[Bearer, bytes], Iterable[Put]]
"""What else is to be written where sealed bytes come after their block."""


class Ledger:
    """One writer: the consensus service commits, everyone reads."""

    def __init__(self, *, genesis: Genesis, store: Store, clock: Clock, offload: Offload) -> None:
        self.genesis = genesis
        self._store, self._clock, self._offload = store, clock, offload
        self._denied = CountedPrefix(store, layout.DENIED)
        self._observers: list[Observer] = []
        self._fillers: list[Filler] = []
        self._advanced = trio.Event()
        self._denying, self._writing = trio.Lock(), trio.Lock()
        self._denied.verify()
        self.denied = DeniedGrants(store)
        self.owed = OwedSealed(store)
        self.head, self.state = self._load()
        self.membership = Membership(self.state)
        self._seen_elapsed_ms: int | None = None

    # Reading.

    @property
    def height(self) -> int:
        return self.head.header.height

    def block(self, height: int) -> Block | None:
        """A final block with the sealed bytes that are still kept; those deleted read as empty."""
        block = self.bare_block(height)
        if block is None:
            return None
        return Block(block.header, block.transactions, tuple(map(self._sealed_of, block.transactions)))

    def bare_block(self, height: int) -> Block | None:
        """A final block with none of its sealed bytes: one read, whatever it holds."""
        raw = self._store.get(layout.block(height))
        return None if raw is None else decode(Block, raw, limit=_BLOCK_BYTES_MAX)

    def header(self, height: int) -> Header | None:
        """The header of a final block: a small read, for anyone may ask for many."""
        raw = self._store.get(layout.header(height))
        return None if raw is None else decode(Header, raw, limit=limits.KIB)

    def finality(self, height: int) -> Finality | None:
        """What shows this very height to be final, if it was finalized itself; a later one covers it."""
        raw = self._store.get(layout.finality(height))
        return None if raw is None else decode(Finality, raw, limit=_BLOCK_BYTES_MAX)

    def holds(self, name: BlockHash) -> bool:
        """Whether the block of this hash is final here."""
        return self._store.get(layout.block_height(name)) is not None

    def opening(self, header: Header) -> Opening | None:
        """What shows the committee of the block after `header`, where that opens another epoch."""
        stored = self.stored_opening(header.epoch + 1)
        return stored.opening if stored is not None and stored.height == header.height else None

    def stored_opening(self, epoch: int) -> StoredOpening | None:
        """What shows the committee of `epoch`, once the epoch before is closed."""
        raw = self._store.get(layout.opening(epoch))
        return None if raw is None else decode(StoredOpening, raw, limit=_BLOCK_BYTES_MAX)

    def position(self, name: TransactionId) -> tuple[int, int] | None:
        """The height and index of a final transaction."""
        raw = self._store.get(layout.transaction(name))
        return None if raw is None else layout.read_position(raw)

    def sealed(self, token: TokenId, sealed_hash: bytes) -> bytes | None:
        """Detached sealed bytes, unless they were deleted."""
        return self._store.get(layout.sealed(token, sealed_hash))

    def freshness(self, *, clock_is_good: bool) -> Freshness:
        """How old the newest final block is, by the wall and by a clock that counts suspend.

        A block that was read from the store says nothing on the elapsed clock: before the first new
        one since the start, only its own time counts.
        """
        wall_ms, seen = self._clock.wall_ms(), self._seen_elapsed_ms
        age_ms = max(0, wall_ms - self.head.header.time_ms)
        elapsed = age_ms if seen is None else self._clock.elapsed_ms() - seen
        return Freshness(
            final_time_ms=self.head.header.time_ms,
            wall_ms=wall_ms,
            elapsed_since_final_ms=elapsed,
            clock_is_good=clock_is_good,
        )

    # Revocations at sight.

    async def deny(self, revoke: Revoke) -> None:
        """Remembers a revocation for good; durable when it returns. The caller verified its signer."""
        key = layout.denied(revoke.token, revoke.grant_id)
        async with self._denying:
            if self._store.get(key) is not None:
                return
            write = partial(self._denied.write, [(key, b"\x01")], sync=True)
            await once_there_is_room(self._offload, write)

    # Writing.

    async def commit(self, executed: Sequence[ExecutedBlock], finality: Finality) -> None:
        """Makes blocks final on this node: durable, then told to observers in order.

        `executed` are consecutive blocks above the head, and `finality` is that of the last: the only one
        that may close an epoch.
        """
        async with self._writing:
            await self._commit(executed, finality)

    async def _commit(self, executed: Sequence[ExecutedBlock], finality: Finality) -> None:
        last = executed[-1]
        puts: dict[bytes, bytes] = {}
        deletes: set[bytes] = set()
        for item in executed:
            stored = dict(_block_puts(item.block, item.transactions))
            puts.update(stored)
            deletes.difference_update(stored)  # what one block ends, the next may bring again
            puts.update((layout.state(key), value) for key, value in item.execution.changes.items())
            deletes.update(self._dropped(item.execution, puts))
            deletes.update(layout.pending(transaction.id) for transaction in item.transactions)
        height = last.block.header.height
        head = Head(last.block.header, finality)
        puts |= {layout.finality(height): encode(finality), layout.head(): encode(head)}
        if closes_epoch(last.block.header, last.execution.state):
            opening = StoredOpening(height, prove_opening(last.execution.state))
            puts[layout.opening(last.block.header.epoch + 1)] = encode(opening)
        kept = {key: value for key, value in puts.items() if key not in deletes}
        owed = self.owed.change(
            [(one.block, one.transactions) for one in executed], last.execution.state, kept
        )
        kept.update(owed.puts)
        deletes.update(owed.deletes)
        await once_there_is_room(self._offload, lambda: self._store.write(kept.items(), deletes, sync=True))
        self.owed.changed(owed)
        self.head, self.state = head, last.execution.state
        self._seen_elapsed_ms = self._clock.elapsed_ms() - self._age_ms(last.block.header)
        for item in executed:
            own = finality if item is last else None
            final = FinalizedBlock(item.block, item.transactions, own, item.execution.state)
            for observer in self._observers:
                observer(final)
        if any(isinstance(one.body, MembershipBody) for item in executed for one in item.transactions):
            self.membership.update(self.state)
        self._advanced.set()
        self._advanced = trio.Event()

    def _dropped(self, execution: Execution, puts: Iterable[bytes]) -> Iterable[bytes]:
        """The keys of sealed bytes whose access ended: named ones, and of a token whose generation
        ended all but the kept."""
        for token, name in execution.dropped_sealed:
            yield layout.sealed(token, name)
        for token, names in execution.kept_sealed.items():
            prefix = layout.sealed(token)
            stored = [key for key, _ in self._store.iterate(prefix)]
            stored.extend(key for key in puts if key.startswith(prefix))
            yield from (key for key in stored if key[len(prefix) :] not in names)

    async def fill(self, found: Mapping[Bearer, bytes], ended: Iterable[Bearer] = ()) -> None:
        """Keeps sealed bytes that this node lacked, where they are what it lacks still; `ended` are those
        that count no more."""
        async with self._writing:
            puts: list[Put] = []
            over = {layout.owed(*bearer) for bearer in ended if self.owed.get(bearer) is not None}
            for bearer, sealed in found.items():
                owed = self.owed.get(bearer)
                if owed is None or sealed_hash(sealed) != owed.entry.sealed_hash:
                    continue
                puts.append((layout.sealed(bearer[0], owed.entry.sealed_hash), sealed))
                puts.extend(put for filler in self._fillers for put in filler(bearer, sealed))
                over.add(owed.key)
            if not over:
                return
            await once_there_is_room(self._offload, lambda: self._store.write(puts, over))
            self.owed.changed(Change((), tuple(over), -len(over)))

    def observe_filled(self, filler: Filler) -> None:
        """Asks `filler` what else to write, in the same batch, when sealed bytes come after their block."""
        self._fillers.append(filler)

    def observe(self, observer: Observer) -> None:
        """Calls `observer` for each block that becomes final, after it is durable."""
        self._observers.append(observer)

    async def wait_advanced(self) -> None:
        """Returns once another block is final."""
        await self._advanced.wait()

    def _age_ms(self, header: Header) -> int:
        """Arrival does not make a block fresh: its age counts from the time it carries."""
        return max(0, self._clock.wall_ms() - header.time_ms)

    def _sealed_of(self, raw: bytes) -> bytes:
        transaction = decode_transaction(raw)
        name = named_sealed_hash(transaction.body)
        if name is None:
            return b""
        return self.sealed(sealed_token(transaction.id, transaction.body), name) or b""

    def _load(self) -> tuple[Head, LedgerState]:
        origin = genesis_state(self.genesis)
        raw = self._store.get(layout.head())
        if raw is None:
            if next(self._store.iterate(layout.STATE), None) is not None:
                raise StorageError(
                    "the ledger has a state but no head", "rebuild it from the other clinics"
                )
            header = genesis_header(self.genesis)
            self._store.write(
                [
                    *((layout.state(key), value) for key, value in origin.entries.items()),
                    *_block_puts(Block(header, (), ()), ()),
                    (layout.head(), encode(Head(header, None))),
                ],
                sync=True,
            )
            return Head(header, None), origin
        head = decode(Head, raw, limit=_BLOCK_BYTES_MAX)
        strip = len(layout.STATE)
        entries = StateMap.from_sorted(
            (key[strip:], value) for key, value in self._store.iterate(layout.STATE)
        )
        if entries.root != head.header.state_root:
            raise StorageError(
                "the ledger's state does not match its newest final block",
                "start the node again: it sets the database aside and fetches it from the other clinics",
            )
        return head, LedgerState(origin.network, origin.limits, entries)


def _block_puts(block: Block, transactions: Sequence[VerifiedTransaction]) -> Iterable[Put]:
    header = block.header
    stripped = Block(header, block.transactions, tuple(b"" for _ in block.sealed))
    yield layout.block(header.height), encode(stripped)
    yield layout.header(header.height), encode(header)
    yield layout.block_height(block_hash(header)), header.height.to_bytes(8, "big")
    for index, (transaction, sealed) in enumerate(zip(transactions, block.sealed, strict=True)):
        yield layout.transaction(transaction.id), layout.position(header.height, index)
        name = named_sealed_hash(transaction.body)
        if sealed and name is not None:
            yield layout.sealed(sealed_token(transaction.id, transaction.body), name), sealed
