"""A chain of full final blocks made up for the benches: built, executed and certified, by nobody's vote."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from protocol.chain import Built, Execution, build_block, genesis_header
from protocol.keys import PublicKey, SigningKey
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
    """Makes blocks upon the last one made. `voters` are the keys of the genesis committee."""

    def __init__(self, genesis: Genesis, voters: Sequence[SigningKey]) -> None:
        self.committee: Committee = genesis_committee(genesis)
        self._voters = {key.public: key for key in voters}
        self._verified = VerifiedCache(self.committee.network)
        self.tip: tuple[Header, LedgerState] = genesis_header(genesis), genesis_state(genesis)

    def blocks(
        self, submissions: Iterable[Submission], *, transactions_max: int = BLOCK_TRANSACTIONS_MAX
    ) -> Iterator[MadeBlock]:
        """Blocks of `submissions`, each of `transactions_max` or as many as fit."""
        source = ((self._verified.verify(item.transaction), item.sealed) for item in submissions)
        waiting = list(islice(source, _AHEAD))
        while waiting:
            committee = self.tip[1].committee
            built = self._build(waiting[:transactions_max], later_ms=1)
            count = len(built.block.transactions)
            transactions = tuple(transaction for transaction, _ in waiting[:count])
            finality = Finality(_certify(built, committee, self._voters))
            yield MadeBlock(built.block, transactions, built.execution, finality)
            waiting = waiting[count:] + list(islice(source, count))

    def learn(self, voter: SigningKey) -> None:
        """A key that votes once a block has put it into the committee."""
        self._voters[voter.public] = voter

    def heartbeats(self, count: int, *, every_ms: int) -> list[MadeBlock]:
        """So many empty blocks, which are final by a certificate of the last: all carry that one."""
        committee = self.tip[1].committee
        made = [self._build([], later_ms=every_ms) for _ in range(count)]
        finality = Finality(_certify(made[-1], committee, self._voters))
        return [MadeBlock(built.block, (), built.execution, finality) for built in made]

    def _build(self, candidates: Sequence[tuple[VerifiedTransaction, bytes]], *, later_ms: int) -> Built:
        parent, state = self.tip
        built = build_block(
            parent=parent,
            state=state,
            view=parent.view + 1,
            proposer=state.committee.validators[0],
            time_ms=parent.time_ms + later_ms,
            candidates=candidates,
        )
        assert not built.rejected
        self.tip = built.block.header, built.execution.state
        return built


def _certify(built: Built, committee: Committee, voters: Mapping[PublicKey, SigningKey]) -> Certificate:
    """By the first of the committee that are a quorum."""
    header = built.block.header
    statement = Statement(header.epoch, header.view, Phase.FINALIZE, block_hash(header))
    signing = [voters[key] for key in committee.validators[: committee.quorum]]
    signatures = tuple(sign_statement(statement, key, committee.network) for key in signing)
    return Certificate(statement, (1 << len(signing)) - 1, signatures)
