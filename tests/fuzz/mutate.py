"""Spoils valid MessagePack where it hurts: lengths, forms, types and nesting, and bytes anywhere.

`tokens` finds where the items of an encoding begin; each act below changes one of them, or bytes at
random. What lies inside a byte string, such as a transaction's body, is spoiled too, with the length
around it put right.
"""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

DEEP: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Token:
    """An item: its header from `start` to `body`, its own bytes to `end`. An array's items follow it.

    `count` is the length of a string or array, or the value of a number.
    """

    kind: str  # int, nil, bool, array, bin or str
    start: int
    body: int
    end: int
    count: int


def tokens(raw: bytes) -> list[Token]:
    """The items of `raw` in order, as far as it is what our codec writes."""
    found: list[Token] = []
    at = 0
    while at < len(raw):
        token = _token(raw, at)
        if token is None or token.end > len(raw):
            break
        found.append(token)
        at = token.end
    return found


def _token(raw: bytes, at: int) -> Token | None:
    first = raw[at]
    if first < 0x80 or first >= 0xE0:
        return Token("int", at, at + 1, at + 1, first if first < 0x80 else first - 256)
    if 0x90 <= first < 0xA0:
        return Token("array", at, at + 1, at + 1, first & 15)
    if 0xA0 <= first < 0xC0:
        return Token("str", at, at + 1, at + 1 + (first & 31), first & 31)
    if first in (0xC0, 0xC2, 0xC3):
        return Token("nil" if first == 0xC0 else "bool", at, at + 1, at + 1, first & 1)
    kind, layout = _LONG.get(first, ("", ""))
    size = struct.calcsize(layout or ">")
    if not kind or at + 1 + size > len(raw):
        return None
    (count,) = struct.unpack_from(layout, raw, at + 1)
    body = at + 1 + size
    return Token(kind, at, body, body + count if kind in ("bin", "str") else body, count)


_LONG: Final = {
    0xC4: ("bin", ">B"),
    0xC5: ("bin", ">H"),
    0xC6: ("bin", ">I"),
    0xCC: ("int", ">B"),
    0xCD: ("int", ">H"),
    0xCE: ("int", ">I"),
    0xCF: ("int", ">Q"),
    0xD0: ("int", ">b"),
    0xD1: ("int", ">h"),
    0xD2: ("int", ">i"),
    0xD3: ("int", ">q"),
    0xD9: ("str", ">B"),
    0xDA: ("str", ">H"),
    0xDB: ("str", ">I"),
    0xDC: ("array", ">H"),
    0xDD: ("array", ">I"),
}
_BY_KIND: Final = {
    kind: [(code, layout) for code, (of, layout) in _LONG.items() if of == kind]
    for kind in ("int", "bin", "str", "array")
}


def header(kind: str, count: int, *, longest: bool = False) -> bytes:
    """The shortest header of a byte string or array of `count`, or the longest."""
    if kind == "array" and count < 16 and not longest:
        return bytes((0x90 | count,))
    fits = [
        (code, layout)
        for code, layout in _BY_KIND[kind]
        if count < 256 ** struct.calcsize(layout) or layout == ">I"
    ]
    code, layout = fits[-1 if longest else 0]
    return bytes((code,)) + struct.pack(layout, min(count, 2**32 - 1))


HOSTILE: Final[dict[str, bytes]] = {
    "nil": b"\xc0",
    "never used byte": b"\xc1",
    "true": b"\xc3",
    "zero": b"\x00",
    "minus one": b"\xff",
    "zero in nine bytes": b"\xcf" + bytes(8),
    "minus one in nine bytes": b"\xd3" + b"\xff" * 8,
    "largest number": b"\xcf" + b"\xff" * 8,
    "smallest number": b"\xd3\x80" + bytes(7),
    "not a number": b"\xcb\x7f\xf8" + bytes(6),
    "infinity": b"\xcb\x7f\xf0" + bytes(6),
    "minus zero": b"\xcb\x80" + bytes(7),
    "float one": b"\xca\x3f\x80\x00\x00",
    "no text": b"\xa0",
    "no text in two bytes": b"\xd9\x00",
    "no bytes": b"\xc4\x00",
    "no bytes in five": b"\xc6" + bytes(4),
    "no items": b"\x90",
    "no items in five bytes": b"\xdd" + bytes(4),
    "empty map": b"\x80",
    "map with a key twice": b"\x82\x01\x02\x01\x03",
    "map in five bytes": b"\xdf" + bytes(4),
    "map that lies": b"\xdf\xff\xff\xff\xff",
    "extension": b"\xd4\x01\x00",
    "extension that lies": b"\xc9\xff\xff\xff\xff\x01",
    "timestamp": b"\xd6\xff" + bytes(4),
    "timestamp beyond all years": b"\xc7\x0c\xff\x3b\x9a\xc9\xff\x7f" + b"\xff" * 7,
    "text not UTF-8": b"\xa2\xff\xfe",
    "text cut in a letter": b"\xa1\xc3",
    "lone surrogate": b"\xa3\xed\xa0\x80",
    "overlong slash": b"\xa2\xc0\xaf",
    "text that runs backwards": b"\xa4\xe2\x80\xaex",
    "text with NUL": b"\xa1\x00",
    "text as bytes": b"\xc4\x01a",
    "bytes that lie": b"\xc6\xff\xff\xff\xff",
    "text that lies": b"\xdb\xff\xff\xff\xff",
    "array that lies": b"\xdd\xff\xff\xff\xff",
    "decimal of another codec": bytes.fromhex("c4821a3fffffff01"),
    "a thousand arrays deep": b"\x91" * 1000 + b"\xc0",
    "a thousand maps deep": b"\x81\x01" * 1000 + b"\xc0",
    "a long string": b"\xc5\x40\x00" + bytes(0x4000),
}
"""What may stand in the place of any item, by name."""

