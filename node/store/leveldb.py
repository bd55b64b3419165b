"""The Store on disk: LevelDB through plyvel, under rules learnt from breaking it.

LevelDB is atomic and ordered and survives kills, but not bit rot or a full disk. So every read
verifies LevelDB's checksums and a hash of our own that each value carries, the first failed write
makes the handle refuse everything (LevelDB would go on to acknowledge writes and lose them), writes
stop while there is still room to recover in, and a damaged database is set aside and rebuilt from
peers, never repaired (LevelDB's repair brings altered values back as valid). What this cannot catch
is an iterator that ends early without an error: `node.store.counted` and the state root do.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import plyvel

from node.ports import Put
from node.store import layout
from node.store.counted import REBUILD
from node.store.durable import DIRECTORY_MODE
from node.store.log_tail import has_whole_record_cut_off
from node.store.room import (
    BULK_LOW_WATER,
    VITAL_LOW_WATER,
    LowWater,
    check_room,
    keep_ballast,
    release_ballast,
    space,
)
from protocol.errors import Code, StorageError, UserError
from protocol.limits import KIB, MIB

CHECK_BYTES: Final = 8

_SCHEMA_KEY: Final = b"\x00schema"
_NETWORK_KEY: Final = b"\x00network"
_MARKERS: Final = (_SCHEMA_KEY, _NETWORK_KEY)
_REOPEN: Final = "free disk space or check the disk, then restart the daemon"

OnDamage = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class LevelDbTuning:
    """How a database spends memory and disk, all in bytes. LevelDB holds up to two write buffers."""

    write_buffer_bytes: int
    file_bytes_max: int
    cache_bytes: int = 8 * MIB
    low_water: LowWater = BULK_LOW_WATER
    open_files_max: int = 256


def blob_tuning(write_buffer_bytes: int) -> LevelDbTuning:
    """For 256 KiB chunks: tables four times the write buffer, as measured fastest for their memory."""
    return LevelDbTuning(write_buffer_bytes, 4 * write_buffer_bytes)


LEDGER_TUNING: Final = LevelDbTuning(
    write_buffer_bytes=4 * MIB, file_bytes_max=4 * MIB, low_water=VITAL_LOW_WATER
)
BLOB_TUNING: Final = blob_tuning(16 * MIB)


class LevelDbStore:
    """A `ports.Store` over one LevelDB directory. Thread-safe; one task writes."""

    def __init__(
        self, database: plyvel.DB, path: Path, tuning: LevelDbTuning, remedy: str, on_damage: OnDamage
    ) -> None:
        self._database = database
        self._remedy, self._on_damage = remedy, on_damage
        self._path = path
        self._tuning = tuning
        self._refusal = ""

    def get(self, key: bytes) -> bytes | None:
        database = self._usable()
        try:
            value = database.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise self._unreadable(error) from error
        return None if value is None else self._open_value(key, value)

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        """Puts, then deletes, all or nothing. Raises StorageError with Code.STORE_FULL, and stays
        usable, where nothing was written because the disk is nearly full."""
        batch = self._usable().write_batch(sync=sync)
        grows = False
        for key, value in puts:
            batch.put(key, _check(key, value) + value)
            grows = True
        for key in deletes:
            batch.delete(key)
        if grows:
            check_room(self._path, self._tuning.low_water)
        try:
            batch.write()
        except BaseException as error:
            self._refusal = f"an earlier write to {self._path} failed"
            if isinstance(error, plyvel.Error):
                raise _failed(f"writing to {self._path} failed: {_text(error)}") from error
            raise

    def iterate(self, prefix: bytes, *, start: bytes = b"") -> Iterator[Put]:
        """The entries as they were at the call, whatever is written meanwhile."""
        database = self._usable()
        try:
            entries = database.iterator(
                start=max(prefix, start),
                stop=layout.after(prefix),
                verify_checksums=True,
                fill_cache=False,
            )
        except (plyvel.Error, RuntimeError) as error:
            raise self._unreadable(error) from error
        return self._checked(entries)

    def disk_bytes(self) -> int:
        total = 0
        for entry in self._path.iterdir():
            # Compaction removes tables while we look.
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def compact(self) -> None:
        """Raises StorageError with Code.STORE_FULL where there may be no room to do it in."""
        database = self._usable()
        reserve = space(self._path, self._tuning.low_water)[1]
        check_room(self._path, LowWater(reserve + self.disk_bytes()))
        # Without both ends the library compacts nothing.
        database.compact_range(start=b"\0", stop=b"\xff" * 64)

    def close(self) -> None:
        self._refusal = f"{self._path} is closed"
        self._database.close()

    def _usable(self) -> plyvel.DB:
        if self._refusal:
            raise _failed(self._refusal)
        return self._database

    def _open_value(self, key: bytes, stored: bytes) -> bytes:
        value = stored[CHECK_BYTES:]
        if stored[:CHECK_BYTES] != _check(key, value):
            raise self._damaged(f"database {self._path} is damaged: a value fails its checksum")
        return value

    def _unreadable(self, error: Exception) -> StorageError:
        message = f"reading from {self._path} failed: {_text(error)}"
        return self._damaged(message) if isinstance(error, plyvel.CorruptionError) else _failed(message)

    def _damaged(self, message: str) -> StorageError:
        self._on_damage(self._path)
        return StorageError(message, self._remedy)

    def _checked(self, entries: Any) -> Iterator[Put]:
        try:
            for key, value in entries:
                if key not in _MARKERS:
                    yield key, self._open_value(key, value)
        except (plyvel.Error, RuntimeError) as error:
            raise self._unreadable(error) from error
        finally:
            entries.close()


def open_leveldb(
    path: Path,
    *,
    tuning: LevelDbTuning,
    network: bytes,
    remedy: str = REBUILD,
    on_damage: OnDamage = lambda path: None,
) -> LevelDbStore:
    """Opens the database at `path`, creating an empty one where there is none. `remedy` is what people
    are told to do where it is damaged; `on_damage` is called when a read finds that out.

    Raises:
        StorageError: damaged (Code.STORE_DAMAGED: quarantine it and resync), or the disk failed
            (Code.STORE_FAILED, Code.STORE_FULL: the database may be whole).
        UserError: open elsewhere (Code.LOCKED), of another network (Code.WRONG_NETWORK), or written
            by another version (Code.STORE_NEWER, Code.STORE_OLDER).
    """
    _prepare(path, remedy)
    database = _open(path, tuning, remedy)
    try:
        _check_markers(path, database, network, remedy)
        keep_ballast(path, tuning.write_buffer_bytes, tuning.low_water)
    except BaseException:
        database.close()
        raise
    return LevelDbStore(database, path, tuning, remedy, on_damage)


def _prepare(path: Path, remedy: str) -> None:
    """Makes the directory, and refuses what LevelDB would open with less in it: one whose CURRENT file is
    gone, or whose log has a whole record that looks like a torn one."""
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        names = os.listdir(path)
        logs = [name for name in names if name.endswith(".log") or name.startswith("MANIFEST-")]
        spoilt = [name for name in logs if has_whole_record_cut_off(path / name)]
    except OSError as error:
        raise StorageError(
            f"cannot use {path}: {error.strerror}", "check the path and its owner"
        ) from error
    if "CURRENT" not in names and any(name.endswith((".ldb", ".sst", ".log")) for name in names):
        raise StorageError(f"database {path} is damaged: its CURRENT file is missing", remedy)
    if spoilt:
        raise StorageError(
            f"database {path} is damaged: {spoilt[0]} has a record of a wrong length", remedy
        )


def _open(path: Path, tuning: LevelDbTuning, remedy: str) -> plyvel.DB:
    try:
        return _open_once(path, tuning, remedy)
    except plyvel.IOError as error:
        if _text(error).startswith("IO error: lock "):
            raise UserError(
                f"database {path} is open in another process",
                "stop the other daemon, or give this one its own data directory",
                code=Code.LOCKED,
            ) from error
        # Recovery writes a table first, so on a full disk it needs the room that was kept for it.
        if not release_ballast(path):
            raise _failed(f"cannot open {path}: {_text(error)}") from error
    try:
        return _open_once(path, tuning, remedy)
    except plyvel.IOError as error:
        raise _failed(f"cannot open {path}: {_text(error)}") from error


def _open_once(path: Path, tuning: LevelDbTuning, remedy: str) -> plyvel.DB:
    try:
        return plyvel.DB(
            os.fspath(path),
            create_if_missing=True,
            paranoid_checks=True,
            compression=None,
            write_buffer_size=tuning.write_buffer_bytes,
            max_file_size=tuning.file_bytes_max,
            lru_cache_size=tuning.cache_bytes,
            max_open_files=tuning.open_files_max,
            block_size=4 * KIB,
            bloom_filter_bits=10,
        )
    except plyvel.IOError:
        raise
    except plyvel.Error as error:
        raise StorageError(f"database {path} is damaged: {_text(error)}", remedy) from error


def _check_markers(path: Path, database: plyvel.DB, network: bytes, remedy: str) -> None:
    store = LevelDbStore(database, path, LEDGER_TUNING, remedy, lambda path: None)
    schema, owner = store.get(_SCHEMA_KEY), store.get(_NETWORK_KEY)
    if schema is None or owner is None:
        with database.iterator(include_value=False, verify_checksums=True) as keys:
            if next(keys, None) is not None:
                raise StorageError(f"database {path} is damaged: its version is missing", remedy)
        with database.write_batch(sync=True) as batch:
            for key, value in ((_SCHEMA_KEY, layout.SCHEMA.to_bytes(4, "big")), (_NETWORK_KEY, network)):
                batch.put(key, _check(key, value) + value)
        return
    layout.check_version(f"database {path}", int.from_bytes(schema, "big"), layout.SCHEMA)
    if owner != network:
        raise UserError(
            f"database {path} belongs to the network {owner.hex()[:12]}, not to {network.hex()[:12]}",
            "use another data directory for this network",
            code=Code.WRONG_NETWORK,
        )


def _check(key: bytes, value: bytes) -> bytes:
    """The check that stands before each stored value: it binds the value to its key."""
    return hashlib.sha256(b"".join((len(key).to_bytes(4, "big"), key, value))).digest()[:CHECK_BYTES]


def _failed(message: str) -> StorageError:
    """The disk or the handle failed; what is on disk may be whole."""
    return StorageError(message, _REOPEN, code=Code.STORE_FAILED)


def _text(error: Exception) -> str:
    """plyvel hands LevelDB's message over as bytes."""
    message = error.args[0] if error.args else ""
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
