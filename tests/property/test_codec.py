"""The codec: one encoding for each value, and Malformed for everything else."""

import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks import Block, Certificate, Genesis, Header
from protocol.codec import Wire, decode, digest, encode
from protocol.errors import Malformed
from protocol.limits import NetworkLimits
from protocol.transactions import Body, Envelope

LIMIT = 4096


class Leaf(Wire, frozen=True):
    number: int
    name: str
    raw: bytes
    flag: bool


class Deep(Wire, frozen=True):
    inner: "Deep | None"


class Circle(Wire, frozen=True, tag=1):
    radius: int


class Square(Wire, frozen=True, tag=2):
    side: int
    leaves: tuple[Leaf, ...] = ()


Shape = Circle | Square

NUMBERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.builds(Leaf, NUMBERS, st.text(max_size=40), st.binary(max_size=300), st.booleans())
SHAPES = st.builds(Circle, NUMBERS) | st.builds(
    Square, NUMBERS, st.lists(LEAVES, max_size=4).map(lambda leaves: tuple(leaves))
)
KINDS = [Leaf, Deep, Shape, Header, Block, Certificate, Genesis, NetworkLimits, Envelope, Body]


def read(kind: object, raw: bytes, limit: int = LIMIT) -> object:
    return decode(kind, raw, limit=limit)  # type: ignore[arg-type]


@given(LEAVES | SHAPES)
def test_what_is_encoded_decodes_to_the_same_value_and_bytes(value: Wire) -> None:
    kind = Leaf if isinstance(value, Leaf) else Shape
    raw = encode(value)
    assert read(kind, raw) == value
    assert encode(read(kind, raw)) == raw


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_are_malformed_or_the_encoding_of_what_they_decode_to(kind: object, raw: bytes) -> None:
    accepted(kind, raw)


@given(LEAVES | SHAPES, st.integers(min_value=0), st.integers(1, 255))
def test_one_byte_changed_is_malformed_or_another_value(value: Wire, place: int, flip: int) -> None:
    kind = Leaf if isinstance(value, Leaf) else Shape
    changed = bytearray(encode(value))
    changed[place % len(changed)] ^= flip
    if accepted(kind, bytes(changed)):
        assert read(kind, bytes(changed)) != value


@given(SHAPES, st.integers(min_value=0), st.binary(min_size=1, max_size=4))
def test_bytes_missing_or_left_over_are_malformed(value: Wire, place: int, more: bytes) -> None:
    raw = encode(value)
    refused(Shape, raw[: place % len(raw)])
    refused(Shape, raw + more)


@given(NUMBERS)
def test_a_number_has_one_encoding(number: int) -> None:
    """Every other MessagePack form of the same number, and the float that equals it, is refused."""
    canonical = msgspec.msgpack.encode(number)
    forms = [canonical, b"\xcb" + struct.pack(">d", number)]
    for tag, layout in zip(b"\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3", "BHIQbhiq", strict=True):
        try:
            forms.append(bytes((tag,)) + struct.pack(">" + layout, number))
        except struct.error:
            continue
    for form in set(forms):
        raw = b"\x92\x01" + form
        if form == canonical:
            assert read(Shape, raw) == Circle(number)
        else:
            refused(Shape, raw)


CANONICAL = encode(Leaf(5, "ab", b"xy", True))

