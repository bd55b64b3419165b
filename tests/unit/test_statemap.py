"""The state map: a committed root, what it holds, and every byte of its proofs."""

from hashlib import sha256

import pytest

from protocol.codec import decode, encode
from protocol.errors import LocalProtocolError, Malformed
from protocol.statemap import EMPTY_ROOT, OtherLeaf, Proof, StateMap, verify_proof

LOW = bytes(32)
NEXT = bytes(31) + b"\x01"
HIGH = b"\x80" + bytes(31)
TOP = b"\xff" * 32
HALF = b"\x40" + bytes(31)


def leaf(key: bytes, value: bytes) -> bytes:
    return sha256(b"\x00" + key + sha256(value).digest()).digest()


def inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def hashed(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def thousand() -> StateMap:
    return StateMap.empty().update({hashed(number): b"value %d" % number for number in range(1000)})


def test_empty_map_has_the_zero_root_and_nothing_in_it() -> None:
    empty = StateMap.empty()
    assert empty.root == EMPTY_ROOT == bytes(32)
    assert (len(empty), list(empty.items()), empty.get(LOW)) == (0, [], None)
    assert StateMap.from_sorted([]).root == EMPTY_ROOT


def test_a_map_of_one_key_is_its_leaf() -> None:
    assert StateMap.empty().update({TOP: b"x"}).root == leaf(TOP, b"x")


def test_two_keys_that_share_bits_stand_under_empty_siblings() -> None:
    below = inner(leaf(LOW, b"a"), leaf(HALF, b"b"))
    assert StateMap.empty().update({LOW: b"a", HALF: b"b"}).root == inner(below, EMPTY_ROOT)
    assert StateMap.empty().update({LOW: b"a", HIGH: b"b"}).root == inner(leaf(LOW, b"a"), leaf(HIGH, b"b"))


def test_keys_that_differ_in_the_last_bit_make_the_deepest_map() -> None:
    state = StateMap.empty().update({LOW: b"a", NEXT: b"b"})
    assert len(state.prove(LOW).siblings) == 256
    assert (state.get(LOW), state.get(NEXT)) == (b"a", b"b")
    assert state.update({NEXT: None}).root == leaf(LOW, b"a")


def test_the_root_of_known_contents_never_changes() -> None:
    expected = "c7929c7dfe2ea5e721228fae49c9c63a6380485d9991423ea7dea58ab660988a"
    assert thousand().root.hex() == expected


def test_an_update_leaves_the_older_map_as_it_was() -> None:
    old = thousand()
    root, items = old.root, list(old.items())
    new = old.update({hashed(5): None, hashed(6): b"other", TOP: b"more"})
    assert (old.root, list(old.items()), len(old)) == (root, items, 1000)
    assert (new.get(hashed(5)), new.get(hashed(6)), new.get(TOP)) == (None, b"other", b"more")
    assert len(new) == 1000


def test_changes_that_change_nothing_share_the_whole_map() -> None:
    state = thousand()
    assert state.update({}) is state
    assert state.update({hashed(1): b"value 1"}) is state
    assert state.update({hashed(1): b"value 1", hashed(2): b"value 2", TOP: None, LOW: None}) is state


def test_an_empty_value_is_not_an_absent_one() -> None:
    state = StateMap.empty().update({LOW: b""})
    assert state.get(LOW) == b""
    assert state.root != EMPTY_ROOT
    assert not verify_proof(state.root, LOW, None, state.prove(LOW))


def test_items_come_in_key_order() -> None:
    state = StateMap.empty().update(dict.fromkeys((TOP, HIGH, NEXT, HALF, LOW), b""))
    assert [key for key, _ in state.items()] == [LOW, NEXT, HALF, HIGH, TOP]


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_keys_of_another_length_are_our_own_bug(key: bytes) -> None:
    state = thousand()
    for use in (
        lambda: state.get(key),
        lambda: state.prove(key),
        lambda: state.update({key: b""}),
        lambda: StateMap.from_sorted([(key, b"")]),
    ):
        with pytest.raises(LocalProtocolError):
            use()


def test_bulk_build_refuses_keys_out_of_order_or_repeated() -> None:
    for keys in ((HIGH, LOW), (LOW, LOW)):
        with pytest.raises(LocalProtocolError):
            StateMap.from_sorted([(key, b"") for key in keys])


def cases() -> list[tuple[str, StateMap, bytes, bytes | None]]:
    sparse = StateMap.empty().update({LOW: b"a", NEXT[:30] + b"\x01\x00": b"b"})
    return [
        ("present", thousand(), hashed(7), b"value 7"),
        ("absent, another leaf there", thousand(), b"\x00" + hashed(1000)[1:], None),
        ("absent, nothing there", sparse, HIGH, None),
        ("alone", StateMap.empty().update({TOP: b"x"}), TOP, b"x"),
        ("absent beside a lone leaf", StateMap.empty().update({TOP: b"x"}), LOW, None),
        ("absent in an empty map", StateMap.empty(), LOW, None),
    ]


@pytest.mark.parametrize(
    ("state", "key", "value"), [case[1:] for case in cases()], ids=[c[0] for c in cases()]
)
def test_a_proof_holds_and_no_change_of_one_of_its_bytes_does(
    state: StateMap, key: bytes, value: bytes | None
) -> None:
    raw = encode(state.prove(key))
    assert verify_proof(state.root, key, value, decode(Proof, raw, limit=len(raw)))
    for at in range(len(raw)):
        for flip in range(1, 256):
            changed = bytearray(raw)
            changed[at] ^= flip
            try:
                proof = decode(Proof, bytes(changed), limit=len(raw))
            except Malformed:
                continue
            assert not verify_proof(state.root, key, value, proof), (at, flip)


def test_the_kinds_of_absence_are_all_tried_above() -> None:
    kinds = {
        (value is None, proof.other is None)
        for _, state, key, value in cases()
        for proof in [state.prove(key)]
    }
    assert kinds == {(False, True), (True, True), (True, False)}


def test_a_proof_shows_one_value_of_one_key_under_one_root() -> None:
    state = thousand()
    proof = state.prove(hashed(7))
    assert not verify_proof(state.root, hashed(7), b"value 8", proof)
    assert not verify_proof(state.root, hashed(7), None, proof)
    assert not verify_proof(state.root, hashed(8), b"value 7", proof)
    assert not verify_proof(state.update({TOP: b""}).root, hashed(7), b"value 7", proof)


def test_a_key_is_not_shown_absent_by_its_own_leaf_or_by_one_elsewhere() -> None:
    state = StateMap.empty().update({LOW: b"a", HIGH: b"b"})
    proof = state.prove(LOW)
    own = OtherLeaf(LOW, sha256(b"a").digest())
    assert not verify_proof(state.root, LOW, None, Proof(proof.siblings, own))
    elsewhere = OtherLeaf(HIGH, sha256(b"b").digest())
    assert not verify_proof(state.root, LOW, None, Proof((leaf(LOW, b"a"),), elsewhere))


def test_a_leaf_in_the_wrong_place_shows_nothing_even_under_a_root_that_has_it_there() -> None:
    forged = inner(leaf(HIGH, b"b"), leaf(TOP, b"c"))
    proof = Proof((leaf(TOP, b"c"),), OtherLeaf(HIGH, sha256(b"b").digest()))
    assert not verify_proof(forged, LOW, None, proof)


def test_a_leaf_cut_elsewhere_between_key_and_value_is_not_another_leaf() -> None:
    state, value_hash = StateMap.empty().update({TOP: b"x"}), sha256(b"x").digest()
    for cut in (0, 31, 33, 64):
        joined = TOP + value_hash
        other = OtherLeaf(joined[:cut], joined[cut:])
        assert not verify_proof(state.root, TOP, None, Proof((), other))
        assert not verify_proof(state.root, LOW, None, Proof((), other))


def test_presence_is_shown_without_another_leaf() -> None:
    state = StateMap.empty().update({LOW: b"a", HIGH: b"b"})
    proof = state.prove(LOW)
    other = OtherLeaf(HIGH, sha256(b"b").digest())
    assert not verify_proof(state.root, LOW, b"a", Proof(proof.siblings, other))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_nothing_is_shown_of_a_key_of_another_length(key: bytes) -> None:
    assert verify_proof(EMPTY_ROOT, LOW, None, Proof((), None))
    assert not verify_proof(EMPTY_ROOT, key, None, Proof((), None))


def test_an_empty_sibling_has_one_form() -> None:
    state = StateMap.empty().update({LOW: b"a", HALF: b"b"})
    proof = state.prove(LOW)
    assert proof.siblings[0] == b""
    spelled = Proof((EMPTY_ROOT, *proof.siblings[1:]), None)
    assert verify_proof(state.root, LOW, b"a", proof)
    assert not verify_proof(state.root, LOW, b"a", spelled)


@pytest.mark.parametrize(
    "proof",
    [
        Proof((b"",), None),
        Proof((b"",) * 257, None),
        Proof((b"x",), None),
        Proof((bytes(33),), None),
        Proof((), OtherLeaf(b"", b"")),
        Proof((), OtherLeaf(TOP, bytes(31))),
        Proof((b"",) * 256, OtherLeaf(NEXT, bytes(32))),
    ],
)
def test_misshapen_proofs_are_false_and_never_raise(proof: Proof) -> None:
    for value in (None, b""):
        for root in (EMPTY_ROOT, b"", TOP):
            for key in (LOW, b"", bytes(33)):
                assert not verify_proof(root, key, value, proof)
