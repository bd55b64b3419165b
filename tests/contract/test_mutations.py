"""Every single byte of every proof counts, to the daemon and to the second reader alike."""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.codec import decode, encode
from protocol.proofs import StateProof
from tests.contract.test_vectors import CASES, DAEMON, LIMIT, SECOND, verdict
from tests.vectors.cases import Case

PROOFS = ("certificate", "inclusion", "proof", "state-proof", "ownership", "roll")
WHOLE = "live"
"""The proof of state whose way to the header is changed too: it is the same in all of them."""
SEED = int(os.environ.get("CHARTMESH_MUTATION_SEED", "0")) or random.randrange(2**32)


@pytest.fixture
def dice() -> random.Random:
    print(f"CHARTMESH_MUTATION_SEED={SEED}")
    return random.Random(SEED)


def changed(raw: str, dice: random.Random, start: int = 0) -> Iterator[str]:
    """`raw`, in hexadecimal, with another value for each of its bytes in turn, and a byte less or more."""
    content = bytes.fromhex(raw)
    for at in range(start, len(content)):
        other = content[at] ^ dice.randrange(1, 256)
        yield (content[:at] + bytes((other,)) + content[at + 1 :]).hex()
    yield content[:-1].hex()
    yield (content + bytes((dice.randrange(256),))).hex()


def mutations(case: Case, dice: random.Random) -> Iterator[dict[str, Any]]:
    """What is given in `case`, with one byte of the proof changed."""
    given = case.given
    if case.kind == "inclusion":
        for place, item in enumerate(given["path"]):
            for other in changed(item, dice):
                yield {**given, "path": [*given["path"][:place], other, *given["path"][place + 1 :]]}
        return
    start = 0
    if case.kind == "state-proof" and case.name != WHOLE:
        route = decode(StateProof, bytes.fromhex(given["raw"]), limit=LIMIT).route
        start = 1 + len(encode(route))
    for other in changed(given["raw"], dice, start):
        yield {**given, "raw": other}


TRUE = [case for case in CASES if case.kind in PROOFS and not case.wrong]


@pytest.mark.parametrize("case", TRUE, ids=lambda case: f"{case.kind}-{case.name}")
def test_no_byte_of_a_proof_can_be_another(case: Case, dice: random.Random) -> None:
    readers = (DAEMON[case.kind], SECOND[case.kind])
    assert [verdict(read, case.given) for read in readers] == [case.gives] * 2
    for given in mutations(case, dice):
        assert [verdict(read, given) for read in readers] == [None, None], given


def test_there_is_a_true_proof_of_every_kind() -> None:
    assert {case.kind for case in TRUE} == set(PROOFS)
    assert any(case.kind == "state-proof" and case.name == WHOLE for case in TRUE)
