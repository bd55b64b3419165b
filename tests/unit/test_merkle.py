"""The RFC 9162 tree: known roots, paths of every shape, and what does not verify."""

from hashlib import sha256

import pytest

from protocol import merkle
from protocol.errors import LocalProtocolError, Malformed

# The eight leaves and roots that Certificate Transparency's own tests use.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(9))
def test_root_is_the_published_one(count: int) -> None:
    assert merkle.root(LEAVES[:count]).hex() == ROOTS[count]


def test_tree_of_no_leaves_has_the_hash_of_nothing_and_no_paths() -> None:
    assert merkle.Tree(b"").root == merkle.EMPTY_ROOT == sha256(b"").digest()
    with pytest.raises(LocalProtocolError):
        merkle.Tree(b"").path(0)


@pytest.mark.parametrize("index", [-1, 8])
def test_a_leaf_that_is_not_there_has_no_path(index: int) -> None:
    with pytest.raises(LocalProtocolError):
        merkle.prove(LEAVES, index)


def test_half_a_hash_makes_no_tree() -> None:
    with pytest.raises(Malformed):
        merkle.Tree(bytes(33))


def test_every_leaf_of_every_small_tree_verifies_at_its_own_place_only() -> None:
    for size in range(1, 34):
        leaves = [bytes((number,)) for number in range(size)]
        root = merkle.root(leaves)
        for index, leaf in enumerate(leaves):
            path = merkle.prove(leaves, index)
            places = [at for at in range(-1, size + 2) if merkle.verify(leaf, at, size, path, root)]
            assert places == [index]


def test_paths_of_the_wrong_shape_do_not_verify() -> None:
    path, root = merkle.prove(LEAVES, 5), merkle.root(LEAVES)
    assert merkle.verify(LEAVES[5], 5, 8, path, root)
    for wrong in (path[:-1], (*path, bytes(32)), path[::-1], (), (path[0][:-1], *path[1:]), (b"",) * 3):
        assert not merkle.verify(LEAVES[5], 5, 8, wrong, root)
    assert not merkle.verify(LEAVES[4], 5, 8, path, root)
    assert not merkle.verify(LEAVES[5], 5, 8, path, root[:-1])
    assert not merkle.verify(LEAVES[5], 2**300, 2**301, path, root)
    assert not merkle.verify(LEAVES[5], 5, 0, path, root)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    left, right = (merkle.leaf_hash(leaf) for leaf in LEAVES[:2])
    assert not merkle.verify(left + right, 0, 1, (), merkle.root(LEAVES[:2]))
