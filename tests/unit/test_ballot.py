"""What a ballot remembers of its own statements, and what must then be another's."""

import pytest

from protocol.ballot import Ballot, VoteRecord
from protocol.blocks import (
    NO_BLOCK,
    BlockHash,
    Certificate,
    Phase,
    Statement,
    sign_statement,
)
from protocol.memory import certified_by_other, foreign_statement
from protocol.messages.consensus import Relay, Vote
from tests.consensus_world import World

A, B = BlockHash(b"a" * 32), BlockHash(b"b" * 32)
WORLD = World(4, seed=0)
COMMITTEE, KEYS = WORLD.committee, WORLD.keys


def ballot(record: VoteRecord | None = None) -> Ballot:
    return Ballot(COMMITTEE, KEYS[0], record)


def said(view: int, phase: Phase, block: BlockHash = NO_BLOCK) -> Statement:
    return Statement(0, view, int(phase), block)


def test_every_statement_made_is_remembered_and_no_other() -> None:
    own = ballot()
    own.vote(3, A)
    own.finalize(3, A)
    own.null(5)
    made = {said(3, Phase.VOTE, A), said(3, Phase.FINALIZE, A), said(5, Phase.NULL)}
    for view in range(1, 9):
        for statement in (
            said(view, Phase.NULL),
            *(said(view, phase, block) for phase in (Phase.VOTE, Phase.FINALIZE) for block in (A, B)),
        ):
            assert own.remembers(statement) is (statement in made), statement


def test_a_record_speaks_for_its_view_and_its_newest_finalize_and_for_nothing_older() -> None:
    own = ballot(VoteRecord(0, 7, A, False, 4, B))
    assert own.remembers(said(7, Phase.VOTE, A))
    assert own.remembers(said(4, Phase.FINALIZE, B))
    assert own.remembers(said(6, Phase.NULL))
    assert own.remembers(said(3, Phase.FINALIZE, A))
    for statement in (
        said(7, Phase.VOTE, B),
        said(7, Phase.NULL),
        said(8, Phase.NULL),
        said(4, Phase.FINALIZE, A),
        said(5, Phase.FINALIZE, A),
        said(7, Phase.FINALIZE, A),
    ):
        assert not own.remembers(statement), statement


def test_what_is_forgotten_counts_as_ones_own_unless_it_is_above_all_that_was_signed() -> None:
    own = ballot()
    own.vote(3, A)
    own.forget_through(9)
    assert own.remembers(said(2, Phase.NULL))
    assert not own.remembers(said(4, Phase.NULL))
    own.vote(10, A)
    assert own.remembers(said(4, Phase.NULL))


@pytest.mark.parametrize("signer", [0, 1])
def test_only_a_valid_signature_under_ones_own_key_is_foreign(signer: int) -> None:
    own, statement = ballot(), said(2, Phase.NULL)
    for key in KEYS[:2]:
        vote = Vote(statement, signer, sign_statement(statement, key, COMMITTEE.network))
        is_foreign = (signer, key) == (0, KEYS[0])
        assert (foreign_statement(vote, own, COMMITTEE) == statement) is is_foreign
    own.null(2)
    vote = Vote(statement, 0, sign_statement(statement, KEYS[0], COMMITTEE.network))
    assert foreign_statement(vote, own, COMMITTEE) is None


@pytest.mark.parametrize("signers", [0b0111, 0b1110])
def test_a_certificate_shows_it_too_where_it_is_valid_and_has_ones_signature(signers: int) -> None:
    statement = said(2, Phase.FINALIZE, A)
    signatures = tuple(
        sign_statement(statement, key, COMMITTEE.network)
        for index, key in enumerate(KEYS)
        if signers >> index & 1
    )
    certificate = Certificate(statement, signers, signatures)
    assert certified_by_other(certificate, ballot(), COMMITTEE) is bool(signers & 1)
    assert (foreign_statement(Relay(certificate), ballot(), COMMITTEE) is not None) is bool(signers & 1)
    forged = Certificate(statement, signers, (*signatures[1:], signatures[0]))
    assert not certified_by_other(forged, ballot(), COMMITTEE)