DEEPEST: Final[dict[str, bytes]] = {
    "arrays": b"\x91" * DEEP,
    "long arrays": b"\xdd\x00\x00\x00\x01" * (DEEP // 5),
    "maps": b"\x81\x01" * (DEEP // 2),
    "closed arrays": b"\x91" * DEEP + b"\xc0",
    "nils": b"\xdd\x00\x0f\x42\x40" + b"\xc0" * DEEP,
    "a bignum": b"\xc6\x00\x0f\x42\x40" + b"\xff" * DEEP,
}
"""Whole messages of a megabyte that cost a careless decoder its stack, its memory or its time."""


def put(raw: bytes, token: Token, other: bytes) -> bytes:
    """`raw` with `other` in the place of an item (of an array: of its header)."""
    return raw[: token.start] + other + raw[token.end :]


def everywhere(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """`raw` with each hostile item in each place, and cut at each item."""
    for token in tokens(raw):
        yield f"cut at {token.start}", raw[: token.start]
        for name, other in HOSTILE.items():
            yield f"{name} at {token.start}", put(raw, token, other)
        if token.kind in ("array", "bin"):
            for count in (token.count - 1, token.count + 1, 2**32 - 1):
                if count >= 0:
                    head = header(token.kind, count)
                    lie = raw[: token.start] + head + raw[token.body :]
                    yield f"length {count} at {token.start}", lie
            longer = header(token.kind, token.count, longest=True)
            yield f"long form at {token.start}", raw[: token.start] + longer + raw[token.body :]


Act = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def mutate(dice: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """`raw` spoiled in one to four ways. `pool` are other valid encodings to take pieces from."""
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        raw = dice.choice(ACTS)(dice, raw, pool)
    return raw


def _flip(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    if not raw:
        return b"\x00"
    at = dice.randrange(len(raw))
    return raw[:at] + bytes((raw[at] ^ 1 << dice.randrange(8),)) + raw[at + 1 :]


def _set(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.randbytes(1) + raw[at + 1 :]


def _cut(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)]


def _insert(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.randbytes(dice.choice((1, 1, 2, 8))) + raw[at:]


def _take_out(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    start, end = sorted((dice.randrange(len(raw) + 1), dice.randrange(len(raw) + 1)))
    return raw[:start] + raw[end:]


def _graft(dice: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """An item of another value in the place of one of this."""
    own, other = tokens(raw), dice.choice(pool)
    others = tokens(other)
    if not own or not others:
        return raw + other
    piece = dice.choice(others)
    return put(raw, dice.choice(own), other[piece.start : piece.end])


def _replace(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    own = tokens(raw)
    return put(raw, dice.choice(own), dice.choice(list(HOSTILE.values()))) if own else raw


def _lie(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    """Another length, or a longer form of the same, of an array or byte string."""
    sized = [token for token in tokens(raw) if token.kind in ("array", "bin", "str")]
    if not sized:
        return raw
    token = dice.choice(sized)
    count = dice.choice((token.count, token.count + 1, max(token.count - 1, 0), 2**16, 2**32 - 1))
    head = header(token.kind, count, longest=dice.random() < 0.5)
    return raw[: token.start] + head + raw[token.body :]


def _renumber(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    """Another number, in its shortest form."""
    numbers = [token for token in tokens(raw) if token.kind == "int"]
    if not numbers:
        return raw
    token = dice.choice(numbers)
    value = dice.choice((token.count + 1, token.count - 1, 0, -1, 2**63, 2**64 - 1, dice.getrandbits(32)))
    return put(raw, token, number(max(min(value, 2**64 - 1), -(2**63))))


def number(value: int) -> bytes:
    """The shortest form of an integer."""
    if -32 <= value < 128:
        return struct.pack(">b", value)
    for code, layout in _BY_KIND["int"]:
        try:
            packed = bytes((code,)) + struct.pack(layout, value)
        except struct.error:
            continue
        return packed
    raise ValueError(f"{value} is no MessagePack integer")


def _count_off(dice: random.Random, raw: bytes, _pool: Sequence[bytes]) -> bytes:
    """One item more or less in an array whose count says so: the last item of all, twice or not at all."""
    found = tokens(raw)
    arrays = [token for token in found if token.kind == "array"]
    if not arrays:
        return raw
    array, last = arrays[-1], found[-1]
    if last is array or dice.random() < 0.5:
        item = raw[last.start : last.end] if last is not array else b"\xc0"
        head = header("array", array.count + 1)
        return raw[: array.start] + head + raw[array.body :] + item
    head = header("array", max(array.count - 1, 0))
    return raw[: array.start] + head + raw[array.body : last.start]


def _inside(dice: random.Random, raw: bytes, pool: Sequence[bytes]) -> bytes:
    """Spoils what a byte string holds, and puts the string's length right."""
    strings = [token for token in tokens(raw) if token.kind == "bin" and token.count > 2]
    if not strings:
        return _flip(dice, raw, pool)
    token = dice.choice(strings)
    inner = dice.choice(ACTS)(dice, raw[token.body : token.end], pool)
    return put(raw, token, header("bin", len(inner)) + inner)


BYTE_ACTS: Final[tuple[Act, ...]] = (_flip, _set, _cut, _insert, _take_out)
"""Those that need to know nothing of the form."""

ACTS: Final[tuple[Act, ...]] = (
    *BYTE_ACTS,
    _graft,
    _replace,
    _lie,
    _renumber,
    _count_off,
    _inside,
    _inside,
)
