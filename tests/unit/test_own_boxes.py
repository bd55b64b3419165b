"""What an opening key keeps for its owner: nobody else opens it, and no byte of it can be another."""

import pytest

from protocol.keys import NONCE_BYTES, OpeningKey, seal

KEY = OpeningKey(bytes(32))
NONCE = bytes(range(NONCE_BYTES))
KEPT = KEY.keep(b"a label", nonce=NONCE)


def test_what_a_key_keeps_it_opens_and_no_other_key_does() -> None:
    assert KEY.open_kept(KEPT) == b"a label"
    assert OpeningKey(bytes(31) + b"\1").open_kept(KEPT) is None
    assert b"a label" not in KEPT
    assert KEY.keep(b"a label", nonce=bytes(NONCE_BYTES)) != KEPT


@pytest.mark.parametrize("at", range(len(KEPT)))
def test_no_byte_of_it_can_be_another(at: int) -> None:
    assert KEY.open_kept(KEPT[:at] + bytes((KEPT[at] ^ 1,)) + KEPT[at + 1 :]) is None
    assert KEY.open_kept(KEPT[:at]) is None


def test_what_others_may_write_is_no_entry_of_ones_own() -> None:
    assert KEY.open_kept(seal(KEY.public, b"a label", entropy=bytes(32))) is None
    assert KEY.open(KEPT) is None
