"""A damaged database goes aside, a new one begins with what only this node knew, and nobody is asked."""

import random
from pathlib import Path

import pytest

from node.store import layout
from node.store.counted import CountedPrefix
from node.store.leveldb import LevelDbStore, LevelDbTuning
from node.store.rebuild import LOCAL_PREFIXES, SET_ASIDE_MAX, condemn, open_rebuildable, set_aside
from node.store.room import LowWater
from protocol.errors import Code, StorageError, UserError
from tests.unit.test_leveldb import file_size_limit, flip

SMALL = LevelDbTuning(write_buffer_bytes=64 * 1024, file_bytes_max=64 * 1024, low_water=LowWater(0))
NETWORK = bytes(32)
LOCAL = {prefix + b"%02d" % number: b"kept" for prefix in LOCAL_PREFIXES for number in range(3)}
FETCHED = {layout.BLOCK + b"%04d" % number: random.Random(number).randbytes(900) for number in range(100)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def opened(path: Path) -> LevelDbStore:
    return open_rebuildable(path, tuning=SMALL, network=NETWORK)


def fill(path: Path) -> None:
    """Reopening moves all from the log into tables."""
    store = opened(path)
    store.write(FETCHED.items())
    denied = {key: value for key, value in LOCAL.items() if key.startswith(layout.DENIED)}
    CountedPrefix(store, layout.DENIED).write(denied.items())
    store.write([put for put in LOCAL.items() if put[0] not in denied])
    store.close()
    opened(path).close()


def entries(store: LevelDbStore) -> dict[bytes, bytes]:
    return dict(store.iterate(b""))


def counted_key() -> bytes:
    return layout.counted(layout.DENIED)


def test_a_whole_database_is_opened_as_it_is(path: Path) -> None:
    fill(path)
    store = opened(path)
    assert entries(store).items() >= {**FETCHED, **LOCAL}.items()
    store.close()
    assert set_aside(path) == []


def test_a_condemned_one_goes_aside_and_what_only_this_node_knew_is_saved(path: Path) -> None:
    fill(path)
    condemn(path)
    store = opened(path)
    assert {key: value for key, value in entries(store).items() if key != counted_key()} == LOCAL
    assert CountedPrefix(store, layout.DENIED).verify() == 3
    store.close()
    assert set_aside(path) == [path.with_name("ledger.damaged-1")]
    assert not (set_aside(path)[0] / "ballast").exists()
    opened(path).close()
    assert len(set_aside(path)) == 1


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_one_that_does_not_open_goes_aside_and_nothing_is_saved(path: Path, name: str) -> None:
    fill(path)
    flip(next(file for file in path.iterdir() if file.name.startswith(name)), random.Random(1))
    store = opened(path)
    assert entries(store).keys() <= {counted_key()}
    store.close()
    assert len(set_aside(path)) == 1


def test_a_read_that_fails_its_check_condemns_the_database(path: Path) -> None:
    fill(path)
    # The tables of the blocks come first in key order.
    flip(min(path.glob("*.ldb")), random.Random(1), slice(5_000, 20_000))
    store = opened(path)
    with pytest.raises(StorageError):
        list(map(store.get, FETCHED))
    store.close()
    assert set_aside(path) == []
    store = opened(path)
    assert len(set_aside(path)) == 1
    saved = entries(store)
    assert saved.keys() <= {*LOCAL, counted_key()}
    assert saved.keys() >= {key for key in LOCAL if key.startswith(layout.ISSUED)}
    store.close()


@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_on_the_way_loses_nothing_that_could_be_saved(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    fill(path)
    condemn(path)
    rename, count = Path.rename, [0]

    def crash(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == step:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    store = opened(path)
    assert entries(store).items() >= LOCAL.items()
    assert not entries(store).keys() & FETCHED.keys()
    store.close()
    assert len(set_aside(path)) == 1


def test_only_the_newest_are_kept(path: Path) -> None:
    for _ in range(SET_ASIDE_MAX + 2):
        opened(path).close()
        condemn(path)
    opened(path).close()
    assert [one.name for one in set_aside(path)] == ["ledger.damaged-3", "ledger.damaged-4"]


def test_a_full_disk_or_another_network_sets_nothing_aside(path: Path) -> None:
    fill(path)
    (path / "ballast").unlink()
    with file_size_limit(10), pytest.raises(StorageError) as full:
        opened(path)
    assert full.value.code is Code.STORE_FAILED
    with pytest.raises(UserError):
        open_rebuildable(path, tuning=SMALL, network=b"\1" * 32)
    assert set_aside(path) == []
    store = opened(path)
    assert entries(store).items() >= {**FETCHED, **LOCAL}.items()
    store.close()
