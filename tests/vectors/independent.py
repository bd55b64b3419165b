"""A second reader of the wire format, from its description alone: it imports nothing of the project.

Every function gives what the bytes say, or raises Bad. Arrays are lists, in the order of the tables of
protocol/README.md. `shape` spells the fields of one in letters: u number from 0, h 32 bytes, g 16, k key
that signs, x key to seal to, s signature, b bytes, t text, ? truth, l array, * anything.
"""

import hashlib
from typing import Any

import nacl.bindings
import nacl.exceptions

from tests.vectors.plain_msgpack import Bad, pack, unpack

NO_BLOCK = bytes(32)
_BYTES = {"h": 32, "g": 16, "s": 64}
_KEYS = {"k": 1, "x": 2}
_TYPES: dict[str, type] = {"b": bytes, "t": str, "?": bool, "l": list}


def need(good: object, reason: str) -> None:
    if not good:
        raise Bad(reason)


def shape(value: Any, letters: str) -> list[Any]:
    """`value`, an array of these kinds of fields."""
    need(isinstance(value, list) and len(value) == len(letters), "not the fields of its type")
    for item, letter in zip(value, letters, strict=True):
        if letter == "u":
            good = type(item) is int and item >= 0
        elif letter in _KEYS:
            good = isinstance(item, bytes) and len(item) == 33 and item[0] == _KEYS[letter]
        elif letter in _BYTES:
            good = isinstance(item, bytes) and len(item) == _BYTES[letter]
        else:
            good = letter == "*" or isinstance(item, _TYPES[letter])
        need(good, f"a field is not of kind {letter}")
    fields: list[Any] = value
    return fields


def digest(tag: str, *parts: bytes) -> bytes:
    return hashlib.sha256(bytes((len(tag),)) + tag.encode() + b"".join(parts)).digest()


def check_signature(key: bytes, kind: str, network: bytes, body: bytes, signature: bytes) -> None:
    covered = b"chartmesh/1" + bytes((len(kind),)) + kind.encode() + network + body
    try:
        shape([key, signature], "ks")
        nacl.bindings.crypto_sign_open(signature + covered, key[1:])
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise Bad("a signature does not verify") from error


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 9162."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def path_root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which a leaf's path leads."""
    need(0 <= index < size, "no such leaf")
    node, last, left = hashlib.sha256(b"\0" + leaf).digest(), size - 1, list(path)
    while last:
        if index & 1 or index < last:
            need(left, "a path too short")
            pair = left.pop(0) + node if index & 1 else node + left.pop(0)
            node = hashlib.sha256(b"\1" + pair).digest()
        index, last = index >> 1, last >> 1
    need(not left, "a path too long")
    return node


def genesis(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The network's id and the vote keys of epoch 0."""
    version, _, _, _, _, members = shape(unpack(raw), "utuh**")
    need(version == 1 and isinstance(members, list) and 1 <= len(members) <= 64, "no genesis")
    cards = [shape(member, "tkkx*") for member in members]
    keys = [key for card in cards for key in card[1:3]]
    need(all(1 <= len(card[0]) <= 64 and card[0].isprintable() for card in cards), "no name")
    need(len(set(keys)) == len(keys), "a key twice")
    need(len({card[0] for card in cards}) == len(cards), "a name twice")
    return digest("genesis", raw), [card[2] for card in cards]


def certificate(value: Any, network: bytes, epoch: int, votes: list[bytes]) -> tuple[int, int, bytes]:
    """View, phase and block of a certificate by a quorum of the holders of `votes`."""
    statement, signers, signatures = shape(value, "*ul")
    said, view, phase, block = shape(statement, "uuuh")
    quorum = (len(votes) + (len(votes) - 1) // 3) // 2 + 1
    chosen = [key for at, key in enumerate(votes) if signers >> at & 1]
    need(said == epoch and view and phase in (1, 2, 3), "another epoch, or no statement")
    need((block == NO_BLOCK) == (phase == 2), "a block where none may be, or none")
    need(not signers >> len(votes) and len(chosen) == len(signatures) >= quorum, "no quorum")
    for key, signature in zip(chosen, signatures, strict=True):
        check_signature(key, "statement", network, pack(statement), signature)
    return view, phase, block


def block_hash(header: Any) -> bytes:
    return digest("block", pack(shape(header, "uhuuuhuhhk")))
