"""What a clinic proves of its newest state: the way to it, and what is so of one patient's tokens."""

from node.chain.ledger import Ledger
from protocol import limits
from protocol.blocks import NetworkId
from protocol.keys import PublicKey
from protocol.messages.light import OwnedProof, ProofRequest, verify_owned
from protocol.proofs import EpochEnd, Route, StateProof, prove_state
from protocol.state import LedgerState
from protocol.transactions import TokenId


def route_from(ledger: Ledger, epoch: int) -> Route | None:
    """The way from the committee of `epoch` to the newest final header, or to the end of an epoch where it
    would be too long for one reply; None before the first block, and from an epoch still to come."""
    ends: list[EpochEnd] = []
    while len(ends) <= limits.ROUTE_EPOCHS_MAX:
        stored = ledger.stored_opening(epoch + len(ends) + 1)
        if stored is None:
            break
        header, finality = ledger.header(stored.height), ledger.finality(stored.height)
        if header is None or finality is None:
            return None
        ends.append(EpochEnd(header, finality, stored.opening))
    if len(ends) > limits.ROUTE_EPOCHS_MAX:
        last = ends.pop()
        return Route(tuple(ends), last.header, last.finality)
    head = ledger.head
    # The block that closed the newest epoch is the head itself until the next epoch has a block.
    if ends and ends[-1].header == head.header:
        ends.pop()
    if head.finality is None or head.header.epoch != epoch + len(ends):
        return None
    return Route(tuple(ends), head.header, head.finality)


def answer_proof(
    ledger: Ledger, request: ProofRequest, *, server: PublicKey, network: NetworkId
) -> StateProof | None:
    """The proof asked for; None for whoever does not hold an owner key of each token, and without a way."""
    said, state = OwnedProof(server, request.nonce), ledger.state
    # Who asks about many grants of one token signs once.
    for key, signature in set(zip(request.keys, request.signatures, strict=True)):
        if not verify_owned(said, key, signature, network):
            return None
    for subject, key in zip(request.subjects, request.keys, strict=True):
        if not _may_ask(state, key, subject.token):
            return None
    route = route_from(ledger, request.epoch)
    if route is None or route.header != ledger.head.header:
        return None
    return prove_state(route, state, [(one.token, one.grant) for one in request.subjects])


def _may_ask(state: LedgerState, key: PublicKey, token: TokenId) -> bool:
    """Whether `key` owns or owned `token`, or there is no such token, which anyone may be shown."""
    held = state.owner_key(key)
    return state.token(token) is None if held is None else held.token == token
