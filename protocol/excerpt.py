"""An excerpt of the state map: several entries, or that they are absent, under one root, in one proof.

The paths of several keys share their upper part, and where two paths part each is the other's sibling: a
fold over all of them needs each hash once and none that it can work out. The hashes are strung together
in the order in which the fold wants them: from the root down, and where paths part, first all of the left.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from protocol.codec import HASH_BYTES, Wire
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.statemap import EMPTY_ROOT, KEY_BITS, KEY_BYTES, OtherLeaf, Proof, StateMap


class Place(Wire, frozen=True):
    """What is at the end of a key's path, `depth` bits below the root.

    `value` is that of the key, or None where it is absent: then the end is empty or `other` stands there.
    """

    depth: int
    value: bytes | None
    other: OtherLeaf | None


class Excerpt(Wire, frozen=True):
    """The places of some keys, in rising order of the keys, and the hashes beside their paths.

    A hash of zeros stands for an empty subtree.
    """

    places: tuple[Place, ...]
    siblings: bytes


class _End(NamedTuple):
    """A key's bits, the depth at which its path ends, and the hash of what is there."""

    bits: int
    depth: int
    node: bytes


def take_excerpt(entries: StateMap, keys: Sequence[bytes]) -> Excerpt:
    """What `entries` holds at `keys`, which are taken once each and in rising order."""
    ordered = sorted(set(keys))
    proofs = {key: entries.prove(key) for key in ordered}
    places = tuple(Place(len(proofs[key].siblings), entries.get(key), proofs[key].other) for key in ordered)
    ends = [_end(key, place) for key, place in zip(ordered, places, strict=True)]
    siblings: list[bytes] = []

    def beside(end: _End, depth: int) -> bytes:
        siblings.append(_proof_of(proofs, end).siblings[depth] or EMPTY_ROOT)
        return siblings[-1]

    if ends and _fold(ends, 0, beside) != entries.root:
        raise LocalProtocolError("an excerpt that does not lead to its own root")
    return Excerpt(places, b"".join(siblings))


def verify_excerpt(root: bytes, keys: Sequence[bytes], excerpt: Excerpt) -> dict[bytes, bytes | None]:
    """The values of `keys` under `root`, None for what is absent.

    For one map and one set of keys exactly one excerpt is accepted.

    Raises:
        RemoteProtocolError: it is not of these keys, or does not lead to `root`.
    """
    ordered = sorted(set(keys))
    if not ordered or len(ordered) != len(excerpt.places) or len(excerpt.siblings) % HASH_BYTES:
        raise RemoteProtocolError("an excerpt of other entries than asked for")
    ends = [_end(key, place) for key, place in zip(ordered, excerpt.places, strict=True)]
    used = 0

    def beside(_: _End, __: int) -> bytes:
        nonlocal used
        used += HASH_BYTES
        return excerpt.siblings[used - HASH_BYTES : used]

    if _fold(ends, 0, beside) != root or used != len(excerpt.siblings):
        raise RemoteProtocolError("an excerpt that is not of this state")
    return {key: place.value for key, place in zip(ordered, excerpt.places, strict=True)}


def _end(key: bytes, place: Place) -> _End:
    """Raises RemoteProtocolError where what the place says cannot be at the end of the key's path."""
    bits, other = int.from_bytes(key, "big"), place.other
    if len(key) != KEY_BYTES or not 0 <= place.depth <= KEY_BITS:
        raise RemoteProtocolError("an excerpt with a path that cannot be")
    if place.value is not None:
        if other is not None:
            raise RemoteProtocolError("an entry that is there, and another in its place")
        return _End(bits, place.depth, _leaf(key, sha256(place.value).digest()))
    if other is None:
        return _End(bits, place.depth, EMPTY_ROOT)
    fork = KEY_BITS - (bits ^ int.from_bytes(other.key, "big")).bit_length()
    # The other leaf must lie on this key's path: their first difference is below the end of it.
    is_whole = len(other.key) == KEY_BYTES and len(other.value_hash) == HASH_BYTES
    if not is_whole or not place.depth <= fork < KEY_BITS:
        raise RemoteProtocolError("another entry that is not on the path of the absent one")
    return _End(bits, place.depth, _leaf(other.key, other.value_hash))


def _fold(ends: Sequence[_End], depth: int, beside: Callable[[_End, int], bytes]) -> bytes:
    """The hash of the subtree at `depth` that holds all `ends`; `beside` gives that of one without any."""
    first = ends[0]
    if any(end.depth <= depth for end in ends):
        if any((end.depth, end.node) != (depth, first.node) for end in ends):
            raise RemoteProtocolError("paths of an excerpt that contradict each other")
        return first.node
    mask = 1 << KEY_BITS - 1 - depth
    left = [end for end in ends if not end.bits & mask]
    right = [end for end in ends if end.bits & mask]
    if left and right:
        pair = _fold(left, depth + 1, beside) + _fold(right, depth + 1, beside)
    else:
        sibling = beside(first, depth)
        node = _fold(ends, depth + 1, beside)
        pair = node + sibling if left else sibling + node
    return sha256(b"\x01" + pair).digest()


def _leaf(key: bytes, value_hash: bytes) -> bytes:
    return sha256(b"\x00" + key + value_hash).digest()


def _proof_of(proofs: Mapping[bytes, Proof], end: _End) -> Proof:
    return proofs[end.bits.to_bytes(KEY_BYTES, "big")]
