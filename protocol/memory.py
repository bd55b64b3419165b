"""Finding out that someone else signs under this validator's key, before it contradicts itself.

A node that was put back from a copy, or that runs twice, cannot know it from its own disk. Its peers do:
what they pass on has statements under its key that it does not remember having made.
"""

from collections.abc import Iterator

from protocol.ballot import Ballot
from protocol.blocks import (
    Certificate,
    Committee,
    Phase,
    Statement,
    block_hash,
    is_statement,
    verify_certificate,
    verify_statement,
)
from protocol.keys import PublicKey
from protocol.messages.consensus import ConsensusMessage, Proposal, Relay, Vote


def foreign_statement(message: ConsensusMessage, ballot: Ballot, committee: Committee) -> Statement | None:
    """A statement in `message` under the key of `ballot`, validly signed, that it does not remember.

    Signatures are verified only where one is not remembered, so that a flood costs little.
    """
    key = committee.validators[ballot.index]
    for vote in _votes(message, ballot.index, key):
        is_strange = _is_strange(vote.statement, vote.signer, ballot, committee)
        if is_strange and verify_statement(vote.statement, vote.signature, key, committee.network):
            return vote.statement
    for certificate in _certificates(message):
        if certified_by_other(certificate, ballot, committee):
            return certificate.statement
    return None


def certified_by_other(certificate: Certificate, ballot: Ballot, committee: Committee) -> bool:
    """Whether a valid certificate holds a signature under the key of `ballot` that it does not remember."""
    if not certificate.signers >> ballot.index & 1:
        return False
    is_strange = _is_strange(certificate.statement, ballot.index, ballot, committee)
    return is_strange and verify_certificate(certificate, committee)


def _is_strange(statement: Statement, signer: int, ballot: Ballot, committee: Committee) -> bool:
    is_own = signer == ballot.index and statement.epoch == committee.epoch and is_statement(statement)
    return is_own and not ballot.remembers(statement)


def _votes(message: ConsensusMessage, index: int, key: PublicKey) -> Iterator[Vote]:
    match message:
        case Vote():
            yield message
        case Proposal(block, _, _, signature) if block.header.proposer == key:
            header = block.header
            statement = Statement(header.epoch, header.view, int(Phase.VOTE), block_hash(header))
            yield Vote(statement, index, signature)
        case _:
            return


def _certificates(message: ConsensusMessage) -> Iterator[Certificate]:
    match message:
        case Relay(certificate):
            yield certificate
        case Proposal(_, parent, nullifications):
            if parent is not None:
                yield parent
            yield from nullifications
        case _:
            return
