"""The memory store's disk model: what a crash may lose, and what a failing call does."""

import pytest

from node.store.memory import MemoryStore, MemoryVoteFile
from protocol.errors import StorageError


class FixedEntropy:
    """Answers `below` with one number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def below(self, bound: int) -> int:
        assert 0 <= self.number < bound
        return self.number


def written(*, sync_at: int) -> MemoryStore:
    """Four batches, each replacing `last` and adding a key; the one at `sync_at` is synced."""
    store = MemoryStore()
    for number in range(4):
        value = b"%d" % number
        store.write([(b"last", value), (b"n" + value, value)], [b"gone"], sync=number == sync_at)
    return store


@pytest.mark.parametrize("keep", range(3))
def test_a_crash_keeps_all_synced_batches_and_a_prefix_of_the_others(keep: int) -> None:
    store = written(sync_at=1).crash(keep)
    expected = written(sync_at=3)
    for number in range(keep + 2, 4):
        expected.write([(b"last", b"%d" % (keep + 1))], [b"n%d" % number])
    assert list(store.iterate(b"")) == list(expected.iterate(b""))


def test_a_crash_lets_chance_choose_the_prefix() -> None:
    assert written(sync_at=1).crash(FixedEntropy(0)).get(b"last") == b"1"
    assert written(sync_at=1).crash(FixedEntropy(2)).get(b"last") == b"3"


def test_a_lost_delete_brings_the_entry_back() -> None:
    store = MemoryStore()
    store.write([(b"a", b"1")], sync=True)
    store.write([], [b"a"])
    store.write([(b"a", b"2")])
    assert store.crash(0).get(b"a") == b"1"


def test_a_killed_process_loses_nothing() -> None:
    store = written(sync_at=0)
    assert store.crash(store.unsynced).get(b"last") == b"3"


def test_the_handle_of_before_a_crash_is_dead() -> None:
    store = written(sync_at=0)
    store.crash(0)
    with pytest.raises(StorageError):
        store.write([(b"zombie", b"")])


def test_the_chosen_call_fails_and_so_does_every_later_one() -> None:
    store = written(sync_at=0)
    store.fail_at(2)
    assert store.get(b"last") == b"3"
    for call in (lambda: store.get(b"last"), lambda: store.iterate(b""), lambda: store.write([])):
        with pytest.raises(StorageError):
            call()


@pytest.mark.parametrize(("keep", "after"), [(0, b"3"), (1, b"failed")])
def test_a_failed_write_may_have_landed_or_not(keep: int, after: bytes) -> None:
    store = written(sync_at=3)
    store.fail_at(1)
    with pytest.raises(StorageError):
        store.write([(b"last", b"failed")], sync=True)
    assert store.crash(keep).get(b"last") == after


def test_a_vote_file_remembers_across_a_crash() -> None:
    votes = MemoryVoteFile()
    assert votes.load() is None
    votes.save(b"one")
    assert votes.crash(0).load() == b"one"


@pytest.mark.parametrize(("keep", "after"), [(0, b"one"), (1, b"two")])
def test_a_failed_vote_save_may_have_landed_and_ends_the_handle(keep: int, after: bytes) -> None:
    votes = MemoryVoteFile()
    votes.fail_at(2)
    votes.save(b"one")
    for record in (b"two", b"three"):
        with pytest.raises(StorageError):
            votes.save(record)
    assert votes.crash(keep).load() == after


def test_a_lost_vote_file_does_not_load() -> None:
    with pytest.raises(StorageError):
        MemoryVoteFile(lost=True).load()
