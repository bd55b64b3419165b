"""Counted prefixes: what goes missing, appears or changes behind their back is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.store.counted import CountedPrefix
from node.store.memory import MemoryStore
from protocol.errors import StorageError

P = b"p/"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def counted(store: MemoryStore) -> CountedPrefix:
    counted = CountedPrefix(store, P)
    counted.write([(P + b"%d" % number, b"value") for number in range(5)])
    return counted


def test_an_empty_prefix_verifies(store: MemoryStore) -> None:
    assert CountedPrefix(store, P).verify() == 0


def test_puts_replacements_and_deletes_keep_the_tally(counted: CountedPrefix) -> None:
    counted.write([(P + b"1", b"other"), (P + b"9", b"new")], [P + b"2", P + b"never there"])
    assert counted.verify() == counted.count() == 5


def test_a_tally_goes_into_a_batch_with_other_entries(store: MemoryStore, counted: CountedPrefix) -> None:
    puts = [(P + b"7", b"value")]
    store.write([*puts, (b"other", b"entry"), counted.tally(puts)])
    assert counted.verify() == 6


@pytest.mark.parametrize(
    ("puts", "deletes"),
    [
        ([], [P + b"1"]),
        ([(P + b"8", b"value")], []),
        ([(P + b"1", b"altered")], []),
        ([(P + b"8", b"")], [P + b"1"]),
    ],
    ids=["missing", "added", "altered", "exchanged"],
)
def test_a_change_past_the_tally_is_found(
    store: MemoryStore, counted: CountedPrefix, puts: list[tuple[bytes, bytes]], deletes: list[bytes]
) -> None:
    store.write(puts, deletes)
    with pytest.raises(StorageError):
        counted.verify()


def test_a_lost_tally_is_found(store: MemoryStore, counted: CountedPrefix) -> None:
    key, _ = counted.tally([])
    store.write([], [key])
    with pytest.raises(StorageError):
        counted.verify()


def test_a_failed_write_leaves_the_tally_as_it_was(store: MemoryStore, counted: CountedPrefix) -> None:
    store.write([], sync=True)
    store.fail_at(3)
    with pytest.raises(StorageError):
        counted.write([(P + b"8", b"value")])
    assert CountedPrefix(store.crash(0), P).verify() == 5


def test_a_key_outside_the_prefix_is_refused(counted: CountedPrefix) -> None:
    with pytest.raises(ValueError, match="not under"):
        counted.write([(b"q/1", b"value")])


keys = st.sampled_from([P + b"%d" % number for number in range(6)])
batches = st.lists(
    st.tuples(st.lists(st.tuples(keys, st.binary(max_size=2)), max_size=4), st.lists(keys, max_size=3))
)


@given(batches)
def test_any_history_verifies(batches: list[tuple[list[tuple[bytes, bytes]], list[bytes]]]) -> None:
    store = MemoryStore()
    counted = CountedPrefix(store, P)
    for puts, deletes in batches:
        counted.write(puts, deletes)
        assert counted.verify() == len(list(store.iterate(P)))
