"""Compaction of a database: what was deleted is given back to the disk, and nothing else is lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.store.counted import CountedPrefix
from node.store.leveldb import open_leveldb
from node.store.room import LowWater
from protocol.errors import Code, StorageError
from tests.unit.test_leveldb import ENTRIES, NETWORK, PREFIX, SMALL, fill


def test_what_was_deleted_is_given_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "db"
    fill(path, tables=True)
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    kept, *gone = ENTRIES
    store.write([], gone, sync=True)
    before = store.disk_bytes()
    store.compact()
    assert store.disk_bytes() < before - sum(map(len, ENTRIES.values())) / 2
    assert store.get(kept) == ENTRIES[kept]
    assert store.get(gone[0]) is None
    store.close()
    with pytest.raises(StorageError):
        store.compact()


def test_without_the_room_for_it_nothing_is_compacted(tmp_path: Path) -> None:
    path = tmp_path / "db"
    fill(path, tables=True)
    tuning = replace(SMALL, low_water=LowWater(2**62))
    store = open_leveldb(path, tuning=tuning, network=NETWORK)
    with pytest.raises(StorageError) as caught:
        store.compact()
    assert caught.value.code is Code.STORE_FULL
    assert CountedPrefix(store, PREFIX).verify() == len(ENTRIES)
    store.close()
