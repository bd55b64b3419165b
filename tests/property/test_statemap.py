"""The state map against a dictionary and against the definition of its root, over random histories."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from protocol.statemap import EMPTY_ROOT, OtherLeaf, Proof, StateMap, verify_proof

# Few keys, so that histories meet again, and among them neighbours that share up to 255 bits.
_HASHED = [sha256(bytes((number,))).digest() for number in range(24)]
_CLOSE = [
    (int.from_bytes(_HASHED[0], "big") ^ 1 << bit).to_bytes(32, "big")
    for bit in (0, 1, 2, 7, 8, 100, 247, 254)
]
KEYS = st.sampled_from([*_HASHED, *_CLOSE, bytes(32), b"\xff" * 32])
VALUES = st.sampled_from([b"", b"a", b"bb", bytes(80)])
CHANGES = st.dictionaries(KEYS, st.none() | VALUES, max_size=12)
HISTORY = st.lists(CHANGES, max_size=12)


def defined_root(items: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The root as the module's first lines define it."""
    if not items:
        return EMPTY_ROOT
    if len(items) == 1:
        ((key, value),) = items.items()
        return sha256(b"\x00" + key + sha256(value).digest()).digest()
    sides: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for key, value in items.items():
        sides[key[depth // 8] >> 7 - depth % 8 & 1][key] = value
    left, right = (defined_root(side, depth + 1) for side in sides)
    return sha256(b"\x01" + left + right).digest()


@given(HISTORY)
def test_any_history_ends_in_the_map_of_its_contents(history: list[dict[bytes, bytes | None]]) -> None:
    state, model = StateMap.empty(), dict[bytes, bytes]()
    for changes in history:
        state = state.update(changes)
        for key, value in changes.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert state.root == defined_root(model)
        assert len(state) == len(model)
    assert list(state.items()) == sorted(model.items())
    assert StateMap.from_sorted(sorted(model.items())).root == state.root
    assert all(state.get(key) == model.get(key) for key in [*_HASHED, *_CLOSE])


@given(CHANGES, st.permutations(range(12)))
def test_changes_one_by_one_in_any_order_are_the_changes_at_once(
    changes: dict[bytes, bytes | None], order: list[int]
) -> None:
    start = StateMap.empty().update(dict.fromkeys(_HASHED[::3] + _CLOSE[::3], b"before"))
    single, singles = start, list(changes.items())
    for number in order:
        if number < len(singles):
            key, value = singles[number]
            single = single.update({key: value})
    assert single.root == start.update(changes).root
    assert len(single) == len(start.update(changes))


@given(CHANGES, KEYS, st.none() | VALUES)
def test_a_proof_is_accepted_exactly_for_what_the_map_holds(
    changes: dict[bytes, bytes | None], key: bytes, claim: bytes | None
) -> None:
    state = StateMap.empty().update(changes)
    proof = state.prove(key)
    assert verify_proof(state.root, key, state.get(key), proof)
    assert verify_proof(state.root, key, claim, proof) == (claim == state.get(key))


@given(CHANGES, KEYS, KEYS, st.none() | VALUES)
def test_the_proof_of_one_key_says_nothing_false_of_another(
    changes: dict[bytes, bytes | None], key: bytes, other: bytes, claim: bytes | None
) -> None:
    state = StateMap.empty().update(changes)
    if verify_proof(state.root, other, claim, state.prove(key)):
        assert state.get(other) == claim


@given(
    st.binary(max_size=33),
    st.binary(max_size=33),
    st.none() | VALUES,
    st.lists(st.binary(max_size=33), max_size=260),
    st.none() | st.builds(OtherLeaf, st.binary(max_size=33), st.binary(max_size=33)),
)
def test_nothing_made_up_verifies_or_raises(
    root: bytes, key: bytes, value: bytes | None, siblings: list[bytes], other: OtherLeaf | None
) -> None:
    truth = value is None and not siblings and other is None and root == EMPTY_ROOT and len(key) == 32
    assert verify_proof(root, key, value, Proof(tuple(siblings), other)) == truth
