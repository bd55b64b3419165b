"""LevelDB under damage: rot, cut logs, full disks, foreign directories. Never wrong bytes or silence."""

import ast
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from node.store import layout, leveldb
from node.store.counted import CountedPrefix
from node.store.leveldb import BLOB_TUNING, LevelDbTuning, open_leveldb
from node.store.log_tail import BLOCK_BYTES, HEADER_BYTES, has_whole_record_cut_off
from node.store.room import LowWater
from protocol.errors import Code, StorageError, UserError

SMALL = LevelDbTuning(write_buffer_bytes=64 * 1024, file_bytes_max=64 * 1024, low_water=LowWater(0))
NETWORK = bytes(32)
PREFIX = b"p/"
ENTRIES = {PREFIX + b"%04d" % number: random.Random(number).randbytes(400) for number in range(200)}
SEED = int(os.environ.get("ROT_SEED", "0")) or random.randrange(2**32)
FAILED = 112
"""With this seed a flip once made LevelDB take a whole record of the newest log for a torn one, and drop it
and all that followed."""
FLIPS = 40
# Within the last data block of a table: rot there ends an iterator early and raises nothing.
LAST_BLOCK = slice(-3_000, -1_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


def fill(path: Path, *, tables: bool) -> None:
    """Writes the counted entries; reopening moves them from the log into tables."""
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    counted = CountedPrefix(store, PREFIX)
    for key, value in ENTRIES.items():
        counted.write([(key, value)])
    store.close()
    if tables:
        open_leveldb(path, tuning=SMALL, network=NETWORK).close()


def flip(file: Path, rng: random.Random, region: slice = slice(None)) -> int:
    """Flips one bit in a region of the file and returns its offset."""
    content = bytearray(file.read_bytes())
    offset = rng.choice(range(len(content))[region])
    content[offset] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return offset


def rotten(
    path: Path, files: list[Path], region: slice = slice(None), *, seed: int = SEED
) -> Iterator[Path]:
    """Copies of the database, each with one flipped bit in one of the files."""
    print(f"seed {seed} (ROT_SEED)")
    rng = random.Random(seed)
    for number in range(FLIPS):
        copy = path.with_name(f"rotten-{number}")
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("ballast"))
        name = rng.choice(files).name
        print(number, name, flip(copy / name, rng, region))
        yield copy
        shutil.rmtree(copy)


def check_nothing_wrong(path: Path) -> tuple[bool, bool]:
    """Whether rot was noticed by an error, and whether an iteration was silently short."""
    try:
        store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    except StorageError as error:
        return error.code is Code.STORE_DAMAGED, False
    noticed = short = False
    for key, value in ENTRIES.items():
        try:
            assert store.get(key) == value
        except StorageError:
            noticed = True
    try:
        found = dict(store.iterate(PREFIX))
        assert found.items() <= ENTRIES.items()
        short = len(found) < len(ENTRIES)
    except StorageError:
        noticed = True
    if short:
        with pytest.raises(StorageError):
            CountedPrefix(store, PREFIX).verify()
    store.close()
    return noticed, short


def test_a_flipped_bit_in_a_table_never_gives_wrong_bytes(path: Path) -> None:
    fill(path, tables=True)
    noticed = [check_nothing_wrong(copy)[0] for copy in rotten(path, sorted(path.glob("*.ldb")))]
    assert sum(noticed) > FLIPS // 2


def test_an_iterator_cut_short_by_rot_is_caught_by_the_counted_prefix(path: Path) -> None:
    fill(path, tables=True)
    short = [
        check_nothing_wrong(copy)[1] for copy in rotten(path, sorted(path.glob("*.ldb"))[-1:], LAST_BLOCK)
    ]
    assert all(short), "the iterator was not short: the test shows nothing"


@pytest.mark.parametrize("seed", [SEED, FAILED], ids=["fresh", "failed"])
def test_a_flipped_bit_in_the_log_never_loses_acknowledged_writes_silently(path: Path, seed: int) -> None:
    fill(path, tables=False)
    # An older log may be there or not: LevelDB deletes it when its table is written.
    logs = [max(path.glob("*.log"))] if seed == FAILED else sorted(path.glob("*.log"))
    for copy in rotten(path, logs, seed=seed):
        noticed, short = check_nothing_wrong(copy)
        assert not short or noticed


