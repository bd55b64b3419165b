"""What every Store must do, over the one in memory and the one on disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.ports import Store
from node.store.leveldb import LevelDbTuning, open_leveldb
from node.store.memory import MemoryStore
from node.store.room import LowWater
from protocol.errors import StorageError

SMALL = LevelDbTuning(write_buffer_bytes=64 * 1024, file_bytes_max=64 * 1024, low_water=LowWater(0))
NETWORK = bytes(32)

Reopen = Callable[[], Store]


@pytest.fixture(params=["memory", "leveldb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store, after closing it where it was open."""
    opened: list[Store] = []

    def open_again() -> Store:
        if request.param == "memory":
            last = opened[-1] if opened else MemoryStore()
            assert isinstance(last, MemoryStore)
            opened.append(last.crash(last.unsynced))
        else:
            for store in opened:
                store.close()
            opened.append(open_leveldb(tmp_path / "db", tuning=SMALL, network=NETWORK))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Reopen) -> Store:
    return reopen()


def test_a_missing_key_is_none(store: Store) -> None:
    assert store.get(b"a") is None


def test_what_was_put_is_read_back(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"")])
    assert (store.get(b"a"), store.get(b"b")) == (b"1", b"")


def test_a_put_replaces_and_a_delete_removes(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")])
    store.write([(b"a", b"2")], [b"b", b"never there"])
    assert list(store.iterate(b"")) == [(b"a", b"2")]


def test_a_key_both_put_and_deleted_is_gone(store: Store) -> None:
    store.write([(b"a", b"1")], [b"a"])
    assert store.get(b"a") is None


def test_a_batch_whose_entries_cannot_be_listed_changes_nothing(store: Store) -> None:
    def failing() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise LookupError

    with pytest.raises(LookupError):
        store.write(failing())
    assert store.get(b"a") is None
    store.write([(b"b", b"1")])


def test_iteration_is_in_key_order_and_stays_under_its_prefix(store: Store) -> None:
    keys = [b"a", b"p", b"p\x00", b"p/1", b"p\xff", b"p\xff\xff", b"q", b"\xff", b"\xff\xff"]
    store.write([(key, key) for key in reversed(keys)])
    assert [key for key, _ in store.iterate(b"p")] == [b"p", b"p\x00", b"p/1", b"p\xff", b"p\xff\xff"]
    assert [key for key, _ in store.iterate(b"\xff")] == [b"\xff", b"\xff\xff"]
    assert [key for key, _ in store.iterate(b"")] == sorted(keys)


def test_iteration_starts_at_the_given_key_and_never_before_the_prefix(store: Store) -> None:
    store.write([(b"a", b""), (b"p1", b""), (b"p3", b"")])
    assert [key for key, _ in store.iterate(b"p", start=b"p2")] == [b"p3"]
    assert [key for key, _ in store.iterate(b"p", start=b"a")] == [b"p1", b"p3"]
    assert list(store.iterate(b"p", start=b"z")) == []


def test_iteration_sees_the_entries_as_they_were_at_the_call(store: Store) -> None:
    store.write([(b"p1", b"old"), (b"p2", b"old")])
    entries = store.iterate(b"p")
    store.write([(b"p1", b"new"), (b"p3", b"new")], [b"p2"])
    assert list(entries) == [(b"p1", b"old"), (b"p2", b"old")]


def test_an_iteration_may_be_left_early(store: Store) -> None:
    store.write([(b"p1", b""), (b"p2", b"")])
    assert next(store.iterate(b"p")) == (b"p1", b"")
    store.close()


def test_a_closed_store_refuses_everything(store: Store) -> None:
    store.close()
    for call in (lambda: store.get(b"a"), lambda: store.write([]), lambda: store.iterate(b"")):
        with pytest.raises(StorageError):
            call()


def test_closing_twice_is_closing(store: Store) -> None:
    store.close()
    store.close()


def test_a_reopened_store_holds_what_was_written(reopen: Reopen) -> None:
    reopen().write([(b"a", b"1")])
    reopen().write([(b"b", b"2")], sync=True)
    assert list(reopen().iterate(b"")) == [(b"a", b"1"), (b"b", b"2")]


def test_disk_use_grows_with_the_entries(store: Store) -> None:
    before = store.disk_bytes()
    store.write([(b"a", bytes(200_000))], sync=True)
    assert store.disk_bytes() >= before + 200_000


Batch = tuple[list[tuple[bytes, bytes]], list[bytes]]
keys = st.binary(min_size=1, max_size=3)
batches = st.lists(
    st.tuples(st.lists(st.tuples(keys, st.binary(max_size=4)), max_size=4), st.lists(keys, max_size=3))
)


@settings(max_examples=50, deadline=None)
@given(batches=batches, prefix=st.binary(max_size=2), start=st.binary(max_size=2))
def test_both_stores_agree_on_any_history(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], prefix: bytes, start: bytes
) -> None:
    disk = open_leveldb(tmp_path_factory.mktemp("db"), tuning=SMALL, network=NETWORK)
    memory = MemoryStore()
    for puts, deletes in batches:
        disk.write(puts, deletes)
        memory.write(puts, deletes)
    assert list(disk.iterate(prefix, start=start)) == list(memory.iterate(prefix, start=start))
    assert all(disk.get(key) == memory.get(key) for puts, deletes in batches for key, _ in puts)
    disk.close()
