"""Evidence against members is kept for good, once a key, and only where a member is convicted."""

import pytest
from msgspec.structs import replace

from node.members.accusations import Accusations
from node.store.memory import MemoryStore
from protocol.blocks import BlockHash, Phase, Statement, sign_statement
from protocol.errors import Malformed
from protocol.evidence import Evidence
from protocol.keys import PublicKey, SigningKey
from tests.ledger_world import CLINICS, NETWORK, START, STRANGER, VOTERS


def owner_of(vote_key: PublicKey) -> PublicKey | None:
    used = START.vote_key(vote_key)
    return None if used is None else used.member


def evidence(voter: SigningKey, view: int = 3) -> Evidence:
    first, second = (Statement(0, view, Phase.VOTE, BlockHash(bytes((at,)) * 32)) for at in (1, 2))
    return Evidence(
        NETWORK,
        voter.public,
        first,
        sign_statement(first, voter, NETWORK),
        second,
        sign_statement(second, voter, NETWORK),
    )


def test_evidence_survives_a_power_cut_and_names_its_member() -> None:
    store = MemoryStore()
    assert Accusations(store, owner_of).add(evidence(VOTERS[1]))
    again = Accusations(store.crash(0), owner_of)
    assert again.all() == [evidence(VOTERS[1])]
    assert again.against(CLINICS[1].public) == again.all()
    assert again.against(CLINICS[0].public) == []
    assert again.owner_of(again.all()[0]) == CLINICS[1].public


def test_one_contradiction_convicts_and_more_are_no_news() -> None:
    kept = Accusations(MemoryStore(), owner_of)
    assert kept.add(evidence(VOTERS[1]))
    assert not kept.add(evidence(VOTERS[1]))
    assert not kept.add(evidence(VOTERS[1], view=9))
    assert kept.add(evidence(VOTERS[2]))
    assert len(kept.all()) == 2


def test_what_convicts_no_member_is_not_kept() -> None:
    kept = Accusations(MemoryStore(), owner_of)
    assert not kept.add(evidence(STRANGER))
    assert kept.all() == []


def test_what_convicts_nobody_costs_its_sender() -> None:
    kept = Accusations(MemoryStore(), owner_of)
    with pytest.raises(Malformed):
        kept.add(replace(evidence(VOTERS[1]), vote_key=VOTERS[2].public))
    assert kept.all() == []
