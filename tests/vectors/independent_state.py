"""The second reader's other half: genesis file, state map and proofs, from the description alone."""

import base64
import hashlib
from typing import Any

from tests.vectors.independent import NO_BLOCK, block_hash, digest, need, shape, tree_root
from tests.vectors.independent_content import proven
from tests.vectors.plain_msgpack import pack, unpack

VALIDATOR = 2


def encoded_genesis(text: str) -> bytes:
    """What a genesis file holds: base64, its last 8 bytes a checksum."""
    raw = base64.b64decode("".join(text.split("\n")[1:-2]))
    need(digest("armour", b"GENESIS\0" + raw[:-8])[:8] == raw[-8:], "a damaged file")
    return raw[:-8]


def map_root(entries: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The root of a state map: keys of 32 bytes to values."""
    if len(entries) < 2:
        pairs = [key + hashlib.sha256(value).digest() for key, value in entries.items()]
        return hashlib.sha256(b"\0" + pairs[0]).digest() if pairs else bytes(32)
    halves: list[dict[bytes, bytes]] = [{}, {}]
    for key, value in entries.items():
        halves[key[depth >> 3] >> 7 - (depth & 7) & 1][key] = value
    return hashlib.sha256(b"\1" + b"".join(map_root(half, depth + 1) for half in halves)).digest()


def genesis_hash(raw: bytes) -> bytes:
    """The hash of the block of height 0, which nobody signs."""
    network, (_, _, created_ms, terms, _, members) = digest("genesis", raw), unpack(raw)
    seats, ids = [[card[1], card[2]] for card in members], [card[1] for card in members]
    entries = {digest("state-roster"): pack([5, 0, terms, seats, ids])}
    for name, id_key, vote_key, enc_key, addresses in members:
        entry = [4, id_key, vote_key, enc_key, name, addresses, VALIDATOR, 0, 0, 0, NO_BLOCK, 0]
        entries[digest("state-member", id_key)] = pack(entry)
        entries[digest("state-vote-key", vote_key)] = pack([6, id_key])
    root, proposer = map_root(entries), members[0][2]
    return block_hash([1, network, 0, 0, 0, NO_BLOCK, created_ms, tree_root([]), root, proposer])


def entry(root: bytes, key: bytes, shown: Any) -> bytes:
    """The value of a ProvenEntry, empty where the key is proven absent."""
    value, proof = shape(shown, "b*")
    proven(root, key, value or None, proof)
    found: bytes = value
    return found


def ownership(root: bytes, key: bytes, raw: bytes) -> bytes:
    """The token that an owner key was given, in which generation, and whether it owns it still; nothing
    where it never was anything's."""
    held, token = shape(unpack(raw), "**")
    value = entry(root, digest("state-owner-key", key), held)
    if not value:
        need(token is None, "nothing, and a token")
        return b""
    _, name, generation = unpack(value)
    found = entry(root, digest("state-token", name), token)
    need(found, "a token that is absent")
    state = unpack(found)
    given: bytes = name + bytes((generation, generation == state[7] and not state[10]))
    return given


def roll(root: bytes, raw: bytes) -> bytes:
    """The identity keys of all members, in the order of admission, once each has its entry."""
    roster, members = shape(unpack(raw), "*l")
    found = entry(root, digest("state-roster"), roster)
    need(found, "no roster")
    ids: list[bytes] = unpack(found)[4]
    need(len(members) == len(ids), "not all members")
    for id_key, member in zip(ids, members, strict=True):
        need(entry(root, digest("state-member", id_key), member), "a member without an entry")
    return b"".join(ids)
