"""A second reader of the wire format, from its description alone: it imports nothing of the project.

Every function gives what the bytes say, or raises Bad. Arrays are lists, in the order of the tables of
protocol/README.md. `shape` spells the fields of one in letters: u number from 0, h 32 bytes, g 16, k key
that signs, x key to seal to, s signature, b bytes, t text, ? truth, * anything.
"""

import hashlib
from typing import Any

import nacl.bindings
import nacl.exceptions

from tests.vectors.plain_msgpack import Bad, pack, unpack

NO_BLOCK, APPROVALS = bytes(32), ()
BODIES = {  # transactions by tag: fields after it, and which of them sign, in order (None: any one key)
    1: ("gkkhx*h*", (1,)),
    2: ("hhh", (None,)),
    3: ("hh", (None,)),
    4: ("hutkkhxh*", (None, 3, 4)),
    5: ("hukkhxh*", (2, 3)),
    6: ("huk", (None, 2)),
    7: ("kuh", (0,)),
    8: ("*hsu", APPROVALS),
    9: ("ku", APPROVALS),
    10: ("ktu", APPROVALS),
    11: ("ku", APPROVALS),
    12: ("kk", (0, 1)),
}
_BYTES = {"h": 32, "g": 16, "s": 64}
_KEYS = {"k": 1, "x": 2}
_TYPES: dict[str, type] = {"b": bytes, "t": str, "?": bool}


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
        need(key[0] == 1 and len(key) == 33 and len(signature) == 64, "not a key and a signature")
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
    need(version == 1 and members, "another version, or nobody")
    return digest("genesis", raw), [shape(member, "tkkx*")[2] for member in members]


def certificate(value: Any, network: bytes, epoch: int, votes: list[bytes]) -> tuple[int, int, bytes]:
    """View, phase and block of a certificate by a quorum of the holders of `votes`."""
    statement, signers, signatures = shape(value, "*u*")
    said, view, phase, block = shape(statement, "uuuh")
    quorum = (len(votes) + (len(votes) - 1) // 3) // 2 + 1
    chosen = [key for at, key in enumerate(votes) if signers >> at & 1]
    need(said == epoch and view and phase in (1, 2, 3), "another epoch, or no statement")
    need((block == NO_BLOCK) == (phase == 2), "a block where none may be, or none")
    need(not signers >> len(votes) and len(chosen) == len(signatures) >= quorum, "no quorum")
    for key, signature in zip(chosen, signatures, strict=True):
        check_signature(key, "statement", network, pack(statement), signature)
    return view, phase, block


def transaction(raw: bytes, network: bytes) -> tuple[bytes, int, list[Any]]:
    """Id, tag and fields of a transaction whose signatures verify."""
    body, signatures = shape(unpack(raw), "b*")
    tag, *fields = unpack(body)
    need(tag in BODIES and len(raw) <= 16 * 1024, "no transaction of version 1")
    letters, signers = BODIES[tag]
    shape(fields, letters)
    need(len(signatures) == len(signers), "signatures too few or too many")
    for signature, wanted in zip(signatures, signers, strict=True):
        need(wanted is None or shape(signature, "ks")[0] == fields[wanted], "another signer")
        check_signature(signature[0], "transaction", network, body, signature[1])
    return digest("transaction", raw), tag, fields


def block_hash(header: Any) -> bytes:
    return digest("block", pack(shape(header, "uhuuuhuhhk")))


def final_block(raw: bytes, network: bytes, votes: list[bytes]) -> tuple[Any, bytes, list[bytes]]:
    """Header, hash and transaction ids of a block of epoch 0 with its finalization."""
    block, proof = shape(unpack(raw), "**")
    header, transactions, sealed = shape(block, "***")
    name = block_hash(header)
    need(header[0] == 1 and header[1] == network and header[2] == 0, "of another network or epoch")
    need(certificate(proof, network, 0, votes)[1:] == (3, name), "not its finalization")
    ids = [transaction(item, network)[0] for item in transactions]
    need(header[7] == tree_root(ids) and len(sealed) == len(ids), "other transactions than its root")
    return header, name, ids
