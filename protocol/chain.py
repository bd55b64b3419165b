"""Blocks on the ledger: building one, executing one, and proving what one holds.

Everything here is computation on given values. A block's time is compared with its parent's only; that
it is not ahead of the own clock is for whoever votes. Proposer and certificate are for consensus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from protocol import limits, merkle
from protocol.blocks import NO_BLOCK, VERSION, Block, Genesis, Header, block_hash, is_tail, network_id
from protocol.codec import HASH_BYTES, encode
from protocol.errors import LocalProtocolError, Rejected, Rejection, RemoteProtocolError
from protocol.keys import PublicKey
from protocol.ledger import Overlay, SealedRef
from protocol.state import LedgerState, genesis_state
from protocol.transactions import (
    Body,
    TokenId,
    TransactionId,
    VerifiedTransaction,
    named_sealed_hash,
    sealed_hash,
    transaction_id,
)

_ITEM_OVERHEAD_BYTES = 2 * 3  # MessagePack's header before a byte string below 64 KiB, twice
_COUNTS_OVERHEAD_BYTES = 2 * 2  # two arrays that grow from no item to up to 65,535


@dataclass(frozen=True, slots=True)
class Execution:
    """What a block does. `changes` are the state map's new leaves; for the rest see `Overlay`."""

    state: LedgerState
    changes: dict[bytes, bytes]
    dropped_sealed: frozenset[SealedRef]
    kept_sealed: dict[TokenId, frozenset[bytes]]


class Built(NamedTuple):
    """A new block, its execution, and the candidates that the ledger does not take."""

    block: Block
    execution: Execution
    rejected: tuple[tuple[TransactionId, str], ...]


def genesis_header(genesis: Genesis) -> Header:
    """The header at height 0, which nobody signs: the parent of the first block."""
    return Header(
        version=VERSION,
        network=network_id(genesis),
        epoch=0,
        view=0,
        height=0,
        parent=NO_BLOCK,
        time_ms=genesis.created_ms,
        tx_root=merkle.EMPTY_ROOT,
        state_root=genesis_state(genesis).entries.root,
        proposer=genesis.members[0].vote_key,
    )


def build_block(
    *,
    parent: Header,
    state: LedgerState,
    view: int,
    proposer: PublicKey,
    time_ms: int,
    candidates: Iterable[tuple[VerifiedTransaction, bytes]],
) -> Built:
    """A block on `parent`, whose state is `state`, of candidates in their order while they fit.

    It is of the epoch that `state` says is open.

    Candidates are transactions with their sealed bytes. A rejected one is left out and reported. From
    the first that does not fit on they wait for a later block, since each may rest on those before; also
    where too many were rejected, or one node's junk would hold up every proposer.
    `proposer` is a vote key; `time_ms` must be later than the parent's.

    Raises:
        LocalProtocolError: the block would not link to its parent.
    """
    header = Header(
        VERSION,
        state.network,
        state.roster.epoch,
        view,
        parent.height + 1,
        block_hash(parent),
        time_ms,
        bytes(HASH_BYTES),
        bytes(HASH_BYTES),
        proposer,
    )
    broken = _broken_link(parent, state, header)
    if broken:
        raise LocalProtocolError(f"block to be built has {broken}")
    overlay = Overlay(state, height=header.height, time_ms=time_ms)
    room = state.limits.block_bytes_max - len(encode(Block(header, (), ()))) - _COUNTS_OVERHEAD_BYTES
    taken, rejected = _take(overlay, candidates, room)
    execution = _finish(overlay)
    header = replace(
        header,
        tx_root=merkle.root([transaction.id for transaction, _ in taken]),
        state_root=execution.state.entries.root,
    )
    raws, sealed = tuple(item.raw for item, _ in taken), tuple(sealed for _, sealed in taken)
    return Built(Block(header, raws, sealed), execution, rejected)


def execute_block(
    *,
    parent: Header,
    state: LedgerState,
    block: Block,
    transactions: Sequence[VerifiedTransaction],
    allow_missing_sealed: bool = False,
) -> Execution:
    """Executes a decoded block on its parent's state. `transactions` are the block's own, verified.

    With `allow_missing_sealed`, an empty entry stands for sealed bytes deleted since: only for blocks
    known to be final.

    Raises:
        RemoteProtocolError: it does not link to its parent, is too large, holds a transaction that the
            ledger rejects or sealed bytes other than named, or a root is not that of its contents.
        LocalProtocolError: `transactions` are not those of the block.
    """
    header = block.header
    broken = _broken_link(parent, state, header)
    if broken:
        raise RemoteProtocolError(f"block has {broken}")
    if len(encode(block)) > state.limits.block_bytes_max:
        raise RemoteProtocolError("block is over the network's size limit")
    if [transaction.raw for transaction in transactions] != list(block.transactions):
        raise LocalProtocolError("transactions given are not those of the block")
    if header.tx_root != merkle.root([transaction.id for transaction in transactions]):
        raise RemoteProtocolError("block's transaction root is not that of its transactions")
    overlay = Overlay(state, height=header.height, time_ms=header.time_ms)
    for transaction, sealed in zip(transactions, block.sealed, strict=True):
        if not is_named_sealed(transaction.body, sealed) and (sealed or not allow_missing_sealed):
            raise RemoteProtocolError("block has sealed bytes other than its transaction names")
        try:
            overlay.apply(transaction)
        except Rejected as error:
            raise RemoteProtocolError(f"block holds a rejected transaction: {error.reason}") from error
    execution = _finish(overlay)
    if header.state_root != execution.state.entries.root:
        raise RemoteProtocolError("block's state root is not that of the state after it")
    return execution