def records(log: bytes) -> Iterator[tuple[int, int]]:
    """Where each record of a log of LevelDB begins, and its length without its header."""
    at = 0
    while at + HEADER_BYTES <= len(log):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < HEADER_BYTES:
            at += left
            continue
        length = int.from_bytes(log[at + 4 : at + 6], "little")
        yield at, length
        at += HEADER_BYTES + length


@pytest.mark.parametrize("pattern", ["*.log", "MANIFEST-*"])
def test_no_bit_of_the_length_of_a_record_can_make_it_look_torn(path: Path, pattern: str) -> None:
    fill(path, tables=False)
    file = max(path.glob(pattern), key=lambda one: one.stat().st_size)
    content = file.read_bytes()
    places = [at for at, _ in records(content) if at >= len(content) // BLOCK_BYTES * BLOCK_BYTES]
    for place in dict.fromkeys((places[0], places[len(places) // 2], places[-2], places[-1])):
        for bit in range(16):
            copy = path.with_name("copy")
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns("ballast"))
            spoilt = bytearray(content)
            spoilt[place + 4 + bit // 8] ^= 1 << bit % 8
            (copy / file.name).write_bytes(spoilt)
            assert check_nothing_wrong(copy) == (True, False), (place, bit)
            shutil.rmtree(copy)


def test_a_log_that_was_torn_anywhere_in_its_last_record_is_taken_for_torn(path: Path) -> None:
    fill(path, tables=False)
    log = max(path.glob("*.log"), key=lambda one: one.stat().st_size)
    content = log.read_bytes()
    *_, (last, length) = records(content)
    for end in range(last, last + HEADER_BYTES + length):
        log.write_bytes(content[:end])
        assert not has_whole_record_cut_off(log), end


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_a_flipped_bit_in_the_root_files_is_damage(path: Path, name: str) -> None:
    fill(path, tables=True)
    file = next(file for file in path.iterdir() if file.name.startswith(name))
    flip(file, random.Random(1))
    with pytest.raises(StorageError) as caught:
        open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert caught.value.code is Code.STORE_DAMAGED


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST", ".ldb"])
def test_a_missing_file_is_damage_and_never_an_empty_store(path: Path, name: str) -> None:
    fill(path, tables=True)
    next(file for file in path.iterdir() if name in file.name).unlink()
    with pytest.raises(StorageError) as caught:
        open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert caught.value.code is Code.STORE_DAMAGED


def test_a_cut_log_leaves_an_exact_prefix(path: Path) -> None:
    fill(path, tables=False)
    log = next(file for file in path.iterdir() if file.name.endswith(".log"))
    whole = log.read_bytes()
    for length in range(len(whole) - 1_000, len(whole), 37):
        log.write_bytes(whole[:length])
        copy = path.with_name("cut")
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("ballast"))
        store = open_leveldb(copy, tuning=SMALL, network=NETWORK)
        count = CountedPrefix(store, PREFIX).verify()
        assert list(store.iterate(PREFIX)) == sorted(ENTRIES.items())[:count]
        store.close()
        shutil.rmtree(copy)


def test_a_value_moved_to_another_key_is_caught(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    store.write([(b"a", b"value")])
    store._database.put(b"b", store._database.get(b"a"))
    with pytest.raises(StorageError):
        store.get(b"b")
    with pytest.raises(StorageError):
        list(store.iterate(b"b"))
    store.close()


def test_every_read_of_leveldb_verifies_checksums() -> None:
    tree = ast.parse(Path(leveldb.__file__).read_text())
    reads = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "iterator", "snapshot", "raw_iterator")
        and ast.unparse(node.func.value) != "store"
    ]
    assert len(reads) == 3
    for read in reads:
        assert "verify_checksums=True" in ast.unparse(read)
    assert "repair_db" not in {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_a_second_opener_is_told_that_it_is_locked(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    with pytest.raises(UserError) as caught:
        open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert caught.value.code is Code.LOCKED
    store.write([(b"a", b"still usable")])
    store.close()


def test_a_directory_of_another_network_is_refused(path: Path) -> None:
    open_leveldb(path, tuning=SMALL, network=NETWORK).close()
    with pytest.raises(UserError) as caught:
        open_leveldb(path, tuning=SMALL, network=b"\1" * 32)
    assert caught.value.code is Code.WRONG_NETWORK
    open_leveldb(path, tuning=SMALL, network=NETWORK).close()


@pytest.mark.parametrize(("step", "code"), [(1, Code.STORE_NEWER), (-1, Code.STORE_OLDER)])
def test_a_directory_of_another_version_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int, code: Code
) -> None:
    with monkeypatch.context() as other:
        other.setattr(layout, "SCHEMA", layout.SCHEMA + step)
        open_leveldb(path, tuning=SMALL, network=NETWORK).close()
    with pytest.raises(UserError) as caught:
        open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert caught.value.code is code


def test_a_database_without_its_version_is_damage(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    store.write([(b"a", b"1")])
    store._database.delete(b"\x00schema")
    store.close()
    with pytest.raises(StorageError, match="version is missing"):
        open_leveldb(path, tuning=SMALL, network=NETWORK)


def test_the_version_is_not_an_entry(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert list(store.iterate(b"")) == []
    store.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system refuses to let any file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_after_a_failed_write_nothing_is_acknowledged_until_the_store_is_reopened(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    with file_size_limit(20_000), pytest.raises(StorageError) as caught:  # noqa: PT012
        for acknowledged in range(100):
            store.write([(b"%04d" % acknowledged, bytes(1_000))], sync=True)
    assert acknowledged > 5
    assert caught.value.code is Code.STORE_FAILED
    # There is room again, and LevelDB itself would take this write and lose it.
    with pytest.raises(StorageError):
        store.write([(b"x", b"")], sync=True)
    with pytest.raises(StorageError):
        store.get(b"0000")
    store.close()
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert len(list(store.iterate(b"00"))) in (acknowledged, acknowledged + 1)
    store.close()


def test_the_ballast_gives_way_when_recovery_has_no_room(path: Path) -> None:
    fill(path, tables=False)
    assert (path / "ballast").stat().st_size == 3 * SMALL.write_buffer_bytes
    with file_size_limit(1_000), pytest.raises(StorageError) as caught:
        open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert caught.value.code is Code.STORE_FAILED
    assert not (path / "ballast").exists()
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    assert CountedPrefix(store, PREFIX).verify() == len(ENTRIES)
    assert (path / "ballast").exists()
    store.close()


def test_a_nearly_full_disk_takes_deletes_but_no_writes(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    store.write([(b"a", b"1"), (b"b", b"1")])
    store.close()
    store = open_leveldb(path, tuning=replace(SMALL, low_water=LowWater(2**62)), network=NETWORK)
    with pytest.raises(StorageError) as caught:
        store.write([(b"c", b"1")])
    assert caught.value.code is Code.STORE_FULL
    store.write([], [b"a"], sync=True)
    assert list(store.iterate(b"")) == [(b"b", b"1")]
    store.close()


def test_a_synced_write_is_a_synced_write_of_leveldb(path: Path) -> None:
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    database, asked = store._database, []

    class Recording:
        def write_batch(self, *, sync: bool) -> object:
            asked.append(sync)
            return database.write_batch(sync=sync)

    store._database = Recording()
    store.write([(b"a", b"1")])
    store.write([(b"b", b"1")], sync=True)
    database.close()
    assert asked == [False, True]


def test_the_blob_tuning_is_the_measured_one() -> None:
    assert (BLOB_TUNING.write_buffer_bytes, BLOB_TUNING.file_bytes_max) == (16 << 20, 64 << 20)


WRITER = """
import sys
from pathlib import Path
from node.store.leveldb import LevelDbTuning, open_leveldb
from node.store.room import LowWater
tuning = LevelDbTuning(65536, 65536, low_water=LowWater(0))
store = open_leveldb(Path(sys.argv[1]), tuning=tuning, network=bytes(32))
number = len(list(store.iterate(b"a")))
while True:
    store.write([(b"%s%08d" % (side, number), bytes(3000)) for side in (b"a", b"b")], sync=True)
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_loses_and_tears_nothing_that_was_synced(path: Path) -> None:
    for rounds in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = -1
            for _ in range(40 + 13 * rounds):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        store = open_leveldb(path, tuning=SMALL, network=NETWORK)
        left, right = (len(list(store.iterate(side))) for side in (b"a", b"b"))
        store.close()
        assert left == right
        assert acknowledged + 1 <= left <= acknowledged + 2
