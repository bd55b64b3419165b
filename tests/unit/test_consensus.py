"""The consensus machine on a quiet network: what ends a view, what makes a block final, what it costs."""

import pytest

from protocol.ballot import Ballot
from protocol.blocks import (
    NO_BLOCK,
    BlockHash,
    Certificate,
    Committee,
    NetworkId,
    Phase,
    Statement,
    block_hash,
)
from protocol.errors import LocalProtocolError
from protocol.evidence import verify_evidence
from protocol.keys import SIGNATURE_BYTES
from protocol.messages.consensus import ConsensusMessage, Relay, Vote
from protocol.step import Now
from protocol.tally import Tally
from tests.consensus_world import NETWORK, ROOT, TIMEOUT_MS, World

BLOCK_A, BLOCK_B = BlockHash(b"a" * 32), BlockHash(b"b" * 32)


def committee(count: int) -> Committee:
    return World(count, seed=0).committee


@pytest.mark.parametrize(
    ("count", "quorum"),
    [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (9, 6), (10, 7), (20, 14), (31, 21)],
)
def test_quorum_is_the_smallest_that_cannot_fork(count: int, quorum: int) -> None:
    assert committee(count).quorum == quorum


def test_two_quorums_share_an_honest_validator_and_one_is_always_reachable() -> None:
    for count in range(1, 65):
        validators = tuple(ROOT.proposer for _ in range(count))
        some = Committee(NETWORK, 0, validators)
        assert 2 * some.quorum - count >= some.faults + 1
        assert some.quorum <= count - some.faults


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_transaction_becomes_final_everywhere_and_then_nothing_moves(count: int) -> None:
    world = World(count, seed=1)
    world.submit(b"one")
    world.run_until(3_000)
    assert [node.chain.root.height for node in world.nodes] == [1] * count
    assert all(node.disk.final[0].transactions == (b"one",) for node in world.nodes)
    views = [node.machine.view for node in world.nodes]
    world.run_until(60_000)
    assert [node.machine.view for node in world.nodes] == views
    assert not world.queue


