"""Blocks above the newest final one, executed on overlays of its state: consensus' view of the ledger."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from protocol import limits
from protocol.blocks import Block, BlockHash, Header, block_hash
from protocol.chain import Execution, build_block, build_tail, closes_epoch, execute_block, execute_tail
from protocol.errors import LocalProtocolError, Rejected, RemoteProtocolError
from protocol.finality import check_contents
from protocol.keys import PublicKey
from protocol.ledger import Overlay
from protocol.limits import NetworkLimits
from protocol.mempool import Mempool, VerifiedCache
from protocol.state import LedgerState
from protocol.step import Now
from protocol.transactions import TransactionId, VerifiedTransaction


@dataclass(slots=True)
class _Candidate:
    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    execution: Execution | None = None
    is_invalid: bool = False

    @property
    def ids(self) -> Iterator[TransactionId]:
        return (transaction.id for transaction in self.transactions)


class BlockTree:
    """Implements `step.Chain`. The store is never touched: final blocks are handed out by `path`."""

    def __init__(
        self,
        *,
        root: Header,
        state: LedgerState,
        proposer: PublicKey | None,
        mempool: Mempool,
        verified: VerifiedCache,
        on_rejected: Callable[[TransactionId, str], None],
    ) -> None:
        self.root, self.state = root, state
        self.mempool, self.verified = mempool, verified
        self._proposer, self._on_rejected = proposer, on_rejected
        self._candidates: dict[BlockHash, _Candidate] = {}
        self._work: tuple[tuple[BlockHash, int], bool] | None = None

    @property
    def limits(self) -> NetworkLimits:
        return self.state.limits

    # What consensus asks.

    def block(self, name: BlockHash) -> Block | None:
        candidate = self._candidates.get(name)
        return None if candidate is None else candidate.block

    def base(self, name: BlockHash) -> BlockHash:
        header = self._header(name)
        parent = None if header is None else self._header(header.parent)
        is_tail = header is not None and parent is not None and header.height == parent.height
        return header.parent if is_tail and header is not None else name

    def closes_epoch(self, name: BlockHash) -> bool:
        header, state = self._header(name), self._state(name)
        return header is not None and state is not None and closes_epoch(header, state)

    def add(self, block: Block) -> None:
        if block_hash(block.header) in self._candidates:
            return
        # A header with another block's contents must not take the place of the block.
        try:
            self.admit(block, is_final=False)
        except RemoteProtocolError:
            return

    def is_valid(self, block: Block, now: Now) -> bool:
        if block.header.time_ms > now.wall_ms + self.limits.tolerance_ms:
            return False
        return self.execute(block_hash(block.header)) is not None

    def has_work(self, parent: BlockHash, now: Now) -> bool:
        header = self._header(parent)
        if parent != block_hash(self.root) and self.closes_epoch(parent):
            return False  # what waits is for the next committee
        return header is not None and (self._waits(parent) or self._heartbeat_due(header, now))

    def propose(self, parent: BlockHash, view: int, now: Now) -> Block | None:
        header, state = self._header(parent), self._state(parent)
        if header is None or state is None or self._proposer is None:
            return None
        if parent != block_hash(self.root) and closes_epoch(header, state):
            return build_tail(header, view=view, proposer=self._proposer, time_ms=now.wall_ms)
        included = self._included(parent)
        block, execution, rejected = build_block(
            parent=header,
            state=state,
            view=view,
            proposer=self._proposer,
            time_ms=max(header.time_ms + 1, now.wall_ms),
            candidates=((item.transaction, item.sealed) for item in self.mempool.without(included)),
        )
        if parent == block_hash(self.root):
            for name, reason in rejected:
                self._drop(name, reason)
            if not block.transactions and not self._heartbeat_due(header, now):
                return None
        transactions = tuple(map(self.verified.verify, block.transactions))
        self._candidates[block_hash(block.header)] = _Candidate(block, transactions, execution)
        return block

    # What the node asks.

    def admit(self, block: Block, *, is_final: bool) -> None:
        """As `add`, but raises RemoteProtocolError where the contents are not those that the header
        commits to, or a signature does not verify. Of a final block, sealed bytes may be gone."""
        self._keep(self._checked(block, is_final=is_final))

    def admit_final(self, blocks: Sequence[Block]) -> list[Block]:
        """Admits final blocks: all of them, or none where it raises. Returns them; of one that is here
        already the own copy, for another's may lack sealed bytes."""
        blocks = [self.block(block_hash(block.header)) or block for block in blocks]
        for candidate in [self._checked(block, is_final=True) for block in blocks]:
            self._keep(candidate)
        return blocks

    def _checked(self, block: Block, *, is_final: bool) -> _Candidate:
        transactions = tuple(map(self.verified.verify, block.transactions))
        check_contents(block, transactions, allow_missing_sealed=is_final)
        return _Candidate(block, transactions)

    def _keep(self, candidate: _Candidate) -> None:
        if self._may_become_final(candidate.block.header):
            self._candidates.setdefault(block_hash(candidate.block.header), candidate)

    def execute(self, name: BlockHash, *, is_final: bool = False) -> Execution | None:
        """The execution of a candidate and, before it, of its ancestors. None where it is invalid
        or an ancestor is missing. Of a final block, sealed bytes may have been deleted since."""
        candidate = self._candidates.get(name)
        if candidate is None:
            return None
        # A node that was behind holds all that was proposed meanwhile: too many for a recursion.
        line: list[_Candidate] = []
        above: _Candidate | None = candidate
        while above is not None and above.execution is None and not above.is_invalid:
            line.append(above)
            above = self._candidates.get(above.block.header.parent)
        for one in reversed(line):
            self._execute_on_parent(one, is_final=is_final and one is candidate)
        return candidate.execution

    def _execute_on_parent(self, candidate: _Candidate, *, is_final: bool) -> None:
        """Executes one candidate whose parent was executed, if it could be."""
        block = candidate.block
        before = self._candidates.get(block.header.parent)
        if block.header.parent == block_hash(self.root):
            parent, state = self.root, self.state
        elif before is not None and before.execution is not None:
            parent, state = before.block.header, before.execution.state
        else:
            return
        try:
            if block.header.height == parent.height:
                candidate.execution = execute_tail(parent, state, block)
                return
            candidate.execution = execute_block(
                parent=parent,
                state=state,
                block=block,
                transactions=candidate.transactions,
                allow_missing_sealed=is_final,
            )
        except RemoteProtocolError:
            candidate.is_invalid = True

    def move_root(self, header: Header, state: LedgerState) -> None:
        """`header` became final: what is not above it is forgotten, and so are its transactions."""
        name = block_hash(header)
        while name in self._candidates:
            self.mempool.remove(self._candidates[name].ids)
            name = self._candidates[name].block.header.parent
        self.root, self.state = header, state
        self._candidates = {
            name: candidate
            for name, candidate in self._candidates.items()
            if self._may_become_final(candidate.block.header)
        }
        self._work = None

    def sweep(self, now: Now) -> None:
        """Drops pending transactions that the final state no longer admits: looks at some, in turn, for
        all together could keep this node from voting in time."""
        for item in self.mempool.some(limits.SWEEP_MAX):
            reason = self.rejection(item.transaction, now)
            if reason is not None:
                self._drop(item.transaction.id, reason)

    def rejection(self, transaction: VerifiedTransaction, now: Now) -> str | None:
        """Why the ledger would not take `transaction` right after the newest final block, if so."""
        time_ms = max(self.root.time_ms + 1, now.wall_ms)
        try:
            Overlay(self.state, height=self.root.height + 1, time_ms=time_ms).apply(transaction)
        except Rejected as error:
            return error.reason
        return None

    def _drop(self, name: TransactionId, reason: str) -> None:
        self.mempool.remove([name])
        self._on_rejected(name, reason)

    def transactions(self, name: BlockHash) -> tuple[VerifiedTransaction, ...]:
        """The verified transactions of a candidate."""
        return self._candidates[name].transactions

    def _may_become_final(self, header: Header) -> bool:
        # A leader can claim any height, but only the views that come: without them its blocks pile up.
        return header.height > self.root.height and header.view > self.root.view

    def _header(self, name: BlockHash) -> Header | None:
        if name == block_hash(self.root):
            return self.root
        candidate = self._candidates.get(name)
        return None if candidate is None else candidate.block.header

    def _state(self, name: BlockHash) -> LedgerState | None:
        if name == block_hash(self.root):
            return self.state
        execution = self.execute(name)
        return None if execution is None else execution.state

    def _heartbeat_due(self, parent: Header, now: Now) -> bool:
        return now.wall_ms >= parent.time_ms + self.limits.heartbeat_ms

    def _waits(self, parent: BlockHash) -> bool:
        """Whether the mempool has more than `parent`'s chain holds already."""
        key = (parent, self.mempool.version)
        if self._work is None or self._work[0] != key:
            included = sum(name in self.mempool for name in self._included(parent))
            self._work = key, len(self.mempool) > included
        return self._work[1]

    def _included(self, name: BlockHash) -> set[TransactionId]:
        included: set[TransactionId] = set()
        while (candidate := self._candidates.get(name)) is not None:
            included.update(candidate.ids)
            name = candidate.block.header.parent
        return included


def require_execution(execution: Execution | None) -> Execution:
    """The execution of a block that a quorum finalized: one that we cannot execute is our fault."""
    if execution is None:
        raise LocalProtocolError("a final block does not execute on this node's state")
    return execution
