"""Two chains are proven by two final headers that cannot be of one chain, and by nothing less."""

import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from protocol.blocks import Committee, Finality, Header, Phase, block_hash
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.keys import SigningKey
from protocol.two_chains import (
    Shown,
    TwoChains,
    decode_two_chains,
    find_two_chains,
    read_two_chains,
    two_chains_text,
    verify_two_chains,
)
from tests.ledger_world import NETWORK, VOTERS
from tests.unit.test_finality import COMMITTEE, HEADERS, certify, shown


def line(root: Header, count: int, *, shift: int = 0) -> list[Header]:
    """`count` headers after `root`; another `shift` gives others."""
    headers: list[Header] = []
    for _ in range(count):
        root = replace(
            root,
            view=root.view + 1,
            height=root.height + 1,
            parent=block_hash(root),
            time_ms=root.time_ms + 1 + shift,
        )
        headers.append(root)
    return headers


def final(headers: Sequence[Header], voters: Sequence[SigningKey] = VOTERS[:3]) -> Shown:
    return Shown(tuple(headers), Finality(certify(headers[-1], voters=voters)))


ROOT = HEADERS[0]
ONE, TWO = line(ROOT, 4), line(ROOT, 4, shift=1)


def made_proof(dice: random.Random) -> bytes:
    """One of the proofs that there are of these two chains."""
    found = find_two_chains(final(ONE[: dice.randint(1, 4)]), final(TWO[: dice.randint(1, 4)]), COMMITTEE)
    assert found is not None
    return encode(found)


@pytest.mark.parametrize(
    ("own", "other", "height"),
    [
        (ONE[:1], TWO[:1], ROOT.height + 1),
        (ONE, TWO[1:3], ROOT.height + 1),
        (ONE[2:], TWO[:3], ROOT.height + 2),
        (ONE[:1], TWO[1:2], ROOT.height + 1),
        (ONE[1:2], TWO[:1], ROOT.height + 1),
    ],
    ids=["the same height", "inside", "overlapping", "only by the parent", "only by the own parent"],
)
def test_two_final_blocks_of_one_height_are_two_chains(
    own: list[Header], other: list[Header], height: int
) -> None:
    found = find_two_chains(final(own), final(other, VOTERS[1:]), COMMITTEE)
    assert found is not None
    assert (found.height, found.culprits) == (height, COMMITTEE.validators[1:3])
    assert decode_two_chains(encode(found)) == found
    assert read_two_chains(two_chains_text(found)) == found


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (ONE[:2], ONE[:2]),
        (ONE[:1], ONE[1:]),
        (ONE[2:], ONE[:1]),
        (ONE[:1], TWO[2:]),
        ([ONE[0]], [replace(ONE[0], height=ONE[0].height + 5)]),
    ],
    ids=["the same", "its child", "long before", "nothing in between is known", "far above"],
)
def test_what_may_be_one_chain_is_not_two(own: list[Header], other: list[Header]) -> None:
    assert find_two_chains(final(own), final(other), COMMITTEE) is None


NEXT = Committee(NETWORK, 1, COMMITTEE.validators)


@pytest.mark.parametrize(
    ("other", "committee"),
    [
        (final(TWO[:1], VOTERS[:2]), COMMITTEE),
        (Shown(tuple(TWO[:1]), Finality(certify(TWO[0], phase=Phase.VOTE))), COMMITTEE),
        (Shown(tuple(TWO[:1]), shown(ONE[0])), COMMITTEE),
        (Shown((TWO[0], TWO[2]), shown(TWO[2])), COMMITTEE),
        (final(TWO[:1]), NEXT),
        (Shown((), shown(TWO[0])), COMMITTEE),
    ],
    ids=["too few", "only notarized", "of another block", "a gap", "of a closed epoch", "nothing"],
)
def test_what_is_not_final_by_the_open_committee_is_no_second_chain(
    other: Shown, committee: Committee
) -> None:
    assert find_two_chains(final(ONE[:1]), other, committee) is None


def test_a_proof_that_was_changed_proves_nothing() -> None:
    found = find_two_chains(final(ONE[:1]), final(TWO[:1]), COMMITTEE)
    assert found is not None
    verify_two_chains(found)
    changed: list[TwoChains] = [
        replace(found, second=found.first),
        replace(found, network=bytes(32)),
        replace(found, network=bytes(31)),
        replace(found, epoch=1),
        replace(found, validators=()),
        replace(found, validators=found.validators[::-1]),
        replace(found, validators=(found.validators[0],) * 4),
        replace(found, validators=(b"", *found.validators[1:])),
        replace(found, first=Shown((), found.first.finality)),
    ]
    for one in changed:
        with pytest.raises(Malformed):
            verify_two_chains(one)