def test_a_lone_transaction_needs_no_timeout() -> None:
    world = World(4, seed=2)
    world.submit(b"one")
    world.run_until(TIMEOUT_MS // 4 - 1)
    assert all(node.chain.root.height == 1 for node in world.nodes)


def test_a_dead_leader_costs_one_timeout_and_then_none() -> None:
    world = World(4, seed=3)
    dead = world.nodes[0].machine._leader(1)
    world.crash(dead)
    alive = [node for index, node in enumerate(world.nodes) if index != dead]
    world.submit(b"first")
    world.run_until(3 * TIMEOUT_MS)
    assert {node.chain.root.height for node in alive} == {1}
    for round_ in range(8):
        start = world.now_ms
        world.submit(b"later %d" % round_)
        world.run_until(start + TIMEOUT_MS // 4)
        assert {node.chain.root.height for node in alive} == {2 + round_}, f"round {round_} timed out"
        world.run_until(start + 4 * TIMEOUT_MS)


def test_below_a_quorum_nothing_is_final_and_pending_transactions_survive() -> None:
    world = World(4, seed=4)
    world.crash(0)
    world.crash(1)
    world.submit(b"waits")
    world.run_until(60_000)
    assert not world.final
    world.restart(0)
    world.run_until(120_000)
    assert world.nodes[2].chain.root.height >= 1
    assert b"waits" in world.nodes[2].disk.final[0].transactions


def test_the_network_goes_on_after_a_power_loss_of_all_at_any_moment() -> None:
    for moment_ms in range(0, 120, 3):
        world = World(4, seed=5)
        world.submit(b"before")
        world.run_until(moment_ms)
        for index in range(4):
            world.crash(index)
        world.queue.clear()
        for index in range(4):
            world.restart(index)
        world.submit(b"after")
        world.run_until(moment_ms + 60_000)
        assert all(not node.chain.pending for node in world.nodes), f"stalled after {moment_ms} ms"


def ballot() -> Ballot:
    world = World(4, seed=0)
    return Ballot(world.committee, world.keys[0], None)


def test_a_ballot_takes_one_block_a_view() -> None:
    paper = ballot()
    paper.vote(1, BLOCK_A)
    paper.vote(1, BLOCK_A)
    with pytest.raises(LocalProtocolError):
        paper.vote(1, BLOCK_B)


def test_a_ballot_takes_a_block_then_null_then_no_finalize() -> None:
    paper = ballot()
    paper.vote(1, BLOCK_A)
    paper.null(1)
    with pytest.raises(LocalProtocolError):
        paper.finalize(1, BLOCK_A)


def test_a_ballot_takes_no_null_after_finalize_also_after_a_restart() -> None:
    paper = ballot()
    paper.vote(3, BLOCK_A)
    paper.finalize(3, BLOCK_A)
    world = World(4, seed=0)
    again = Ballot(world.committee, world.keys[0], paper.record)
    for some in (paper, again):
        with pytest.raises(LocalProtocolError):
            some.null(3)
        with pytest.raises(LocalProtocolError):
            some.vote(3, BLOCK_A)


def test_the_first_block_extends_genesis() -> None:
    world = World(4, seed=6)
    world.submit(b"one")
    world.run_until(1_000)
    assert world.nodes[0].disk.final[0].header.parent == block_hash(ROOT)


def test_a_validator_that_contradicts_itself_without_end_leaves_one_proof() -> None:
    world = World(4, seed=0)
    tally = Tally(world.committee)
    for liar, contradictions in ((0, 5), (1, 2)):
        for number in range(contradictions):
            ballot = Ballot(world.committee, world.keys[liar], None)
            tally.add(ballot.vote(1, BlockHash(bytes((number + 1,)) * 32)))
    assert [item.vote_key for item in tally.evidence] == [world.keys[0].public, world.keys[1].public]
    for item in tally.evidence:
        verify_evidence(item)


def test_a_signature_that_does_not_verify_is_told_of_its_bearer_and_an_old_one_is_not() -> None:
    world = World(4, seed=0)
    world.submit(b"one")
    world.run_until(3_000)
    machine, now = world.nodes[0].machine, Now(3_000, 3_000)
    view, liar = machine.view + 1, Ballot(world.committee, world.keys[1], None)
    true = liar.vote(view, BLOCK_A)
    statement = Statement(0, view, Phase.NULL, NO_BLOCK)
    wrong = Vote(true.statement, 1, bytes(SIGNATURE_BYTES))
    elsewhere = Committee(NetworkId(bytes(32)), 0, world.committee.validators)
    certificate = Certificate(statement, 0b0111, (wrong.signature,) * 3)
    forged: list[ConsensusMessage] = [
        wrong,
        Vote(true.statement, 2, true.signature),
        Ballot(elsewhere, world.keys[1], None).vote(view, BLOCK_A),
        Relay(certificate),
    ]
    assert [machine.receive(item, 1, now).is_forged for item in forged] == [True] * 4
    old = Certificate(Statement(7, view, Phase.NULL, NO_BLOCK), 0b0111, certificate.signatures)
    assert not machine.receive(Relay(old), 1, now).is_forged
    assert not machine.receive(true, 1, now).is_forged
    assert not machine.receive(true, 1, now).is_forged


def test_a_node_that_only_follows_keeps_no_certificate_of_the_past() -> None:
    world = World(4, seed=1)
    follower = world.nodes[0].machine
    follower.may_vote = False
    for number in range(5):
        world.submit(b"%d" % number)
        world.run_until(world.now_ms + 20 * TIMEOUT_MS)
    assert world.nodes[0].chain.root.height >= 5
    root_view = follower.certificates.root.view
    assert all(item.statement.view > root_view for item in follower._unsaved)
    assert all(follower.chain.block(name) is None for name in follower._requested)
