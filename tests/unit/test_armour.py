"""Armour and codes give back exactly what went in, or say that the text was damaged."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.armour import CODE_PREFIX, ArmourKind, CodeKind, unwrap, unwrap_code, wrap, wrap_code
from protocol.errors import Code, Malformed, UserError

BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
payloads = st.binary(min_size=0, max_size=300)


def refused(text: str) -> UserError:
    """The error that reading `text` as a receive code raises."""
    with pytest.raises(UserError) as caught:
        unwrap_code(CodeKind.RECEIVE, text)
    assert caught.value.code is Code.RECEIVE_CODE
    assert caught.value.hint
    return caught.value


@given(payloads, st.sampled_from(["CARD", "GENESIS"]))
def test_armour_comes_back_whole(raw: bytes, kind: ArmourKind) -> None:
    text = wrap(kind, raw)
    assert unwrap(kind, text) == raw
    assert unwrap(kind, "\n  " + text.replace("\n", " \r\n") + "\t") == raw
    assert max(len(line) for line in text.splitlines()) <= 64


@given(payloads, st.data())
def test_armour_with_any_other_character_is_refused(raw: bytes, data: st.DataObject) -> None:
    text = wrap("CARD", raw)
    at = data.draw(st.integers(0, len(text.rstrip()) - 1))
    # Without spaces and line ends: those are the two things that may change.
    other = data.draw(st.characters(exclude_characters=text[at], exclude_categories=("Z", "Cc", "Cs")))
    with pytest.raises(Malformed):
        unwrap("CARD", text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "Dear colleague,\n" + text,
        lambda text: text + "Regards\n",
        lambda text: text.replace("CARD", "GENESIS"),
        lambda text: text.replace("CARD", "card"),
        lambda text: "\n".join(text.splitlines()[:2]),
        lambda text: "\n".join(text.splitlines()[1:]),
        lambda text: text.replace("\n", "\n\n", 1),
        lambda text: text[:60] + "\n" + text[60:],
        lambda text: text + text,
        lambda text: text.splitlines()[0],
    ],
)
def test_armour_that_was_rearranged_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(Malformed) as caught:
        unwrap("CARD", change(wrap("CARD", b"some card of a clinic " * 9)))
    assert caught.value.hint


def test_one_kind_of_armour_is_not_another() -> None:
    with pytest.raises(Malformed, match="not a chartmesh CARD file"):
        unwrap("CARD", wrap("GENESIS", b"x"))
    with pytest.raises(Malformed, match="damaged"):
        unwrap("CARD", wrap("GENESIS", b"x").replace("GENESIS", "CARD"))


def test_armour_is_limited_both_ways() -> None:
    most = bytes(limits.ARMOUR_BYTES_MAX)
    assert unwrap("GENESIS", wrap("GENESIS", most)) == most
    with pytest.raises(Malformed, match="too many"):
        wrap("GENESIS", most + b"\0")
    with pytest.raises(Malformed, match="too long"):
        unwrap("GENESIS", "A" * (2 * limits.ARMOUR_BYTES_MAX + 1))


def test_armour_that_exceeds_the_limit_only_inside_is_refused() -> None:
    text = wrap("CARD", bytes(limits.ARMOUR_BYTES_MAX)).splitlines()
    with pytest.raises(Malformed):
        unwrap("CARD", "\n".join([*text[:-2], "A" * 64, *text[-2:]]))


@given(payloads)
def test_a_code_comes_back_whole(payload: bytes) -> None:
    assert unwrap_code(CodeKind.RECEIVE, wrap_code(CodeKind.RECEIVE, payload)) == payload


def test_a_code_is_bech32_letters_over_kind_payload_and_checksum() -> None:
    content = bytes((1,)) + b"payload"
    content += hashlib.sha256(bytes((4,)) + b"code" + content).digest()[:4]
    bits = "".join(f"{byte:08b}" for byte in content)
    bits += "0" * (-len(bits) % 5)
    letters = "".join(BECH32[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))
    assert wrap_code(CodeKind.RECEIVE, b"payload") == "CM1" + letters


@given(payloads, st.data())
def test_case_spaces_and_dashes_do_not_matter(payload: bytes, data: st.DataObject) -> None:
    code = wrap_code(CodeKind.RECEIVE, payload)
    gaps = data.draw(st.lists(st.sampled_from(["", " ", "-", "\n", " - "]), min_size=len(code)))
    spread = "".join(gap + letter for gap, letter in zip(gaps, code, strict=False))
    assert unwrap_code(CodeKind.RECEIVE, spread.lower()) == payload


@given(payloads, st.data())
def test_any_one_wrong_character_is_a_typing_mistake(payload: bytes, data: st.DataObject) -> None:
    code = wrap_code(CodeKind.RECEIVE, payload)
    at = data.draw(st.integers(0, len(code) - 1))
    other = data.draw(st.sampled_from(BECH32 + "1BIO 0!é").filter(lambda item: item != code[at]))
    assert "mistake" in refused(code[:at] + other + code[at + 1 :]).hint


@given(st.binary(min_size=20, max_size=60))
def test_every_exchange_of_two_neighbours_is_a_typing_mistake(payload: bytes) -> None:
    code = wrap_code(CodeKind.RECEIVE, payload)
    for at in range(len(code) - 1):
        changed = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
        if changed != code:
            assert "mistake" in refused(changed).hint


@given(payloads, st.data())
def test_a_lost_or_doubled_piece_is_a_typing_mistake(payload: bytes, data: st.DataObject) -> None:
    code = wrap_code(CodeKind.RECEIVE, payload)
    start = data.draw(st.integers(0, len(code) - 1))
    end = data.draw(st.integers(start + 1, len(code)))
    assert "mistake" in refused(code[:start] + code[end:]).hint
    assert "mistake" in refused(code[:end] + code[start:]).hint


@pytest.mark.parametrize(
    "text", ["", "CM1", "CM2QQQQQQQQ", "hello", "CM1Q", "CM1" + "Q" * 9, "ſM1", "cm1ß"]
)
def test_what_was_never_a_code_is_refused(text: str) -> None:
    refused(text)


def test_a_code_of_another_kind_is_told_from_a_typing_mistake() -> None:
    content = bytes((2,)) + b"payload"
    content += hashlib.sha256(bytes((4,)) + b"code" + content).digest()[:4]
    number = int.from_bytes(content, "big") << (-len(content) * 8 % 5)
    letters = ""
    while number:
        number, value = divmod(number, 32)
        letters = BECH32[value] + letters
    letters = letters.rjust(-(-len(content) * 8 // 5), "Q")
    assert refused(CODE_PREFIX + letters).message == "this is a code for something else"


def test_codes_are_limited_both_ways() -> None:
    most = bytes(limits.CODE_BYTES_MAX)
    assert unwrap_code(CodeKind.RECEIVE, wrap_code(CodeKind.RECEIVE, most)) == most
    with pytest.raises(Malformed, match="too many"):
        wrap_code(CodeKind.RECEIVE, most + b"\0")
    assert "too long" in refused("CM1" + "Q" * 4 * limits.CODE_BYTES_MAX).message
