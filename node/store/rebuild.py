"""A damaged database that the other clinics can give again is set aside, and a new one begins.

Nothing is repaired: LevelDB's repair brings altered values back as valid. What only this node knew is
copied, entry by entry, as far as each still passes its own check; all else is fetched again. A database
is condemned by a file in its directory as soon as one read of it fails its check, so that the restart
after it knows.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from node.ports import Put, Store
from node.store import layout
from node.store.counted import CountedPrefix
from node.store.durable import sync_directory
from node.store.leveldb import LevelDbStore, LevelDbTuning, open_leveldb
from node.store.room import release_ballast
from protocol.errors import ChartmeshError, Code, StorageError

SET_ASIDE_MAX: Final = 2  # of each database: the newest are kept
LOCAL_PREFIXES: Final = (
    layout.DENIED,
    layout.PENDING,
    layout.SIGNED,
    layout.ISSUED,
    layout.ISSUED_KEY,
    layout.ASKED,
    layout.ASKED_KEY,
    layout.LOCAL_NAME,
    layout.PATIENT,
)
"""What no other clinic has, in the ledger database."""

_COUNTED_PREFIXES: Final = (layout.DENIED,)
_CONDEMNED: Final = "CONDEMNED"
_log = logging.getLogger(__name__)

Open = Callable[[Path], LevelDbStore]


def condemn(path: Path) -> None:
    """Has the next start set the database at `path` aside."""
    (path / _CONDEMNED).touch()


def is_condemned(path: Path) -> bool:
    return (path / _CONDEMNED).exists()


def set_aside(path: Path) -> list[Path]:
    """The damaged databases that once were at `path`, the oldest first."""
    name = f"{path.name}.damaged-"
    found = [one for one in path.parent.glob(f"{name}*") if one.name.removeprefix(name).isdigit()]
    return sorted(found, key=lambda one: int(one.name.removeprefix(name)))


def open_rebuildable(path: Path, *, tuning: LevelDbTuning, network: bytes) -> LevelDbStore:
    """Opens the database at `path`, or a new one in its place where that is damaged.

    Raises:
        StorageError: the disk failed or is full; nothing was set aside.
        UserError: as `open_leveldb`.
    """

    def opened(at: Path) -> LevelDbStore:
        return open_leveldb(at, tuning=tuning, network=network, on_damage=condemn)

    fresh = path.with_name(f"{path.name}.new")
    if fresh.exists() and not path.exists():
        fresh.rename(path)  # a crash came between the two renames below
    if not is_condemned(path):
        try:
            return opened(path)
        except StorageError as error:
            if error.code is not Code.STORE_DAMAGED:
                raise
    shutil.rmtree(fresh, ignore_errors=True)
    count = _begin(fresh, path, opened)
    aside = quarantine(path)
    fresh.rename(path)
    sync_directory(path.parent)
    _log.error(
        "database %s is damaged: it was moved to %s, %d entries of its own were saved, "
        "and the rest is fetched again",
        path,
        aside,
        count,
    )
    return opened(path)


def quarantine(path: Path) -> Path:
    """Moves a damaged database aside and returns where to; of earlier ones the oldest go."""
    earlier = set_aside(path)
    number = int(earlier[-1].name.rpartition("-")[2]) + 1 if earlier else 1
    aside = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(aside)
    release_ballast(aside)
    for one in earlier[: len(earlier) + 1 - SET_ASIDE_MAX]:
        shutil.rmtree(one)
    return aside


def _begin(fresh: Path, damaged: Path, opened: Open) -> int:
    """Makes a new database with what can be saved of the damaged one, all or nothing; how many entries."""
    with_entries: list[Put] = []
    try:
        source = opened(damaged)
    except ChartmeshError as error:
        _log.error("nothing could be saved of %s: %s", damaged, error.message)
    else:
        with_entries = [put for prefix in LOCAL_PREFIXES for put in _whole(source, prefix)]
        source.close()
    store = opened(fresh)
    try:
        tallies = []
        for prefix in _COUNTED_PREFIXES:
            counted = [put for put in with_entries if put[0].startswith(prefix)]
            tallies.append(CountedPrefix(store, prefix).tally(counted))
        store.write([*with_entries, *tallies], sync=True)
    finally:
        store.close()
    return len(with_entries)


def _whole(source: Store, prefix: bytes) -> Iterator[Put]:
    """The entries under `prefix` up to the first that is damaged."""
    try:
        yield from source.iterate(prefix)
    except StorageError as error:
        _log.error("entries under %s are lost: %s", prefix.decode(), error.message)