REFUSED = {
    "nothing": b"",
    "number in two bytes": b"\x94\xcc\x05\xa2ab\xc4\x02xy\xc3",
    "number in nine bytes": b"\x94\xcf" + bytes(7) + b"\x05\xa2ab\xc4\x02xy\xc3",
    "number as a float": b"\x94\xcb" + struct.pack(">d", 5) + b"\xa2ab\xc4\x02xy\xc3",
    "number as a short float": b"\x94\xca" + struct.pack(">f", 5) + b"\xa2ab\xc4\x02xy\xc3",
    "not a number": b"\x94\xcb" + struct.pack(">d", math.nan) + b"\xa2ab\xc4\x02xy\xc3",
    "infinity": b"\x94\xcb" + struct.pack(">d", math.inf) + b"\xa2ab\xc4\x02xy\xc3",
    "number as text": b"\x94\xa15\xa2ab\xc4\x02xy\xc3",
    "number as a truth value": b"\x94\xc3\xa2ab\xc4\x02xy\xc3",
    "number missing": b"\x94\xc0\xa2ab\xc4\x02xy\xc3",
    "text with a longer length": b"\x94\x05\xd9\x02ab\xc4\x02xy\xc3",
    "text with the longest length": b"\x94\x05\xdb\x00\x00\x00\x02ab\xc4\x02xy\xc3",
    "text as bytes": b"\x94\x05\xc4\x02ab\xc4\x02xy\xc3",
    "text that is not UTF-8": b"\x94\x05\xa2\xff\xfe\xc4\x02xy\xc3",
    "text with a lone surrogate": b"\x94\x05\xa3\xed\xa0\x80\xc4\x02xy\xc3",
    "text overlong": b"\x94\x05\xa2\xc0\xaf\xc4\x02xy\xc3",
    "bytes with a longer length": b"\x94\x05\xa2ab\xc5\x00\x02xy\xc3",
    "bytes as text": b"\x94\x05\xa2ab\xa2xy\xc3",
    "bytes as base64 text": b"\x94\x05\xa2ab\xa4eHk=\xc3",
    "truth as a number": b"\x94\x05\xa2ab\xc4\x02xy\x01",
    "array with a longer length": b"\xdc\x00\x04\x05\xa2ab\xc4\x02xy\xc3",
    "array with the longest length": b"\xdd\x00\x00\x00\x04\x05\xa2ab\xc4\x02xy\xc3",
    "field missing": b"\x93\x05\xa2ab\xc4\x02xy",
    "field more": b"\x95\x05\xa2ab\xc4\x02xy\xc3\x00",
    "length that lies": b"\x94\x05\xa2ab\xc6\xff\xff\xff\xffxy\xc3",
    "array length that lies": b"\xdd\xff\xff\xff\xff\x05",
    "map": b"\x84\xa6number\x05\xa4name\xa2ab\xa3raw\xc4\x02xy\xa4flag\xc3",
    "extension": b"\x94\xd4\x01\x05\xa2ab\xc4\x02xy\xc3",
    "timestamp": b"\x94\xd6\xff\x00\x00\x00\x05\xa2ab\xc4\x02xy\xc3",
    "reserved byte": b"\xc1",
    "trailing byte": CANONICAL + b"\x00",
    "two messages": CANONICAL * 2,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_a_form_that_is_not_the_canonical_one_is_refused(raw: bytes) -> None:
    assert CANONICAL == b"\x94\x05\xa2ab\xc4\x02xy\xc3"
    refused(Leaf, raw)


def test_an_unknown_tag_is_refused() -> None:
    for tag in (b"\x00", b"\x03", b"\xa11", b"\xc0", b"\xcc\x01", b"\xc3"):
        refused(Shape, b"\x92" + tag + b"\x05")


def test_a_default_left_out_is_not_canonical() -> None:
    assert read(Shape, encode(Square(1))) == Square(1)
    refused(Shape, b"\x92\x02\x01")
    refused(NetworkLimits, b"\x90")


def test_nesting_without_end_is_malformed_and_not_a_crash() -> None:
    for depth in (5_000, 1_000_000):
        for raw in (b"\x91" * depth, b"\x91" * depth + b"\xc0", b"\x81" * depth):
            for kind in (Deep, Leaf, Shape):
                refused(kind, raw, limit=len(raw))


def test_nesting_near_the_interpreters_limit_is_decoded_or_malformed() -> None:
    found = {accepted(Deep, b"\x91" * depth + b"\xc0") for depth in range(1, 1500)}
    assert found == {True, False}


def test_a_message_over_its_limit_is_refused_before_it_is_decoded() -> None:
    assert read(Leaf, CANONICAL, limit=len(CANONICAL)) == Leaf(5, "ab", b"xy", True)
    with pytest.raises(Malformed, match="limit"):
        read(Leaf, CANONICAL, limit=len(CANONICAL) - 1)
    with pytest.raises(Malformed, match="limit"):
        read(Leaf, b"\xc1" * 10, limit=9)


@given(
    st.text(st.characters(max_codepoint=127), max_size=30),
    st.text(st.characters(max_codepoint=127), max_size=30),
)
def test_digests_under_two_tags_differ(first: str, second: str) -> None:
    same = digest(first, second.encode()) == digest(second, first.encode())
    assert same == (first == second)
    assert digest(first + second) != digest(first, second.encode()) or not second


def accepted(kind: object, raw: bytes) -> bool:
    """Whether `raw` decodes; asserts that it is then canonical, and else Malformed and nothing worse."""
    try:
        value = read(kind, raw)
    except Malformed:
        return False
    assert encode(value) == raw
    return True


def refused(kind: object, raw: bytes, limit: int = LIMIT) -> None:
    with pytest.raises(Malformed):
        read(kind, raw, limit)