def closes_epoch(header: Header, state: LedgerState) -> bool:
    """Whether the block of `header`, with `state` after it, is the last of its epoch."""
    return state.roster.epoch != header.epoch


def build_tail(closing: Header, *, view: int, proposer: PublicKey, time_ms: int) -> Block:
    """An empty block by which the old committee finalizes `closing` (see `Finality`)."""
    return Block(
        replace(
            closing,
            view=view,
            parent=block_hash(closing),
            time_ms=max(closing.time_ms + 1, time_ms),
            tx_root=merkle.EMPTY_ROOT,
            proposer=proposer,
        ),
        (),
        (),
    )


def execute_tail(closing: Header, state: LedgerState, block: Block) -> Execution:
    """Executes a tail: nothing changes.

    Raises:
        RemoteProtocolError: it is no tail, has transactions, or `closing` does not close its epoch.
    """
    if block.transactions or not is_tail(block.header, closing) or not closes_epoch(closing, state):
        raise RemoteProtocolError("block is no tail of the block that closes its epoch")
    return Execution(state, {}, frozenset(), {})


def is_named_sealed(body: Body, sealed: bytes) -> bool:
    """Whether `sealed` is what must travel beside `body`: the bytes it names, or nothing."""
    named = named_sealed_hash(body)
    return not sealed if named is None else sealed_hash(sealed) == named


def transaction_tree(block: Block) -> merkle.Tree:
    """The tree under the header's `tx_root`. Its paths are for `verify_inclusion`."""
    return merkle.Tree(b"".join(merkle.leaf_hash(transaction_id(raw)) for raw in block.transactions))


def prove_transaction(block: Block, index: int) -> tuple[bytes, ...]:
    """The path of transaction `index`; `transaction_tree` is cheaper where several are asked.

    Raises:
        LocalProtocolError: the block has no such transaction.
    """
    return transaction_tree(block).path(index)


def verify_inclusion(
    header: Header, transaction: TransactionId, index: int, size: int, path: Sequence[bytes]
) -> bool:
    """Whether `transaction` is number `index` of `size` in the header's block. Never raises.

    That the header is final is another question, answered by its certificate.
    """
    return merkle.verify(transaction, index, size, path, header.tx_root)


def _broken_link(parent: Header, state: LedgerState, header: Header) -> str:
    """What keeps `header` from being the child of `parent`, whose state is `state`; else nothing."""
    if header.version != VERSION:
        return "another version"
    if header.network != state.network:
        return "another network"
    if header.parent != block_hash(parent) or header.height != parent.height + 1:
        return "another parent"
    if header.epoch != state.roster.epoch or header.view <= parent.view:
        return "an epoch or view that does not follow its parent's"
    if header.time_ms <= parent.time_ms:
        return "a time that is not after its parent's"
    return ""


def _take(
    overlay: Overlay, candidates: Iterable[tuple[VerifiedTransaction, bytes]], room: int
) -> tuple[list[tuple[VerifiedTransaction, bytes]], tuple[tuple[TransactionId, str], ...]]:
    taken: list[tuple[VerifiedTransaction, bytes]] = []
    rejected: list[tuple[TransactionId, str]] = []
    for transaction, sealed in candidates:
        if len(rejected) == limits.REJECTED_PER_BLOCK_MAX:
            break
        if not is_named_sealed(transaction.body, sealed) or len(sealed) > limits.SEALED_BYTES_MAX:
            rejected.append((transaction.id, Rejection.SEALED))
            continue
        size = len(transaction.raw) + len(sealed) + _ITEM_OVERHEAD_BYTES
        if size > room or len(taken) == limits.BLOCK_TRANSACTIONS_MAX:
            break
        try:
            overlay.apply(transaction)
        except Rejected as error:
            # One block closes one epoch: a second change of the committee waits for the next.
            if error.reason != Rejection.EPOCH_CLOSES:
                rejected.append((transaction.id, error.reason))
            continue
        taken.append((transaction, sealed))
        room -= size
    return taken, tuple(rejected)


def _finish(overlay: Overlay) -> Execution:
    kept = {token: frozenset(hashes) for token, hashes in overlay.kept_sealed.items()}
    return Execution(overlay.commit(), overlay.changes, frozenset(overlay.dropped_sealed), kept)
