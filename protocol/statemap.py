"""The persistent sparse Merkle map that is the ledger's state: 32-byte keys to values, with proofs.

A binary trie over the 256 bits of the key, highest bit first. A subtree that holds exactly one key is
represented by that leaf, so the root depends on the contents alone and never on how they came about.

    leaf  = SHA-256(0x00 ‖ key ‖ SHA-256(value))
    inner = SHA-256(0x01 ‖ left ‖ right)
    empty = 32 zero bytes

Nodes are immutable and shared between maps: an update copies the paths to the changed keys and no
more. A leaf is one byte string `hash ‖ key ‖ value` and an inner node a tuple, because there are
millions of them and neither a dictionary nor the garbage collector's list should hold any.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from protocol.codec import HASH_BYTES, Wire
from protocol.errors import LocalProtocolError

KEY_BYTES = 32
KEY_BITS = 8 * KEY_BYTES
EMPTY_ROOT = bytes(HASH_BYTES)

Node = bytes | tuple[bytes, "Node", "Node"]
"""EMPTY_ROOT itself, a leaf, or (hash, left, right). The height of a node is how many bits of the
key are undecided there: 256 at the root; an inner node of height h branches on bit h - 1."""

_VALUE_AT = HASH_BYTES + KEY_BYTES
_MASKS = (128, 64, 32, 16, 8, 4, 2, 1)


class OtherLeaf(Wire, frozen=True):
    """The leaf that stands where a key would be, and so shows that the key is absent."""

    key: bytes
    value_hash: bytes


class Proof(Wire, frozen=True):
    """What a map says of one key. `siblings` runs from the root down, an empty subtree as b""."""

    siblings: tuple[bytes, ...]
    other: OtherLeaf | None


class StateMap:
    """An immutable map with a Merkle root; `update` returns another that shares what is unchanged."""

    __slots__ = ("_count", "_node")

    def __init__(self, node: Node, count: int) -> None:
        """For this module: use `empty` or `from_sorted`."""
        self._node = node
        self._count = count

    @classmethod
    def empty(cls) -> "StateMap":
        return cls(EMPTY_ROOT, 0)

    @classmethod
    def from_sorted(cls, items: Iterable[tuple[bytes, bytes]]) -> "StateMap":
        """The map of `items`, read once, in rising order of their keys.

        Raises:
            LocalProtocolError: keys out of order, repeated or not of 32 bytes.
        """
        counted = _Counted(items)
        return cls(_build(counted, KEY_BITS), counted.count)

    @property
    def root(self) -> bytes:
        return _hash_of(self._node)

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        node = self._node
        # Small integers: to shift one of 256 bits at each step takes twice as long.
        for octet in _checked(key):
            for mask in _MASKS:
                if isinstance(node, bytes):
                    return node[_VALUE_AT:] if node[HASH_BYTES:_VALUE_AT] == key else None
                node = node[2] if octet & mask else node[1]
        assert isinstance(node, bytes), "nothing is undecided below the last bit"
        return node[_VALUE_AT:] if node[HASH_BYTES:_VALUE_AT] == key else None

    def update(self, changes: Mapping[bytes, bytes | None]) -> "StateMap":
        """This map with `changes` applied at once; None deletes. Shared paths are hashed once.

        Raises:
            LocalProtocolError: a key is not of 32 bytes.
        """
        if not changes:
            return self
        batch = _Batch(changes)
        node = batch.apply(self._node, KEY_BITS, 0, len(changes))
        return self if node is self._node else StateMap(node, self._count + batch.growth)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in rising order of the keys."""
        waiting = [self._node]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, bytes):
                waiting += (node[2], node[1])
            elif node is not EMPTY_ROOT:
                yield node[HASH_BYTES:_VALUE_AT], node[_VALUE_AT:]

    def prove(self, key: bytes) -> Proof:
        """What shows a holder of the root the value of `key`, or that it has none."""
        node, bits, height = self._node, _bits(key), KEY_BITS
        siblings = []
        while not isinstance(node, bytes):
            height -= 1
            left, right = node[1], node[2]
            node, sibling = (right, left) if bits >> height & 1 else (left, right)
            siblings.append(b"" if sibling is EMPTY_ROOT else _hash_of(sibling))
        found = node[HASH_BYTES:_VALUE_AT]
        if node is EMPTY_ROOT or found == key:
            return Proof(tuple(siblings), None)
        return Proof(tuple(siblings), OtherLeaf(found, sha256(node[_VALUE_AT:]).digest()))


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether the map under `root` has `value` at `key`, or lacks `key` where `value` is None.

    Never raises. For one map and key exactly one proof is accepted.
    """
    depth = len(proof.siblings)
    if len(key) != KEY_BYTES or depth > KEY_BITS:
        return False
    bits = int.from_bytes(key, "big")
    node = _claimed(bits, key, value, proof)
    if node is None:
        return False
    for height, sibling in enumerate(reversed(proof.siblings), start=KEY_BITS - depth):
        if sibling == EMPTY_ROOT:
            return False
        sibling = sibling or EMPTY_ROOT
        pair = sibling + node if bits >> height & 1 else node + sibling
        node = sha256(b"\x01" + pair).digest()
    return node == root


def _claimed(bits: int, key: bytes, value: bytes | None, proof: Proof) -> bytes | None:
    """The hash of what the proof says is at the end of the path, or None where it cannot be there."""
    other = proof.other
    if value is not None:
        return None if other else _leaf_hash(key, sha256(value).digest())
    if other is None:
        return EMPTY_ROOT
    if len(other.key) != KEY_BYTES:
        return None
    fork = (bits ^ int.from_bytes(other.key, "big")).bit_length()
    # The other leaf must lie on this key's path: their first difference is below the end of it.
    if not 0 < fork <= KEY_BITS - len(proof.siblings):
        return None
    return _leaf_hash(other.key, other.value_hash)


class _Batch:
    """One update: its changes in key order, as bits and as new leaves (EMPTY_ROOT deletes)."""

    __slots__ = ("_bits", "_leaves", "growth")

    def __init__(self, changes: Mapping[bytes, bytes | None]) -> None:
        keys = sorted(changes)
        self._bits = [_bits(key) for key in keys]
        self._leaves = [
            EMPTY_ROOT if (value := changes[key]) is None else _leaf(key, value) for key in keys
        ]
        self.growth = 0

    def apply(self, node: Node, height: int, low: int, high: int) -> Node:
        """`node` with changes low to high (at least one), which all belong below it.

        They go down together to where the first of them part, or where nothing more is undecided: most of
        the work is on the way back up, and a loop is faster than a call for each level.
        """
        bits = self._bits[low]
        fork = (bits ^ self._bits[high - 1]).bit_length()
        top, path = node, []
        while height > fork and not isinstance(node, bytes):
            path.append(node)
            height -= 1
            node = node[2] if bits >> height & 1 else node[1]
        if isinstance(node, bytes):
            new = self._replace(node, height, low, high)
        else:
            new = self._split(node, height - 1, low, high)
        return top if new is node else _rise(new, path, bits, height)

    def _split(self, node: tuple[bytes, Node, Node], height: int, low: int, high: int) -> Node:
        """`node` with changes low to high, of which some belong below each of its halves of `height`."""
        middle = bisect_left(self._bits, (self._bits[low] >> height | 1) << height, low, high)
        left = self.apply(node[1], height, low, middle)
        right = self.apply(node[2], height, middle, high)
        return node if left is node[1] and right is node[2] else _join(left, right)

    def _replace(self, old: bytes, height: int, low: int, high: int) -> Node:
        """What stands in the place of a leaf or of nothing after changes low to high."""
        leaves = self._leaves
        if high - low == 1:
            new = leaves[low]
            if old is EMPTY_ROOT or (new is not EMPTY_ROOT and _same_key(old, new)):
                self.growth += (old is EMPTY_ROOT) - (new is EMPTY_ROOT)
                return old if old == new else new
            if new is not EMPTY_ROOT:
                self.growth += 1
                return _pair(old, new, self._bits[low], height)
        merged = [(self._bits[at], leaves[at]) for at in range(low, high)]
        if old is not EMPTY_ROOT:
            bits = int.from_bytes(old[HASH_BYTES:_VALUE_AT], "big")
            at = bisect_left(self._bits, bits, low, high)
            if at == high or self._bits[at] != bits:
                merged.insert(at - low, (bits, old))
        merged = [(bits, leaf) for bits, leaf in merged if leaf is not EMPTY_ROOT]
        self.growth += len(merged) - (old is not EMPTY_ROOT)
        return _build(merged, height)


class _Counted:
    """Leaves of checked items, counted as they pass."""

    __slots__ = ("_items", "count")

    def __init__(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        last = -1
        for key, value in self._items:
            bits = _bits(key)
            if bits <= last:
                raise LocalProtocolError("keys of a state map are out of order or repeated")
            last = bits
            self.count += 1
            yield bits, _leaf(key, value)


def _build(leaves: Iterable[tuple[int, bytes]], height: int) -> Node:
    """The subtree of `height` that holds `leaves`, given in rising order of their bits."""
    pending: list[tuple[int, Node]] = []  # finished left halves, with the height of their parent
    node: Node = EMPTY_ROOT
    last = -1
    for bits, leaf in leaves:
        if last >= 0:
            fork = (bits ^ last).bit_length()
            pending.append((fork, _close(pending, node, last, fork)))
        node, last = leaf, bits
    return _close(pending, node, last, height + 1)


def _close(pending: list[tuple[int, Node]], node: Node, bits: int, fork: int) -> Node:
    """Joins `node` with the left halves whose parents lie under a new parent of height `fork`."""
    height = 0
    while pending and pending[-1][0] < fork:
        parent_height, left = pending.pop()
        node = _join(left, _lift(node, bits, height, parent_height - 1))
        height = parent_height
    return _lift(node, bits, height, fork - 1)


def _rise(node: Node, path: list[tuple[bytes, Node, Node]], bits: int, height: int) -> Node:
    """What stands in the place of the first of `path` once `node`, of `height`, is below its last."""
    # A leaf rises where nothing is beside it. Above an inner node there are inner nodes only, which
    # `_join` would look at twice: they are most of what an update makes.
    while path and isinstance(node, bytes):
        parent = path.pop()
        node = _join(parent[1], node) if bits >> height & 1 else _join(node, parent[2])
        height += 1
    own = _hash_of(node)
    while path:
        _, left, right = path.pop()
        if bits >> height & 1:
            own = sha256(b"\x01" + _hash_of(left) + own).digest()
            node = own, left, node
        else:
            own = sha256(b"\x01" + own + _hash_of(right)).digest()
            node = own, node, right
        height += 1
    return node


def _pair(old: bytes, new: bytes, bits: int, height: int) -> Node:
    """The subtree of `height` that holds two leaves of different keys; `bits` are those of `new`."""
    others = int.from_bytes(old[HASH_BYTES:_VALUE_AT], "big")
    fork = (bits ^ others).bit_length()
    return _lift(_join(old, new) if others < bits else _join(new, old), bits, fork, height)


def _lift(node: Node, bits: int, height: int, target: int) -> Node:
    """`node` of `height` under inner nodes with one empty side, up to height `target`."""
    if isinstance(node, bytes):
        return node
    for level in range(height, target):
        node = _join(EMPTY_ROOT, node) if bits >> level & 1 else _join(node, EMPTY_ROOT)
    return node


def _join(left: Node, right: Node) -> Node:
    """The parent of two subtrees; of a lone leaf and nothing, the leaf."""
    if isinstance(left, bytes):
        if right is EMPTY_ROOT or (left is EMPTY_ROOT and isinstance(right, bytes)):
            return right if left is EMPTY_ROOT else left
        left_hash = left[:HASH_BYTES]
    else:
        left_hash = left[0]
    right_hash = right[:HASH_BYTES] if isinstance(right, bytes) else right[0]
    return sha256(b"\x01" + left_hash + right_hash).digest(), left, right


def _hash_of(node: Node) -> bytes:
    return node[:HASH_BYTES] if isinstance(node, bytes) else node[0]


def _leaf(key: bytes, value: bytes) -> bytes:
    return _leaf_hash(key, sha256(value).digest()) + key + value


def _leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    return sha256(b"\x00" + key + value_hash).digest()


def _same_key(old: bytes, new: bytes) -> bool:
    return old[HASH_BYTES:_VALUE_AT] == new[HASH_BYTES:_VALUE_AT]


def _bits(key: bytes) -> int:
    return int.from_bytes(_checked(key), "big")


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise LocalProtocolError(f"key of a state map has {len(key)} bytes, not {KEY_BYTES}")
    return key
