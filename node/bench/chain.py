"""A chain of full final blocks made up for the benches: built, executed and certified, by nobody's vote."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from protocol.blocks import (
    Block,
    Certificate,
    Committee,
    Finality,
    Genesis,
    Header,
    Phase,
    Statement,
    block_hash,
    genesis_committee,
    sign_statement,
)
from protocol.chain import Execution, build_block, genesis_header
from protocol.keys import SigningKey
from protocol.limits import BLOCK_TRANSACTIONS_MAX
from protocol.mempool import VerifiedCache
from protocol.messages.consensus import Submission
from protocol.state import LedgerState, genesis_state
from protocol.transactions import VerifiedTransaction

_AHEAD = 2 * BLOCK_TRANSACTIONS_MAX


class MadeBlock(NamedTuple):
    """A final block with what executing it gave."""

    block: Block
    transactions: tuple[VerifiedTransaction, ...]
    execution: Execution
    finality: Finality


class ChainMaker:
    """Makes blocks upon the last one made. `voters` are the keys of the genesis committee, in order."""

    def __init__(self, genesis: Genesis, voters: Sequence[SigningKey]) -> None:
        self.committee: Committee = genesis_committee(genesis)
        self._voters = voters
        self._verified = VerifiedCache(self.committee.network)
        self.tip: tuple[Header, LedgerState] = genesis_header(genesis), genesis_state(genesis)

    def blocks(
        self, submissions: Iterable[Submission], *, transactions_max: int = BLOCK_TRANSACTIONS_MAX
    ) -> Iterator[MadeBlock]:
        """Blocks of `submissions`, each of `transactions_max` or as many as fit."""
        source = ((self._verified.verify(item.transaction), item.sealed) for item in submissions)
        waiting = list(islice(source, _AHEAD))
        while waiting:
            parent, state = self.tip
            built = build_block(
                parent=parent,
                state=state,
                view=parent.view + 1,
                proposer=self._voters[0].public,
                time_ms=parent.time_ms + 1,
                candidates=waiting[:transactions_max],
            )
            assert not built.rejected
            count = len(built.block.transactions)
            self.tip = built.block.header, built.execution.state
            transactions = tuple(transaction for transaction, _ in waiting[:count])
            yield MadeBlock(
                built.block, transactions, built.execution, Finality(self._certify(built.block.header))
            )
            waiting = waiting[count:] + list(islice(source, count))

    def _certify(self, header: Header) -> Certificate:
        statement = Statement(header.epoch, header.view, Phase.FINALIZE, block_hash(header))
        signing = self._voters[: self.committee.quorum]
        signatures = tuple(sign_statement(statement, key, self.committee.network) for key in signing)
        return Certificate(statement, (1 << len(signing)) - 1, signatures)
