"""Excerpts of a state map: several keys under one root, each hash once, and no byte of another value."""

import random
from hashlib import sha256

import pytest
from msgspec.structs import replace

from protocol.codec import decode, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.excerpt import Excerpt, Place, take_excerpt, verify_excerpt
from protocol.limits import MIB
from protocol.statemap import EMPTY_ROOT, OtherLeaf, StateMap
from tests.unit.test_statemap import HALF, HIGH, LOW, NEXT, TOP, hashed, thousand

FULL = thousand()


def shown(entries: StateMap, keys: list[bytes]) -> dict[bytes, bytes | None]:
    return verify_excerpt(entries.root, keys, take_excerpt(entries, keys))


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64])
def test_entries_are_shown_whichever_and_however_many(count: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    keys = [hashed(number) for number in random.Random(seed).sample(range(2000), count)]
    assert shown(FULL, keys) == {key: FULL.get(key) for key in keys}


def test_two_paths_cost_fewer_hashes_than_two_proofs() -> None:
    one, two = hashed(1), hashed(2)
    alone = sum(len(FULL.prove(key).siblings) for key in (one, two))
    together = take_excerpt(FULL, [one, two])
    assert len(together.siblings) // 32 <= alone - 2


def test_small_and_deep_maps_are_shown_too() -> None:
    assert shown(StateMap.empty(), [LOW, TOP]) == {LOW: None, TOP: None}
    lone = StateMap.empty().update({LOW: b"a"})
    assert shown(lone, [LOW, NEXT, TOP]) == {LOW: b"a", NEXT: None, TOP: None}
    deep = StateMap.empty().update({LOW: b"a", NEXT: b"b"})
    assert shown(deep, [LOW, NEXT]) == {LOW: b"a", NEXT: b"b"}
    assert shown(deep, [HALF, HIGH, NEXT]) == {HALF: None, HIGH: None, NEXT: b"b"}


def test_every_other_byte_is_refused() -> None:
    keys = [hashed(1), hashed(2), hashed(5000)]
    raw = encode(take_excerpt(FULL, keys))
    for at in range(len(raw)):
        for change in (0x01, 0x80, 0xFF):
            bad = raw[:at] + bytes((raw[at] ^ change,)) + raw[at + 1 :]
            with pytest.raises(RemoteProtocolError):
                verify_excerpt(FULL.root, keys, decode(Excerpt, bad, limit=MIB))


def test_an_excerpt_is_of_its_keys_and_of_no_others() -> None:
    keys = [hashed(1), hashed(2)]
    excerpt = take_excerpt(FULL, keys)
    for others in ([], keys[:1], [*keys, hashed(3)], [hashed(1), hashed(3)], [b"short", hashed(1)]):
        with pytest.raises(RemoteProtocolError):
            verify_excerpt(FULL.root, others, excerpt)
    for spoiled in (
        replace(excerpt, siblings=excerpt.siblings + EMPTY_ROOT),
        replace(excerpt, siblings=excerpt.siblings[:-32]),
        replace(excerpt, places=excerpt.places[::-1]),
        replace(excerpt, places=tuple(replace(place, depth=0) for place in excerpt.places)),
        replace(excerpt, places=tuple(replace(place, depth=300) for place in excerpt.places)),
    ):
        with pytest.raises(RemoteProtocolError):
            verify_excerpt(FULL.root, keys, spoiled)


def test_absence_is_not_shown_by_a_leaf_of_another_path() -> None:
    full = StateMap.empty().update({LOW: b"a", HIGH: b"b"})
    beside = OtherLeaf(HIGH, sha256(b"b").digest())
    low = full.prove(HIGH).siblings[0]
    with pytest.raises(RemoteProtocolError, match="path"):
        verify_excerpt(full.root, [LOW], Excerpt((Place(1, None, beside),), low))
    itself = OtherLeaf(LOW, sha256(b"a").digest())
    high = full.prove(LOW).siblings[0]
    with pytest.raises(RemoteProtocolError, match="path"):
        verify_excerpt(full.root, [LOW], Excerpt((Place(1, None, itself),), high))
    with pytest.raises(RemoteProtocolError, match="in its place"):
        verify_excerpt(full.root, [LOW], Excerpt((Place(1, b"a", itself),), high))


def test_only_keys_of_the_map_can_be_taken() -> None:
    with pytest.raises(LocalProtocolError):
        take_excerpt(FULL, [b"short"])
