"""Each invariant sees what breaks it, and nothing where all is right."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_struct

from protocol.blocks import NO_BLOCK, BlockHash, Certificate, NetworkId, Phase, Statement, sign_statement
from protocol.codec import encode
from protocol.evidence import Evidence
from protocol.keys import PublicKey, SigningKey
from protocol.transactions import TransactionId
from tests.sim.invariants import (
    CertificateCollector,
    ChainCollector,
    FinalBlock,
    KeyCollector,
    Said,
    VoteCollector,
    check_acknowledged,
    check_converged,
    check_evidence,
    check_signed_enough,
)
from tests.sim.second_look import second_look
from tests.sim.world import Violation

ONE, TWO = BlockHash(bytes([1]) * 32), BlockHash(bytes([2]) * 32)
PAID = TransactionId(b"paid")
FIRST = FinalBlock(1, ONE, NO_BLOCK, 0, 3, 1_000, b"root one", (PAID,))
SECOND = FinalBlock(2, TWO, ONE, 0, 5, 1_001, b"root two", ())


def hear(*statements: tuple[int, Phase, bytes]) -> None:
    votes = VoteCollector()
    for view, phase, block in statements:
        votes.hear(Said(0, view, phase, block, "n0"))


def test_one_vote_one_null_and_the_next_view_are_no_contradiction() -> None:
    hear(
        (1, Phase.VOTE, ONE),
        (1, Phase.NULL, NO_BLOCK),
        (1, Phase.VOTE, ONE),
        (2, Phase.VOTE, TWO),
        (2, Phase.FINALIZE, TWO),
    )


@pytest.mark.parametrize(
    "second", [(1, Phase.VOTE, TWO), (1, Phase.FINALIZE, TWO)], ids=["another vote", "another finalize"]
)
def test_two_blocks_in_one_view_break_l3(second: tuple[int, Phase, bytes]) -> None:
    with pytest.raises(Violation, match="L3"):
        hear((1, second[1], ONE), second)


@pytest.mark.parametrize("null_first", [True, False])
def test_null_beside_finalize_breaks_l3(null_first: bool) -> None:
    both = [(1, Phase.NULL, NO_BLOCK), (1, Phase.FINALIZE, ONE)]
    with pytest.raises(Violation, match="L3"):
        hear(*(both if null_first else both[::-1]))


def test_a_new_vote_in_a_past_view_breaks_l4_and_an_old_one_sent_again_does_not() -> None:
    hear((1, Phase.VOTE, ONE), (2, Phase.NULL, NO_BLOCK), (1, Phase.VOTE, ONE), (1, Phase.FINALIZE, ONE))
    with pytest.raises(Violation, match="L4"):
        hear((2, Phase.NULL, NO_BLOCK), (1, Phase.VOTE, ONE))


def test_a_view_both_finalized_and_nullified_breaks_l2() -> None:
    seen = CertificateCollector()
    seen.see(0, 1, Phase.VOTE, ONE)
    seen.see(0, 1, Phase.NULL, NO_BLOCK)
    with pytest.raises(Violation, match="L2"):
        seen.see(0, 1, Phase.FINALIZE, ONE)


def test_two_blocks_finalized_in_one_view_break_l2() -> None:
    seen = CertificateCollector()
    seen.see(0, 1, Phase.FINALIZE, ONE)
    with pytest.raises(Violation, match="L2"):
        seen.see(0, 1, Phase.FINALIZE, TWO)


def test_a_finalized_block_off_the_chain_breaks_l2() -> None:
    seen = CertificateCollector()
    seen.see(0, 3, Phase.FINALIZE, ONE)
    seen.see(0, 9, Phase.FINALIZE, TWO)
    seen.check_chain([FIRST])
    with pytest.raises(Violation, match="L2"):
        seen.check_chain([replace(FIRST, view=9, name=TWO)])


THIRD = replace(
    SECOND, height=3, name=BlockHash(bytes([3]) * 32), parent=TWO, epoch=1, view=9, time_ms=1_002
)
TAIL = BlockHash(bytes([8]) * 32)


@pytest.mark.parametrize(
    ("base", "epoch"), [(TWO, 1), (ONE, 1), (TWO, 0)], ids=["right", "another block's", "nothing closes"]
)
def test_a_finalized_tail_must_be_that_of_the_block_that_closes_its_epoch(
    base: BlockHash, epoch: int
) -> None:
    seen = CertificateCollector()
    seen.see(0, 7, Phase.FINALIZE, TAIL)
    chain = [FIRST, SECOND, replace(THIRD, epoch=epoch)]
    if (base, epoch) == (TWO, 1):
        seen.check_chain(chain, {TAIL: base})
    else:
        with pytest.raises(Violation, match="L2"):
            seen.check_chain(chain, {TAIL: base})


def test_a_vote_key_that_ended_counts_in_its_epoch_and_in_none_after() -> None:
    member, other, old, new = (PublicKey(bytes([number]) * 33) for number in range(4))
    keys = KeyCollector({member: old})
    keys.admitted(other, PublicKey(b"another"))
    keys.ended(member, 2, next_key=new)
    keys.check(2, [old])
    keys.check(3, [new, PublicKey(b"another")])
    with pytest.raises(Violation, match="L8"):
        keys.check(3, [old])
    keys.ended(member, 4)
    with pytest.raises(Violation, match="L8"):
        keys.check(5, [new])


def chains(*seen: tuple[str, FinalBlock]) -> ChainCollector:
    collector = ChainCollector()
    for node, block in seen:
        collector.see(node, block)
    return collector


def test_equal_chains_hold() -> None:
    chains(("n0", FIRST), ("n1", FIRST), ("n0", SECOND), ("n1", SECOND))


@pytest.mark.parametrize(
    ("invariant", "block"),
    [
        ("L1", replace(SECOND, name=ONE)),
        ("L6", replace(SECOND, state_root=b"another")),
    ],
)
def test_different_blocks_or_states_at_one_height_are_found(invariant: str, block: FinalBlock) -> None:
    with pytest.raises(Violation, match=invariant):
        chains(("n0", FIRST), ("n0", SECOND), ("n1", FIRST), ("n1", block))


@pytest.mark.parametrize(
    "block",
    [
        replace(SECOND, parent=TWO),
        replace(SECOND, time_ms=1_000),
        replace(SECOND, view=3),
        replace(SECOND, view=2, epoch=1),
        replace(SECOND, epoch=2),
    ],
    ids=["parent", "time", "view", "view of another epoch", "epoch"],
)
def test_a_block_that_does_not_follow_its_parent_breaks_l8(block: FinalBlock) -> None:
    with pytest.raises(Violation, match="L8"):
        chains(("n0", FIRST), ("n0", block))


def test_a_node_that_lost_a_final_block_breaks_l5() -> None:
    collector = chains(("n0", FIRST), ("n0", SECOND))
    collector.check_kept("n0", 2)
    with pytest.raises(Violation, match="L5"):
        collector.check_kept("n0", 1)


@pytest.mark.parametrize(
    "chain",
    [
        [],
        [replace(FIRST, transactions=())],
        [replace(FIRST, height=2)],
        [FIRST, replace(SECOND, transactions=(PAID,))],
    ],
    ids=["empty", "missing", "elsewhere", "twice"],
)
def test_an_acknowledged_transaction_lost_moved_or_doubled_breaks_l5(chain: list[FinalBlock]) -> None:
    check_acknowledged({PAID: 1}, {"n0": [FIRST, SECOND]})
    with pytest.raises(Violation, match="L5"):
        check_acknowledged({PAID: 1}, {"n0": [FIRST], "n1": chain})


def test_nodes_apart_after_the_heal_break_v1() -> None:
    check_converged({"n0": (1, ONE, b""), "n1": (1, ONE, b"")})
    with pytest.raises(Violation, match="V1"):
        check_converged({"n0": (1, ONE, b""), "n1": (2, TWO, b"")})


def test_too_few_doubled_or_foreign_signers_break_l7() -> None:
    members = [ONE, TWO, BlockHash(bytes(32))]
    check_signed_enough(members, members, 3)
    for signers in ([ONE, TWO], [ONE, TWO, TWO], [ONE, TWO, b"foreign"]):
        with pytest.raises(Violation, match="L7"):
            check_signed_enough(signers, members, 3)


KEYS = [SigningKey(bytes([number]) * 32) for number in range(4)]
NETWORK = NetworkId(bytes([7]) * 32)
FINAL = Statement(0, 5, int(Phase.FINALIZE), ONE)


def certificate(statement: Statement, *signers: int, bits: int | None = None) -> bytes:
    signatures = tuple(sign_statement(statement, KEYS[signer], NETWORK) for signer in signers)
    return encode(
        Certificate(statement, sum(1 << one for one in set(signers)) if bits is None else bits, signatures)
    )


def look(raw: bytes, *, network: bytes = NETWORK, epoch: int = 0) -> bool:
    return second_look(raw, network, [key.public[1:] for key in KEYS], epoch)


def test_the_second_look_takes_a_certificate_and_none_with_one_defect() -> None:
    assert look(certificate(FINAL, 0, 1, 3))
    assert not look(certificate(FINAL, 0, 1))
    assert not look(certificate(FINAL, 0, 1, 1, bits=0b0111))
    assert not look(certificate(FINAL, 0, 1, 1, bits=0b0011))
    assert not look(certificate(FINAL, 0, 1, 3, bits=0b10011))
    assert not look(certificate(FINAL, 1, 0, 3))
    assert not look(certificate(replace_struct(FINAL, phase=int(Phase.VOTE)), 0, 1, 3))
    assert not look(certificate(FINAL, 0, 1, 3), epoch=1)
    assert not look(certificate(FINAL, 0, 1, 3), network=bytes(32))
    assert not look(certificate(FINAL, 0, 1, 3)[:-1])


def evidence(second: Statement) -> Evidence:
    first, other = (sign_statement(one, KEYS[0], NETWORK) for one in (FINAL, second))
    return Evidence(NETWORK, KEYS[0].public, FINAL, first, second, other)


def test_evidence_must_convict_and_only_a_traitor() -> None:
    both = evidence(replace_struct(FINAL, block=TWO))
    check_evidence([both], [KEYS[0].public])
    with pytest.raises(Violation, match="honest"):
        check_evidence([both], [KEYS[1].public])
    with pytest.raises(Violation, match="convicts nobody"):
        check_evidence([evidence(replace_struct(FINAL, view=6))], [KEYS[0].public])
