"""The SHA-256 Merkle tree of RFC 9162 §2.1: roots, inclusion paths and their verification.

Leaves are hashed under 0x00 and nodes under 0x01 as the RFC says, with no domain tag, so that other
implementations of the RFC check our trees. A path lists siblings from the leaf up, 32 bytes each.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from protocol.codec import HASH_BYTES
from protocol.errors import LocalProtocolError, Malformed

EMPTY_ROOT = sha256().digest()


def leaf_hash(leaf: bytes | memoryview) -> bytes:
    """The hash of one leaf; `leaf` is not copied."""
    hasher = sha256(b"\x00")
    hasher.update(leaf)
    return hasher.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours."""
    return sha256(b"\x01" + left + right).digest()


class TreeBuilder:
    """The root of a growing list of leaf hashes, in memory logarithmic in their number."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self._peaks: list[bytes] = []  # roots of perfect subtrees, widest first: one per set bit of size
        self.size = 0

    def append(self, leaf: bytes) -> None:
        """Adds the next leaf by its hash."""
        merges = self.size
        while merges & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            merges >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the leaves so far; more may follow."""
        if not self._peaks:
            return EMPTY_ROOT
        result = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            result = node_hash(peak, result)
        return result


class Tree:
    """A finished tree with all its levels: a path costs O(log n). About 64 bytes a leaf."""

    __slots__ = ("_levels", "size")

    def __init__(self, leaf_hashes: bytes) -> None:
        """`leaf_hashes` is the leaf hashes one after the other, the form in which they are stored.

        Raises:
            Malformed: not a whole number of hashes.
        """
        if len(leaf_hashes) % HASH_BYTES:
            raise Malformed("leaf hashes are not a whole number of hashes")
        self.size = len(leaf_hashes) // HASH_BYTES
        self._levels = [bytes(leaf_hashes)]
        while len(self._levels[-1]) > HASH_BYTES:
            self._levels.append(_parents(self._levels[-1]))

    @property
    def root(self) -> bytes:
        return self._levels[-1] or EMPTY_ROOT

    def path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion path of leaf `index`.

        Raises:
            LocalProtocolError: no such leaf; whoever asks on behalf of a peer checks the index first.
        """
        if not 0 <= index < self.size:
            raise LocalProtocolError(f"no leaf {index} in a tree of {self.size}")
        path = []
        for level in self._levels[:-1]:
            offset = (index ^ 1) * HASH_BYTES
            # The last node of a level of odd width has no sibling and rises unchanged.
            if offset < len(level):
                path.append(level[offset : offset + HASH_BYTES])
            index >>= 1
        return tuple(path)


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over `leaves`; of no leaves, the hash of nothing."""
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        # The last node of a level of odd width has no sibling and rises unchanged.
        odd = level[-1:] if len(level) & 1 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return level[0] if level else EMPTY_ROOT


def prove(leaves: Iterable[bytes], index: int) -> tuple[bytes, ...]:
    """The inclusion path of `leaves[index]`; a Tree is cheaper where several are asked.

    Raises:
        LocalProtocolError: no such leaf.
    """
    return Tree(b"".join(map(leaf_hash, leaves))).path(index)


def verify(leaf: bytes | memoryview, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` is number `index` of the `size` leaves under `root`. Never raises."""
    return verify_hash(leaf_hash(leaf), index, size, path, root)


def verify_hash(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """As `verify`, for a leaf given by its hash (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    last = size - 1
    for sibling in path:
        if not last:
            return False
        if index & 1 or index == last:
            leaf = node_hash(sibling, leaf)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            leaf = node_hash(leaf, sibling)
        index >>= 1
        last >>= 1
    return not last and leaf == root


def _parents(level: bytes) -> bytes:
    pair = 2 * HASH_BYTES
    whole = len(level) - len(level) % pair
    parents = [sha256(b"\x01" + level[at : at + pair]).digest() for at in range(0, whole, pair)]
    return b"".join((*parents, level[whole:]))
