"""Sealed boxes whose size tells little of what is in them: padded before they are sealed."""

from typing import Final, TypeVar

from protocol import limits
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed
from protocol.keys import SEAL_OVERHEAD_BYTES, OpeningKey

_PAD_START: Final = b"\x80"

T = TypeVar("T")


def padded(value: Wire, unit: int) -> bytes:
    """The encoded `value` with ISO/IEC 7816-4 padding, so that its sealed box is a multiple of `unit` bytes
    long."""
    return _pad(encode(value), unit)


def open_padded(kind: type[T], opening_key: OpeningKey, sealed: bytes, unit: int) -> T | None:
    """The value of `kind` in `sealed`; None: not for this key, or not of this form."""
    opened = opening_key.open(sealed)
    if opened is None:
        return None
    raw = opened.rpartition(_PAD_START)[0]
    if _pad(raw, unit) != opened:
        return None
    try:
        return decode(kind, raw, limit=limits.SEALED_BYTES_MAX)
    except Malformed:
        return None


def _pad(raw: bytes, unit: int) -> bytes:
    marked = raw + _PAD_START
    return marked + bytes(-(len(marked) + SEAL_OVERHEAD_BYTES) % unit)
