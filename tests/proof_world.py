"""A short ledger of three epochs with a token of every standing, and proofs of its newest state."""

from protocol.blocks import (
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    sign_statement,
)
from protocol.chain import build_tail, closes_epoch, genesis_header
from protocol.epochs import prove_opening
from protocol.keys import SigningKey
from protocol.proofs import ABOUT_TOKEN, Asked, EpochEnd, Route, Standing, StateProof, prove_state
from protocol.state import LedgerState
from protocol.transactions import TokenId
from tests.ledger_world import (
    CLINICS,
    GENESIS,
    NETWORK,
    START,
    VOTERS,
    Signed,
    build,
    erase,
    grant,
    grant_id,
    keys,
    mint,
    revoke,
    rotate,
    signing,
)
from tests.unit.test_membership import remove, rotation

NEXT_VOTER = signing("a voter's next key")
VOTING = {key.public: key for key in (*VOTERS, NEXT_VOTER)}

ANNE, BERT, CARL = mint("anne"), mint("bert"), mint("carl")
NOBODY = TokenId(b"n" * 32)
_CONTENTS: tuple[tuple[Signed, ...], ...] = (
    (ANNE, BERT, CARL, *(grant(ANNE.token, number, keys("anne").owner) for number in range(4))),
    (revoke(ANNE.token, 1, keys("anne").owner), grant(BERT.token, 5, keys("bert").owner)),
    (rotation(CLINICS[1], NEXT_VOTER),),
    (rotate(BERT.token, keys("bert"), keys("bert", 1)), erase(CARL.token, keys("carl"))),
    (remove(CLINICS[3]),),
    (grant(ANNE.token, 7, keys("anne").owner),),
)

ASKED: dict[Standing, Asked] = {
    Standing.ABSENT: (NOBODY, ABOUT_TOKEN),
    Standing.OWNED: (ANNE.token, ABOUT_TOKEN),
    Standing.ERASED: (CARL.token, ABOUT_TOKEN),
    Standing.LIVE: (ANNE.token, grant_id(0)),
    Standing.REVOKED: (ANNE.token, grant_id(1)),
    Standing.ENDED: (BERT.token, grant_id(5)),
    Standing.UNREGISTERED: (ANNE.token, grant_id(6)),
}


def certify(
    header: Header, committee: Committee, *, phase: Phase = Phase.FINALIZE, count: int | None = None
) -> Certificate:
    """A certificate of `header` by the last `count` of its committee, a quorum where it is None."""
    statement = Statement(header.epoch, header.view, int(phase), block_hash(header))
    signers = range(len(committee.validators))[-(count or committee.quorum) :]
    by: list[SigningKey] = [VOTING[committee.validators[at]] for at in signers]
    signatures = tuple(sign_statement(statement, key, NETWORK) for key in by)
    return Certificate(statement, sum(1 << at for at in signers), signatures)


def _grow() -> tuple[tuple[EpochEnd, ...], Header, LedgerState]:
    ends: list[EpochEnd] = []
    header, state = genesis_header(GENESIS), START
    for items in _CONTENTS:
        committee = state.committee
        built = build(header, state, items)
        assert not built.rejected
        header, state = built.block.header, built.execution.state
        if not closes_epoch(header, state):
            continue
        finality = Finality(certify(header, committee))
        if not ends:
            tail = build_tail(
                header, view=header.view + 2, proposer=VOTERS[2].public, time_ms=header.time_ms + 5
            ).header
            finality = Finality(certify(tail, committee), tail)
        ends.append(EpochEnd(header, finality, prove_opening(state)))
    return tuple(ends), header, state


ENDS, HEADER, STATE = _grow()
ROUTE = Route(ENDS, HEADER, Finality(certify(HEADER, STATE.committee)))


def proof_of(*standings: Standing, route: Route = ROUTE) -> StateProof:
    """A true proof of what has these standings."""
    return prove_state(route, STATE, [ASKED[standing] for standing in standings])
