"""Canonical MessagePack in plain Python: the shortest form of everything, and nothing else is taken in.

Arrays are lists, byte strings `bytes`, text `str`. Maps, floats and extensions are not of this format.
"""

import struct
from typing import Any

_SINGLE = {None: b"\xc0", False: b"\xc2", True: b"\xc3"}
_SIZED = {0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("text", 1)}
_SIZED |= {0xDA: ("text", 2), 0xDB: ("text", 4), 0xDC: ("array", 2), 0xDD: ("array", 4)}


class Bad(Exception):
    """Not what the description allows."""


def pack(value: Any) -> bytes:
    """The one encoding of a value."""
    if value is None or isinstance(value, bool):
        return _SINGLE[value]
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, list):
        return _head(len(value), 0x90, 16, ((0xDC, 2), (0xDD, 4))) + b"".join(map(pack, value))
    if isinstance(value, str):
        text = value.encode()
        return _head(len(text), 0xA0, 32, ((0xD9, 1), (0xDA, 2), (0xDB, 4))) + text
    return _head(len(value), 0, 0, ((0xC4, 1), (0xC5, 2), (0xC6, 4))) + bytes(value)


def _number(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    first, signed = (0xCC, False) if value > 0 else (0xD0, True)
    for at in range(4):
        try:
            return bytes((first + at,)) + value.to_bytes(1 << at, "big", signed=signed)
        except OverflowError:
            continue
    raise Bad("a number of more than 64 bits")


def _head(count: int, first: int, short: int, codes: tuple[tuple[int, int], ...]) -> bytes:
    if count < short:
        return bytes((first | count,))
    code, size = next(pair for pair in codes if count < 256 ** pair[1])
    return bytes((code,)) + count.to_bytes(size, "big")


def unpack(raw: bytes) -> Any:
    """The value of which `raw` is the one encoding; raises Bad."""
    try:
        value, end = _item(raw, 0)
        canonical = end == len(raw) and pack(value) == raw
    except (IndexError, KeyError, struct.error, UnicodeError, RecursionError) as error:
        raise Bad("not MessagePack of this format") from error
    if not canonical:
        raise Bad("not the canonical encoding")
    return value


def _item(raw: bytes, at: int) -> tuple[Any, int]:
    code, at = raw[at], at + 1
    if code < 0x80 or code >= 0xE0:
        return code - (256 if code >= 0xE0 else 0), at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if 0xCC <= code <= 0xD3:
        form = ">" + "BHIQbhiq"[code - 0xCC]
        return struct.unpack_from(form, raw, at)[0], at + struct.calcsize(form)
    if code < 0xC0:
        kind, count = ("array", code & 15) if code < 0xA0 else ("text", code & 31)
    else:
        kind, size = _SIZED[code]
        count, at = int.from_bytes(raw[at : at + size], "big"), at + size
    if kind == "array":
        items = []
        for _ in range(count):
            item, at = _item(raw, at)
            items.append(item)
        return items, at
    octets = raw[at : at + count]
    return octets.decode() if kind == "text" else octets, at + count
