"""The vote file: no torn write, rotten bit or lost file ever brings an older vote back."""

import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from node.ports import VoteFile
from node.store import votefile
from node.store.votefile import FILE_BYTES, SLOT_BYTES, VoteFileOnDisk, create_vote_file, open_vote_file
from protocol.errors import Code, StorageError, UserError

SEED = int(os.environ.get("VOTE_SEED", "0")) or random.randrange(2**32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_vote_file(tmp_path / "votes")
    return tmp_path / "votes"


def saved(path: Path, *records: bytes) -> bytes:
    """The file's content after these saves."""
    votes = open_vote_file(path)
    for record in records:
        votes.save(record)
    votes.close()
    return path.read_bytes()


def loaded(path: Path) -> bytes | None:
    votes = open_vote_file(path)
    port: VoteFile = votes
    record = port.load()
    votes.close()
    return record


def test_a_new_file_holds_no_record_and_is_private(path: Path) -> None:
    assert loaded(path) is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == FILE_BYTES


def test_the_newest_record_is_loaded_after_any_number_of_saves(path: Path) -> None:
    for count in range(1, 6):
        saved(path, b"record %d" % count)
        assert loaded(path) == b"record %d" % count


def test_an_empty_record_is_a_record(path: Path) -> None:
    saved(path, b"")
    assert loaded(path) == b""


def test_a_save_can_come_before_any_load(path: Path) -> None:
    saved(path, b"one", b"two")
    votes = open_vote_file(path)
    votes.save(b"three")
    assert votes.load() == b"three"
    votes.close()


def test_saves_take_turns_between_the_slots(path: Path) -> None:
    contents = [path.read_bytes(), *(saved(path, b"record %d" % count) for count in range(4))]
    first, second = slice(0, SLOT_BYTES), slice(SLOT_BYTES, FILE_BYTES)
    changed = [
        [before[slot] != after[slot] for slot in (first, second)] for before, after in pairwise(contents)
    ]
    assert changed == [[False, True], [True, False]] * 2


def test_a_slot_lost_while_it_was_written_leaves_the_other(path: Path) -> None:
    for garbage in (b"\0", b"\xff"):
        before = saved(path, b"old")
        after = saved(path, b"new")
        slot = 0 if before[:SLOT_BYTES] != after[:SLOT_BYTES] else SLOT_BYTES
        path.write_bytes(after[:slot] + garbage * SLOT_BYTES + after[slot + SLOT_BYTES :])
        assert loaded(path) == b"old"


def test_a_save_is_synced_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def traced(call: Callable[..., int | None], name: str) -> Callable[..., int | None]:
        def run(*arguments: int | bytes) -> int | None:
            calls.append(name)
            return call(*arguments)

        return run

    monkeypatch.setattr(os, "pwrite", traced(os.pwrite, "write"))
    monkeypatch.setattr(os, "fdatasync", traced(os.fdatasync, "sync"))
    saved(path, b"one", b"two")
    assert calls == ["write", "sync"] * 2


def test_a_write_torn_at_any_byte_leaves_the_old_record_or_the_new(path: Path) -> None:
    before = saved(path, b"first" * 20, b"old" * 50)
    after = saved(path, b"new" * 40)
    outcomes = set()
    changed = [index for index in range(FILE_BYTES) if before[index] != after[index]]
    for cut in [*changed, FILE_BYTES]:
        path.write_bytes(after[:cut] + before[cut:])
        outcomes.add(loaded(path))
        path.write_bytes(before[:cut] + after[cut:])
        outcomes.add(loaded(path))
    assert outcomes == {b"old" * 50, b"new" * 40}


def test_a_torn_write_can_be_followed_by_saves(path: Path) -> None:
    before = saved(path, b"one", b"old")
    after = saved(path, b"new")
    cut = next(index for index in range(FILE_BYTES) if before[index] != after[index]) + 10
    path.write_bytes(after[:cut] + before[cut:])
    saved(path, b"next")
    assert loaded(path) == b"next"


def test_no_single_rotten_page_brings_an_older_record_back(path: Path) -> None:
    print(f"seed {SEED} (VOTE_SEED)")
    rng = random.Random(SEED)
    content = saved(path, b"older" * 9, b"acknowledged" * 9)
    for offset in [*range(0, FILE_BYTES, 31), *rng.choices(range(FILE_BYTES), k=300)]:
        rotten = bytearray(content)
        rotten[offset] ^= 1 << rng.randrange(8)
        path.write_bytes(rotten)
        assert loaded(path) == b"acknowledged" * 9


def test_a_flipped_bit_anywhere_in_a_page_is_found() -> None:
    page = votefile._slot(3, b"record")[: votefile.PAGE_BYTES]
    used = votefile._HEADER_BYTES + len(b"record")
    assert votefile._read_page(page) == (3, b"record")
    for bit in range(used * 8):
        rotten = bytearray(page)
        rotten[bit // 8] ^= 1 << bit % 8
        assert votefile._read_page(bytes(rotten)) is None


@pytest.mark.parametrize("content", [b"", bytes(FILE_BYTES), b"\xff" * FILE_BYTES, bytes(100)])
def test_a_damaged_file_does_not_load(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    votes = open_vote_file(path)
    with pytest.raises(StorageError) as caught:
        votes.load()
    assert caught.value.code is Code.STORE_DAMAGED
    with pytest.raises(StorageError):
        votes.save(b"vote")


def test_a_missing_file_does_not_load_and_is_not_made(tmp_path: Path) -> None:
    votes = open_vote_file(tmp_path / "votes")
    for call in (votes.load, lambda: votes.save(b"vote")):
        with pytest.raises(StorageError):
            call()
    assert not (tmp_path / "votes").exists()


def test_a_file_is_never_made_over_another(path: Path) -> None:
    saved(path, b"vote")
    with pytest.raises(UserError) as caught:
        create_vote_file(path)
    assert caught.value.code is Code.ALREADY_INITIALISED
    assert loaded(path) == b"vote"


def test_after_a_failed_sync_nothing_is_saved_or_loaded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = open_vote_file(path)
    votes.save(b"one")

    def failing(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", failing)
        with pytest.raises(StorageError):
            votes.save(b"two")
    for call in (votes.load, lambda: votes.save(b"three")):
        with pytest.raises(StorageError):
            call()
    votes.close()
    assert loaded(path) in (b"one", b"two")


def test_a_record_over_the_limit_is_refused_and_changes_nothing(path: Path) -> None:
    votes = VoteFileOnDisk(path)
    votes.save(b"x" * votefile.RECORD_BYTES_MAX)
    with pytest.raises(StorageError):
        votes.save(b"y" * (votefile.RECORD_BYTES_MAX + 1))
    assert votes.load() == b"x" * votefile.RECORD_BYTES_MAX
    votes.close()
