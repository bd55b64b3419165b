"""Canonical MessagePack and domain-separated hashes: the only way bytes become values and back.

Structs are encoded as MessagePack arrays through msgspec. A byte string is accepted only if it is
the exact encoding of the value it decodes to, so every value has one encoding and one hash.
"""

import hashlib
from typing import TypeVar

import msgspec

from protocol.errors import Malformed

T = TypeVar("T")

HASH_BYTES = 32


class Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of everything that crosses the wire or is hashed: a frozen, array-like struct."""


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[object, msgspec.msgpack.Decoder[object]] = {}
_tagged: dict[str, "hashlib._Hash"] = {}  # hashers that have taken in a tag and nothing else


def encode(value: object) -> bytes:
    """The canonical encoding of a struct or a tagged union's member."""
    return _encoder.encode(value)


def decode(kind: type[T], raw: bytes, *, limit: int) -> T:
    """The value of `raw`, which must be at most `limit` bytes and canonical.

    `kind` may be a struct type or a union of tagged structs (pass the union object).

    Raises:
        Malformed: too long, not of this type, or not the canonical encoding.
    """
    if len(raw) > limit:
        raise Malformed(f"message of {len(raw)} bytes is over its limit of {limit}")
    value = decode_own(kind, raw)
    if _encoder.encode(value) != raw:
        raise Malformed("bytes are not the canonical encoding of their value")
    return value


def decode_own(kind: type[T], raw: bytes) -> T:
    """The value of `raw`, which this program encoded itself: such as an entry of a state whose root was
    compared. Raises Malformed where it is not of this type."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    # These three are what msgspec 0.22 raises for hostile input; the first is its own.
    try:
        return decoder.decode(raw)  # type: ignore[return-value]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("bytes do not decode to the expected message") from error


def digest(tag: str, *parts: bytes) -> bytes:
    """SHA-256 under a domain tag. With several parts, each must have a fixed length.

    The tag is length-prefixed, so no tag is a prefix of another's input.
    """
    tagged = _tagged.get(tag)
    if tagged is None:
        name = tag.encode("ascii")
        tagged = _tagged[tag] = hashlib.sha256(bytes((len(name),)) + name)
    hasher = tagged.copy()
    for part in parts:
        hasher.update(part)
    return hasher.digest()
