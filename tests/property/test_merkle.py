"""The RFC 9162 tree against its definition, and its paths against any change."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from protocol import merkle

LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=70, unique=True)


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, word for word."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


@given(LEAVES)
def test_roots_of_list_builder_and_tree_are_the_defined_one(leaves: list[bytes]) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    builder = merkle.TreeBuilder()
    for count, leaf in enumerate(hashes, start=1):
        builder.append(leaf)
        assert builder.size == count
        assert builder.root() == defined_root(leaves[:count])
    assert merkle.root(leaves) == merkle.Tree(b"".join(hashes)).root == defined_root(leaves)


@given(LEAVES, st.integers(min_value=0))
def test_every_path_verifies(leaves: list[bytes], number: int) -> None:
    index = number % len(leaves)
    path = merkle.prove(leaves, index)
    assert merkle.verify(leaves[index], index, len(leaves), path, merkle.root(leaves))


@given(LEAVES, st.integers(min_value=0), st.integers(min_value=0), st.integers(1, 255))
def test_a_path_with_one_byte_changed_does_not_verify(
    leaves: list[bytes], number: int, place: int, flip: int
) -> None:
    index = number % len(leaves)
    flat = bytearray(b"".join(merkle.prove(leaves, index)))
    if not flat:
        return
    flat[place % len(flat)] ^= flip
    path = tuple(bytes(flat[at : at + 32]) for at in range(0, len(flat), 32))
    assert not merkle.verify(leaves[index], index, len(leaves), path, merkle.root(leaves))


@given(
    st.binary(max_size=4),
    st.integers(),
    st.integers(),
    st.lists(st.binary(max_size=33), max_size=70),
    st.binary(max_size=33),
)
def test_nothing_made_up_verifies_or_raises(
    leaf: bytes, index: int, size: int, path: list[bytes], root: bytes
) -> None:
    assert not merkle.verify(leaf, index, size, path, root)
