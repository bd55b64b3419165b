"""A data directory from a backup: databases, keys, genesis file; never a vote file.

What the key signed after the backup is not in it. So the node that begins here learns and does not vote,
until the member has a new vote key.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node import paths
from node.backup.archive import AUDIT, BLOBS, LEDGER, Manifest, entries_name, read_entries
from node.backup.verify import verify_backup
from node.config import Config
from node.ports import Put
from node.store.durable import DIRECTORY_MODE, create_durably
from node.store.leveldb import BLOB_TUNING, LEDGER_TUNING, LevelDbTuning, open_leveldb
from protocol import limits
from protocol.errors import Code, StorageError, UserError

BATCH_BYTES: Final = limits.MIB


def restore_backup(config: Config, folder: Path) -> Manifest:
    """Makes the data directory of `config` from the backup in `folder`. On a failure nothing is left.

    Raises:
        UserError: there is a node already (Code.ALREADY_INITIALISED), there is no backup, it is of the
            other role, or a newer version wrote it.
        StorageError: the backup is damaged, or the disk is full or failed.
    """
    data_dir = config.node.data_dir
    _require_nothing(data_dir)
    manifest = verify_backup(folder)
    if manifest.role != config.node.role and paths.config(data_dir).exists():
        raise UserError(
            f"the backup is of a {manifest.role}, and {data_dir} is configured as a {config.node.role}",
            "name another directory with --data-dir",
            code=Code.ROLE,
        )
    made: list[Path] = []
    try:
        data_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        _fill(data_dir, folder, manifest, made)
    except BaseException as error:
        for path in made:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(
                f"cannot write to {data_dir}: {error.strerror}",
                "check the directory, its owner and the free space",
                code=Code.STORE_FAILED,
            ) from error
        raise
    return manifest


def _fill(data_dir: Path, folder: Path, manifest: Manifest, made: list[Path]) -> None:
    """Writes everything, the key file last: where that is there, all is."""
    places = {
        entries_name(LEDGER): (paths.ledger_db(data_dir), LEDGER_TUNING),
        entries_name(AUDIT): (paths.audit_db(data_dir), LEDGER_TUNING),
        entries_name(BLOBS): (paths.blob_db(data_dir), BLOB_TUNING),
    }
    for file in manifest.files:
        if file.name in places:
            path, tuning = places[file.name]
            made.append(path)
            _load(path, tuning, bytes.fromhex(manifest.network), read_entries(folder / file.name))
    keys = paths.keyfile(data_dir)
    small = (paths.card(data_dir), paths.genesis(data_dir), paths.config(data_dir), keys)
    for path in small:
        if manifest.file(path.name) is not None and not path.exists():
            create_durably(path, (folder / path.name).read_bytes())
            made.append(path)


def _load(path: Path, tuning: LevelDbTuning, network: bytes, entries: Iterator[Put]) -> None:
    """A new database of these entries, durable when this returns."""
    store = open_leveldb(path, tuning=tuning, network=network)
    try:
        batch: list[Put] = []
        size = 0
        for key, value in entries:
            batch.append((key, value))
            size += len(key) + len(value)
            if size >= BATCH_BYTES:
                store.write(batch)
                batch, size = [], 0
        store.write(batch, sync=True)
    finally:
        store.close()


def _require_nothing(data_dir: Path) -> None:
    present = [
        path
        for path in (
            paths.keyfile(data_dir),
            *data_dir.glob("votes*"),
            paths.card(data_dir),
            paths.genesis(data_dir),
            paths.ledger_db(data_dir),
            paths.audit_db(data_dir),
            paths.blob_db(data_dir),
        )
        if path.exists()
    ]
    if present:
        raise UserError(
            f"there is something of a node in {data_dir} already: {present[0].name}",
            "name another directory with --data-dir, or move what is there away",
            code=Code.ALREADY_INITIALISED,
        )
