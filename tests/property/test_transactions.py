"""Transactions under any change: what is not byte for byte what was signed is Malformed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.keys import SigningKey
from protocol.membership import Approved
from protocol.transactions import (
    Body,
    Envelope,
    Signature,
    decode_transaction,
    sign_transaction,
    transaction_id,
    verify_transaction,
)
from tests.sample_transactions import HEIR, ISSUER, NETWORK, OWNER, SIGNED

RAW = [sign_transaction(body, signers, NETWORK) for body, signers in SIGNED]
NAMES = [type(body).__name__ for body, _ in SIGNED]
ANY = st.sampled_from(RAW)


def is_valid(raw: bytes, network: bytes = NETWORK) -> bool:
    """Whether `raw` decodes and verifies; any error but Malformed is the test's failure."""
    try:
        verified = verify_transaction(decode_transaction(raw), network)
    except Malformed:
        return False
    assert verified.id == transaction_id(raw)
    return True


@pytest.mark.parametrize("raw", RAW, ids=NAMES)
def test_each_kind_is_valid_as_it_was_signed_and_in_its_own_network_only(raw: bytes) -> None:
    assert is_valid(raw)
    assert not is_valid(raw, b"m" * 32)


@pytest.mark.parametrize("raw", RAW, ids=NAMES)
def test_no_change_of_one_bit_is_valid_anywhere(raw: bytes) -> None:
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            assert not is_valid(bytes(changed)), (at, bit)


@given(ANY, st.integers(min_value=0), st.integers(1, 255))
def test_no_change_of_one_byte_is_valid(raw: bytes, place: int, flip: int) -> None:
    changed = bytearray(raw)
    changed[place % len(raw)] ^= flip
    assert not is_valid(bytes(changed))


@given(ANY, st.integers(min_value=0), st.integers(min_value=0), st.binary(max_size=40))
def test_no_splice_is_valid(raw: bytes, start: int, cut: int, more: bytes) -> None:
    start %= len(raw) + 1
    changed = raw[:start] + more + raw[start + cut % (len(raw) - start + 1) :]
    assert is_valid(changed) == (changed == raw)


@given(st.binary(max_size=400))
def test_made_up_bytes_are_malformed(raw: bytes) -> None:
    assert not is_valid(raw)
    assert not is_valid(encode(Envelope(raw, ())))
    assert not is_valid(encode(Envelope(raw, (Signature(ISSUER.public, bytes(64)),))))


@pytest.mark.parametrize(("body", "signers"), SIGNED, ids=NAMES)
def test_signatures_left_out_added_or_in_another_order_are_malformed(
    body: Body, signers: tuple[SigningKey, ...]
) -> None:
    wrong = [(), (*signers, OWNER), (*signers, signers[-1])]
    if not isinstance(body, Approved):
        wrong.append(signers[:-1])  # how many approvals are enough, the ledger says
    if len(signers) > 1:
        wrong.append(signers[::-1])
    for others in wrong:
        assert not is_valid(sign_transaction(body, others, NETWORK))


def test_a_signature_over_one_body_does_not_serve_another() -> None:
    grant, revoke = (msgspec.msgpack.decode(raw, type=Envelope) for raw in (RAW[1], RAW[2]))
    assert not is_valid(encode(Envelope(revoke.body, grant.signatures)))
    key = Signature(HEIR.public, grant.signatures[0].signature)
    assert not is_valid(encode(Envelope(grant.body, (key,))))


def test_a_body_that_is_not_canonical_is_malformed_even_when_signed() -> None:
    body = encode(SIGNED[6][0])
    assert body[0] == 0x94
    longer = b"\xdc\x00" + bytes((body[0] & 0x0F,)) + body[1:]
    signed = Signature(ISSUER.public, ISSUER.sign("transaction", NETWORK, longer))
    assert not is_valid(encode(Envelope(longer, (signed,))))


def test_a_transaction_over_its_limit_is_malformed() -> None:
    raw = encode(Envelope(bytes(limits.TRANSACTION_BYTES_MAX), ()))
    with pytest.raises(Malformed, match="limit"):
        decode_transaction(raw)
