"""The end of an epoch: its last block, the tails that may finalize it, and what opens the next one."""

import pytest
from msgspec.structs import replace

from protocol.blocks import NO_BLOCK, Block, BlockHash, Finality, Phase, Statement, block_hash
from protocol.certificates import Certificates
from protocol.chain import build_tail, closes_epoch, execute_tail
from protocol.codec import digest, encode
from protocol.epochs import Opening, next_committee, prove_opening
from protocol.errors import RemoteProtocolError
from protocol.finality import verify_final
from protocol.merkle import root
from protocol.state import ROSTER_ENTRY_KEY
from tests.ledger_world import CLINICS, NETWORK, START, VOTERS, build, execute, mint, signing
from tests.unit.test_finality import COMMITTEE, ROOT, certify
from tests.unit.test_membership import remove, rotation

NEW_KEY = signing("the next voter")
CLOSING = build(ROOT, START, [mint("anne"), rotation(CLINICS[1], NEW_KEY)])
HEADER, STATE = CLOSING.block.header, CLOSING.execution.state
TAIL = build_tail(HEADER, view=HEADER.view + 2, proposer=VOTERS[2].public, time_ms=HEADER.time_ms + 5)
GOES_ON = build(ROOT, START, [mint("anne")])


def test_a_block_that_changes_the_committee_closes_its_epoch() -> None:
    assert closes_epoch(HEADER, STATE)
    assert not closes_epoch(GOES_ON.block.header, GOES_ON.execution.state)
    follower = build(ROOT, START, [remove(CLINICS[3])])
    assert closes_epoch(follower.block.header, follower.execution.state)


def test_what_follows_a_closing_block_is_of_the_next_epoch_only() -> None:
    child = build(HEADER, STATE, [mint("bert")])
    assert child.block.header.epoch == HEADER.epoch + 1
    execute(HEADER, STATE, child.block)
    old = Block(
        replace(child.block.header, epoch=HEADER.epoch), child.block.transactions, child.block.sealed
    )
    with pytest.raises(RemoteProtocolError, match="epoch"):
        execute(HEADER, STATE, old)


def test_a_tail_changes_nothing_and_finalizes_the_block_that_it_follows() -> None:
    execution = execute_tail(HEADER, STATE, TAIL)
    assert (execution.state.entries.root, execution.changes) == (HEADER.state_root, {})
    verify_final(ROOT, [HEADER], Finality(certify(TAIL.header), TAIL.header), COMMITTEE)
    verify_final(ROOT, [HEADER], Finality(certify(HEADER)), COMMITTEE)


@pytest.mark.parametrize(
    "fields",
    [
        {"height": HEADER.height + 1},
        {"parent": block_hash(TAIL.header)},
        {"parent": HEADER.parent},
        {"epoch": HEADER.epoch + 1},
        {"state_root": bytes(32)},
        {"tx_root": root([bytes(32)])},
        {"view": HEADER.view},
        {"time_ms": HEADER.time_ms},
        {"network": bytes(32)},
        {"version": 2},
    ],
)
def test_what_differs_from_the_closing_block_in_more_is_no_tail(fields: dict[str, object]) -> None:
    header = replace(TAIL.header, **fields)
    with pytest.raises(RemoteProtocolError, match="tail"):
        execute_tail(HEADER, STATE, Block(header, (), ()))
    with pytest.raises(RemoteProtocolError, match=r"tail|chain"):
        verify_final(ROOT, [HEADER], Finality(certify(header), header), COMMITTEE)


def test_a_tail_has_no_transactions_and_follows_only_a_block_that_closes_its_epoch() -> None:
    full = Block(TAIL.header, (mint("bert").transaction.raw,), (b"",))
    with pytest.raises(RemoteProtocolError, match="tail"):
        execute_tail(HEADER, STATE, full)
    header = GOES_ON.block.header
    tail = build_tail(header, view=header.view + 1, proposer=VOTERS[0].public, time_ms=0)
    with pytest.raises(RemoteProtocolError, match="tail"):
        execute_tail(header, GOES_ON.execution.state, tail)


def test_a_certificate_for_a_tail_shows_nothing_without_it() -> None:
    certificate = certify(TAIL.header)
    with pytest.raises(RemoteProtocolError):
        verify_final(ROOT, [HEADER], Finality(certificate), COMMITTEE)
    with pytest.raises(RemoteProtocolError):
        verify_final(ROOT, [HEADER], Finality(certify(HEADER), TAIL.header), COMMITTEE)


def test_a_notarized_tail_lets_only_what_follows_its_block_be_proposed() -> None:
    def base(name: BlockHash) -> BlockHash:
        return block_hash(HEADER) if name == block_hash(TAIL.header) else name

    certificates = Certificates(ROOT, None)
    view = TAIL.header.view + 1
    certificates.add(certify(HEADER, phase=Phase.VOTE))
    certificates.add(replace(certify(TAIL.header, phase=Phase.VOTE)))
    assert certificates.allows(block_hash(HEADER), view, base)
    assert not certificates.allows(block_hash(TAIL.header), view, base)
    assert not certificates.allows(block_hash(ROOT), view, base)
    nullification = replace(
        certify(TAIL.header), statement=Statement(0, TAIL.header.view, int(Phase.NULL), NO_BLOCK)
    )
    certificates.add(nullification)
    assert not certificates.allows(block_hash(ROOT), view, base)


def test_the_opening_shows_the_next_committee_and_no_other_does() -> None:
    opening = prove_opening(STATE)
    committee = next_committee(HEADER, opening)
    voters = [VOTERS[0], NEW_KEY, VOTERS[2], VOTERS[3]]
    assert (committee.network, committee.epoch) == (NETWORK, 1)
    assert committee.validators == tuple(key.public for key in voters)
    invented = encode(replace(STATE.roster, validators=STATE.roster.validators[:1]))
    for wrong in (
        Opening(invented, opening.proof),
        Opening(opening.roster, STATE.entries.prove(digest("test", b"elsewhere"))),
        prove_opening(START),
    ):
        with pytest.raises(RemoteProtocolError):
            next_committee(HEADER, wrong)


def test_a_block_that_closes_no_epoch_opens_none() -> None:
    """Its roster is proven, and still that of its own epoch."""
    opening = prove_opening(GOES_ON.execution.state)
    assert GOES_ON.execution.state.entries.get(ROSTER_ENTRY_KEY) == opening.roster
    with pytest.raises(RemoteProtocolError, match="opens no epoch"):
        next_committee(GOES_ON.block.header, opening)
