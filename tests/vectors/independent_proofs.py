"""A second verifier of proofs of state, whole in this file: it imports nothing of the project."""

import hashlib
from typing import Any

import nacl.bindings

_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDC: 2}


class Wrong(Exception):
    """What the bytes do not show, and why."""


def need(good: object, reason: str) -> None:
    if not good:
        raise Wrong(reason)


def pack(value: Any) -> bytes:
    """The one encoding of nothing, a number, a byte string or a list."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        size = next(at for at in range(5) if value < 1 << (8 << at))
        return bytes((value,)) if value < 128 else bytes((0xCC + size,)) + value.to_bytes(1 << size, "big")
    if isinstance(value, list):
        head = bytes((0x90 | len(value),)) if len(value) < 16 else b"\xdc" + len(value).to_bytes(2, "big")
        return head + b"".join(map(pack, value))
    code = next(code for code, size in _SIZES.items() if len(value) < 256**size)
    return bytes((code,)) + len(value).to_bytes(_SIZES[code], "big") + bytes(value)


def item(raw: bytes, at: int) -> tuple[Any, int]:
    """The value at a place, and where it ends. Text is left as bytes."""
    code, at = raw[at], at + 1
    if code < 0x80 or code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}.get(code, code), at
    if 0xCC <= code <= 0xCF:
        end = at + (1 << code - 0xCC)
        return int.from_bytes(raw[at:end], "big"), end
    size = _SIZES[code] if code >= 0xC0 else 0
    count = int.from_bytes(raw[at : at + size], "big") if size else code & (15 if code < 0xA0 else 31)
    items, at = [], at + size
    if 0xA0 <= code < 0xDC:
        return raw[at : at + count], at + count
    for _ in range(count):
        one, at = item(raw, at)
        items.append(one)
    return items, at


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def digest(tag: str, *parts: bytes) -> bytes:
    return sha(bytes((len(tag),)), tag.encode(), *parts)


def check_final(network: bytes, epoch: int, votes: list[bytes], header: list[Any], finality: Any) -> None:
    """A quorum of the holders of `votes` finalized `header`, or a tail of it."""
    (statement, signers, signatures), tail = finality
    need(header[:3] == [1, network, epoch], "a header of another version, network or epoch")
    if tail is not None:
        same = [*header[:3], tail[3], header[4], digest("block", pack(header)), tail[6], sha()]
        need(tail == [*same, header[8], tail[9]], "not a tail of the header")
        need(tail[3] > header[3] and tail[6] > header[6], "not after the header")
    said = [epoch, statement[1], 3, digest("block", pack(tail or header))]
    need(statement == said and statement[1] >= 1, "not a finalization of this header")
    chosen = [key for at, key in enumerate(votes) if signers >> at & 1]
    quorum = (len(votes) + (len(votes) - 1) // 3) // 2 + 1
    need(not signers >> len(votes) and len(chosen) == len(signatures) >= quorum, "no quorum")
    for key, signature in zip(chosen, signatures, strict=True):
        covered = b"chartmesh/1\x09statement" + network + pack(statement)
        nacl.bindings.crypto_sign_open(signature + covered, key[1:])


def fold(ends: list[tuple[int, int, bytes]], depth: int, beside: list[bytes]) -> bytes:
    """The hash of the subtree with these ends: a key's bits, its depth, what is there."""
    if any(end[1] <= depth for end in ends):
        need({end[1:] for end in ends} == {(depth, ends[0][2])}, "paths that contradict each other")
        return ends[0][2]
    left, right = ([end for end in ends if end[0] >> 255 - depth & 1 == side] for side in (0, 1))
    if left and right:
        return sha(b"\1", fold(left, depth + 1, beside), fold(right, depth + 1, beside))
    sibling, node = beside.pop(0), fold(ends, depth + 1, beside)
    return sha(b"\1", node, sibling) if left else sha(b"\1", sibling, node)


def entries(root: bytes, keys: set[bytes], places: list[Any], siblings: bytes) -> dict[bytes, Any]:
    """The values of `keys` under `root`, None for what is absent."""
    need(len(keys) == len(places) and len(siblings) % 32 == 0, "other entries than asked for")
    ends, found = [], {}
    for key, (depth, value, other) in zip(sorted(keys), places, strict=True):
        bits, node = int.from_bytes(key, "big"), bytes(32)
        if value is not None:
            need(other is None, "an entry, and another in its place")
            node = sha(b"\0", key, sha(value))
        elif other is not None:
            need(len(other[0]) == len(other[1]) == 32 and other[0] != key, "no other entry")
            need((bits ^ int.from_bytes(other[0], "big")) >> 256 - depth == 0, "not on the path")
            node = sha(b"\0", *other)
        ends.append((bits, depth, node))
        found[key] = value
    beside = [siblings[at : at + 32] for at in range(0, len(siblings), 32)]
    need(fold(ends, 0, beside) == root and not beside, "not of this state")
    return found


def verify(raw: bytes, genesis: bytes, asked: Any, now_ms: int, age_ms: int | None) -> Any:
    """Height, time, block hash and standings of `asked`, pairs of a token and a grant or b""; or Wrong."""
    try:
        proof, end = item(raw, 0)
        need(end == len(raw) and pack(proof) == raw, "not the canonical encoding")
        return checked(proof, item(genesis, 0)[0], digest("genesis", genesis), asked, now_ms, age_ms)
    except Exception as error:
        raise Wrong(f"not shown: {error}") from error


def checked(proof: Any, genesis: Any, network: bytes, asked: Any, now_ms: int, age_ms: int | None) -> Any:
    (ends, header, finality), standings, (places, siblings) = proof
    votes = [member[2] for member in genesis[5]]
    for epoch, (end, final, (roster, (path, other))) in enumerate(ends):
        check_final(network, epoch, votes, end, final)
        need(other is None and bytes(32) not in path, "not a proof of presence")
        beside = b"".join(one or bytes(32) for one in path)
        entries(end[8], {digest("state-roster")}, [[len(path), roster, None]], beside)
        _, opened, _, seats, _ = item(roster, 0)[0]
        need(opened == epoch + 1 and seats, "the roster of another epoch")
        votes = [seat[1] for seat in seats]
    check_final(network, len(ends), votes, header, finality)
    old = age_ms is not None and now_ms - header[6] > age_ms
    need(header[6] <= now_ms + genesis[4][1] and not old, "of another time")
    need(0 < len(asked) < 65 and all(len(one) == 32 and len(two) in (0, 32) for one, two in asked), "ids")
    own = [(k := digest("state-token", t), g and k[:2] + digest("state-grant", t, g)[2:]) for t, g in asked]
    found = entries(header[8], {key for pair in own for key in pair if key}, places, siblings)
    for standing, (token, grant) in zip(standings, own, strict=True):
        need(standing == judge(found[token], found.get(grant), grant), "a standing that is not so")
    return [header[4], header[6], digest("block", pack(header)), standings]


def judge(token: bytes | None, grant: bytes | None, asked: bytes) -> int:
    """1 absent, 2 owned, 3 erased; of a grant 4 live, 5 revoked, 6 ended, 7 never registered."""
    own, of = (one and item(one, 0)[0] for one in (token, grant))
    if not own or not asked:
        return 1 if not own else 3 if own[10] else 2
    if not of or of[3]:
        return 5 if of else 7
    return 4 if of[1] == own[7] and not own[10] else 6
