"""What makes a node believe that blocks are final: a chain, one certificate, and the right contents."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from protocol.blocks import (
    Block,
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    genesis_committee,
    sign_statement,
)
from protocol.chain import genesis_header
from protocol.errors import Malformed, RemoteProtocolError
from protocol.finality import check_contents, verify_final
from protocol.keys import SigningKey
from protocol.transactions import decode_transaction
from tests.ledger_world import GENESIS, NETWORK, START, VOTERS, Signed, build, mint

ROOT = genesis_header(GENESIS)
COMMITTEE = genesis_committee(GENESIS)


def chain(*contents: Sequence[Signed]) -> list[Block]:
    blocks, parent, state = list[Block](), ROOT, START
    for items in contents:
        built = build(parent, state, items)
        blocks.append(built.block)
        parent, state = built.block.header, built.execution.state
    return blocks


def certify(
    header: Header,
    *,
    voters: Sequence[SigningKey] = VOTERS[:3],
    phase: Phase = Phase.FINALIZE,
    committee: Committee = COMMITTEE,
) -> Certificate:
    statement = Statement(header.epoch, header.view, int(phase), block_hash(header))
    signed = sorted(
        (committee.validators.index(key.public), sign_statement(statement, key, NETWORK)) for key in voters
    )
    return Certificate(
        statement, sum(1 << index for index, _ in signed), tuple(signature for _, signature in signed)
    )


def shown(header: Header) -> Finality:
    return Finality(certify(header))


BLOCKS = chain([mint(1)], [mint(2), mint(3)], [])
HEADERS = [block.header for block in BLOCKS]


def test_one_certificate_makes_the_whole_chain_before_it_final() -> None:
    verify_final(ROOT, HEADERS, shown(HEADERS[-1]), COMMITTEE)
    verify_final(HEADERS[0], HEADERS[1:], shown(HEADERS[-1]), COMMITTEE)


@pytest.mark.parametrize(
    ("headers", "certificate"),
    [
        (HEADERS[1:], certify(HEADERS[-1])),
        ([HEADERS[0], HEADERS[2]], certify(HEADERS[-1])),
        (HEADERS, certify(HEADERS[1])),
        ([], certify(ROOT)),
        (HEADERS, certify(HEADERS[-1], phase=Phase.VOTE)),
        (HEADERS, certify(HEADERS[-1], voters=VOTERS[:2])),
        ([replace(HEADERS[0], time_ms=HEADERS[0].time_ms + 1), *HEADERS[1:]], certify(HEADERS[-1])),
        ([*HEADERS[:2], replace(HEADERS[2], epoch=1)], certify(replace(HEADERS[2], epoch=1))),
        ([*HEADERS[:2], replace(HEADERS[2], height=9)], certify(replace(HEADERS[2], height=9))),
        ([*HEADERS[:2], replace(HEADERS[2], network=bytes(32))], certify(HEADERS[2])),
    ],
    ids=[
        "gap at the start",
        "gap inside",
        "certificate of another block",
        "nothing",
        "only notarized",
        "too few",
        "a changed header",
        "another epoch",
        "another height",
        "another network",
    ],
)
def test_a_chain_with_one_defect_is_not_final(headers: list[Header], certificate: Certificate) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_final(ROOT, headers, Finality(certificate), COMMITTEE)


def test_one_signer_twice_is_no_quorum() -> None:
    good = certify(HEADERS[0])
    twice = replace(good, signatures=(good.signatures[0], good.signatures[0], good.signatures[1]))
    two_bits = replace(good, signers=good.signers & (good.signers - 1), signatures=good.signatures)
    outside = replace(
        good, signers=good.signers | 1 << 9, signatures=(*good.signatures, good.signatures[0])
    )
    for bad in (twice, two_bits, outside):
        with pytest.raises(RemoteProtocolError):
            verify_final(ROOT, HEADERS[:1], Finality(bad), COMMITTEE)


def _check(block: Block, *, is_final: bool = False) -> None:
    transactions = tuple(map(decode_transaction, block.transactions))
    check_contents(block, transactions, allow_missing_sealed=is_final)


def test_a_header_does_not_vouch_for_other_contents() -> None:
    first, second = BLOCKS[0], BLOCKS[1]
    _check(first)
    for bad in (
        replace(first, transactions=second.transactions, sealed=second.sealed),
        replace(second, transactions=second.transactions[::-1], sealed=second.sealed[::-1]),
        replace(first, transactions=(), sealed=()),
        replace(first, sealed=(b"other",)),
    ):
        with pytest.raises(Malformed):
            _check(bad)


def test_sealed_bytes_may_be_gone_from_a_final_block_only() -> None:
    gone = replace(BLOCKS[0], sealed=(b"",))
    _check(gone, is_final=True)
    with pytest.raises(Malformed):
        _check(gone)
    with pytest.raises(Malformed):
        _check(replace(gone, sealed=(b"other",)), is_final=True)
