"""Evidence convicts exactly the key that signed two statements which contradict each other."""

import msgspec
import pytest

from protocol.armour import wrap
from protocol.blocks import NO_BLOCK, BlockHash, NetworkId, Phase, Statement, sign_statement
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.evidence import (
    Evidence,
    contradict,
    decode_evidence,
    evidence_text,
    read_evidence,
    verify_evidence,
)
from protocol.keys import SigningKey

NETWORK = NetworkId(bytes(range(32)))
KEY, OTHER_KEY = SigningKey(bytes(32)), SigningKey(bytes(31) + b"\1")
ONE, TWO = BlockHash(b"1" * 32), BlockHash(b"2" * 32)
VOTE = Statement(3, 7, Phase.VOTE, ONE)
SECOND_VOTE = Statement(3, 7, Phase.VOTE, TWO)
NULL = Statement(3, 7, Phase.NULL, NO_BLOCK)
FINALIZE = Statement(3, 7, Phase.FINALIZE, ONE)


def evidence(first: Statement, second: Statement, key: SigningKey = KEY) -> Evidence:
    first_signature, second_signature = (sign_statement(item, key, NETWORK) for item in (first, second))
    return Evidence(NETWORK, KEY.public, first, first_signature, second, second_signature)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (VOTE, SECOND_VOTE),
        (NULL, FINALIZE),
        (FINALIZE, NULL),
        (FINALIZE, Statement(3, 7, Phase.FINALIZE, TWO)),
    ],
)
def test_a_contradiction_convicts_whoever_reads_it(first: Statement, second: Statement) -> None:
    found = evidence(first, second)
    verify_evidence(found)
    assert decode_evidence(encode(found)) == found
    assert read_evidence(evidence_text(found)) == found
    assert (found.epoch, found.view) == (3, 7)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (VOTE, VOTE),
        (VOTE, NULL),
        (VOTE, FINALIZE),
        (VOTE, Statement(3, 7, Phase.FINALIZE, TWO)),
        (VOTE, Statement(3, 8, Phase.VOTE, TWO)),
        (VOTE, Statement(4, 7, Phase.VOTE, TWO)),
        (NULL, Statement(3, 8, Phase.FINALIZE, ONE)),
        (Statement(3, 7, 9, ONE), Statement(3, 7, 9, TWO)),
    ],
    ids=["same", "vote-null", "vote-finalize", "phases", "view", "epoch", "null-view", "phase-unknown"],
)
def test_what_a_correct_validator_may_sign_convicts_nobody(first: Statement, second: Statement) -> None:
    assert not contradict(first, second) or first.phase == 9
    with pytest.raises(Malformed):
        verify_evidence(evidence(first, second))


def test_nobody_is_convicted_by_another_key() -> None:
    with pytest.raises(Malformed):
        verify_evidence(evidence(VOTE, SECOND_VOTE, OTHER_KEY))
    mixed = evidence(VOTE, SECOND_VOTE)
    theirs = sign_statement(SECOND_VOTE, OTHER_KEY, NETWORK)
    with pytest.raises(Malformed):
        verify_evidence(msgspec.structs.replace(mixed, second_signature=theirs))


def test_nobody_is_convicted_in_another_network() -> None:
    elsewhere = NetworkId(bytes(32))
    with pytest.raises(Malformed):
        verify_evidence(msgspec.structs.replace(evidence(VOTE, SECOND_VOTE), network=elsewhere))


def test_a_file_that_is_no_evidence_is_refused() -> None:
    for text in (
        "",
        wrap("CARD", b"x"),
        wrap("EVIDENCE", b"x"),
        evidence_text(evidence(NULL, FINALIZE))[:-9],
    ):
        with pytest.raises(Malformed):
            read_evidence(text)
