"""Counting signed statements into certificates, and keeping contradictions as evidence."""

from protocol.blocks import (
    Certificate,
    Committee,
    Phase,
    Statement,
    is_statement,
    verify_statement,
)
from protocol.evidence import Evidence
from protocol.messages.consensus import Vote


class Tally:
    """The statements of all validators in the views after the last final one.

    A signer counts once for each phase of a view. Signatures are verified as they arrive, and no
    longer once the certificate they would build is there.
    """

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        self.evidence: list[Evidence] = []
        self.is_forged = False
        self._votes: dict[tuple[int, Phase], dict[int, Vote]] = {}
        self._newest: dict[int, Vote] = {}
        self._certified: set[tuple[int, Phase]] = set()

    def add(self, vote: Vote) -> Certificate | None:
        """Counts a statement; returns the certificate that it completes, if it does. `is_forged` then says
        whether its signature was looked at and is wrong."""
        self.is_forged = False
        if not self._is_countable(vote):
            return None
        statement = vote.statement
        phase = Phase(statement.phase)
        votes = self._votes.setdefault((statement.view, phase), {})
        earlier = votes.get(vote.signer)
        if earlier is not None and earlier.statement == statement:
            return None
        key = self.committee.validators[vote.signer]
        if not verify_statement(statement, vote.signature, key, self.committee.network):
            self.is_forged = True
            return None
        if earlier is not None:
            self._keep_evidence(earlier, vote)
            return None
        votes[vote.signer] = vote
        newest = self._newest.get(vote.signer)
        if newest is None or newest.statement.view <= statement.view:
            self._newest[vote.signer] = vote
        self._look_for_contradiction(vote)
        return self._certificate(statement)

    def has_spoken(self, view: int, signer: int) -> bool:
        """Whether this validator said anything that counts in `view`."""
        return any(signer in self._votes.get((view, phase), ()) for phase in Phase)

    def statements_of(self, signer: int) -> list[Vote]:
        """What this validator said that still counts, and at least its newest statement."""
        votes = [votes[signer] for votes in self._votes.values() if signer in votes]
        newest = self._newest.get(signer)
        return votes if newest is None or newest in votes else [newest, *votes]

    def is_active(self, view: int) -> bool:
        """Whether anyone said anything that counts in `view`."""
        return any(self._votes.get((view, phase)) for phase in (Phase.VOTE, Phase.NULL))

    def mark_certified(self, certificate: Certificate) -> None:
        """Stops counting what `certificate` already shows."""
        self._certified.add((certificate.statement.view, Phase(certificate.statement.phase)))

    def forget_through(self, view: int) -> None:
        """Drops all statements of `view` and before: they can no longer matter."""
        self._votes = {key: votes for key, votes in self._votes.items() if key[0] > view}
        self._certified = {key for key in self._certified if key[0] > view}

    def _is_countable(self, vote: Vote) -> bool:
        statement = vote.statement
        return (
            is_statement(statement)
            and statement.epoch == self.committee.epoch
            and vote.signer < len(self.committee.validators)
            and (statement.view, Phase(statement.phase)) not in self._certified
        )

    def _look_for_contradiction(self, vote: Vote) -> None:
        opposite = {Phase.NULL: Phase.FINALIZE, Phase.FINALIZE: Phase.NULL}.get(Phase(vote.statement.phase))
        if opposite is not None:
            other = self._votes.get((vote.statement.view, opposite), {}).get(vote.signer)
            if other is not None:
                self._keep_evidence(other, vote)

    def _keep_evidence(self, first: Vote, second: Vote) -> None:
        # One contradiction convicts a validator; it could sign any number of them.
        key = self.committee.validators[first.signer]
        if all(item.vote_key != key for item in self.evidence):
            network = self.committee.network
            self.evidence.append(
                Evidence(network, key, first.statement, first.signature, second.statement, second.signature)
            )

    def _certificate(self, statement: Statement) -> Certificate | None:
        votes = self._votes[statement.view, Phase(statement.phase)]
        agreeing = sorted(
            (signer, vote.signature) for signer, vote in votes.items() if vote.statement == statement
        )
        if len(agreeing) < self.committee.quorum:
            return None
        signers = sum(1 << signer for signer, _ in agreeing)
        return Certificate(statement, signers, tuple(signature for _, signature in agreeing))
