"""A backup made by the running daemon: each database as it is at one moment, while the node goes on.

The ledger is copied first and the audit log after it, so no serve that the ledger copy allows is missing
from the audit copy. The key file is copied as it is, under its passphrase. The vote file is never copied:
whoever votes with an old one votes twice.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node import paths
from node.backup.archive import (
    BLOBS,
    MANIFEST,
    VERSION,
    BackupFile,
    EntryWriter,
    Manifest,
    copy_small,
    encode_manifest,
    entries_name,
    result_of_backup,
)
from node.backup.contents import Contents
from node.exchange import Exchange
from node.ports import Clock, Offload, Store
from node.store import layout
from node.store.durable import DIRECTORY_MODE, create_durably, sync_directory
from protocol import limits
from protocol.blocks import block_hash
from protocol.control import BackupCreate, BackupResult, utc
from protocol.errors import Code, StorageError, UserError

STEP_BYTES: Final = 4 * limits.MIB  # copied between two looks whether somebody still wants it


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose backup it is; ids in hexadecimal."""

    role: str
    id: str
    name: str
    network: str
    program: str
    data_dir: Path


class Backups:
    """Makes backups of one node. `databases` are its stores by name."""

    def __init__(
        self, *, subject: Subject, databases: Mapping[str, Store], clock: Clock, offload: Offload
    ) -> None:
        self._subject, self._databases = subject, databases
        self._clock, self._offload = clock, offload

    async def create(self, request: BackupCreate, exchange: Exchange) -> BackupResult:
        """Makes a backup in the folder that the request names. On an error nothing is left.

        Raises:
            UserError: the folder is not empty, or cannot be written (Code.CONFIG).
            StorageError: a database is damaged; or the disk is full.
        """
        folder = Path(request.path)
        _make_folder(folder)
        try:
            manifest = await self._fill(folder, exchange, with_blobs=request.blobs)
        except BaseException as error:
            with trio.CancelScope(shield=True):
                await self._offload.run(lambda: shutil.rmtree(folder, ignore_errors=True))
            if isinstance(error, OSError):
                raise StorageError(
                    f"cannot write the backup in {folder}: {error.strerror}",
                    "choose a place with room that the daemon may write to",
                    code=Code.STORE_FULL,
                ) from error
            raise
        return result_of_backup(folder, manifest)

    async def _fill(self, folder: Path, exchange: Exchange, *, with_blobs: bool) -> Manifest:
        time_ms, contents = self._clock.wall_ms(), Contents()
        files: list[BackupFile] = []
        for name, store in self._databases.items():
            if name != BLOBS or with_blobs:
                files.append(await self._copy(store, folder / entries_name(name), contents, exchange))
        data_dir = self._subject.data_dir
        small = (paths.keyfile(data_dir), paths.card(data_dir), paths.genesis(data_dir))
        files += [copy_small(path, folder) for path in (*small, paths.config(data_dir)) if path.exists()]
        manifest = self._manifest(time_ms, contents, files).sealed()
        create_durably(folder / MANIFEST, encode_manifest(manifest))
        sync_directory(folder.parent)
        return manifest

    async def _copy(self, store: Store, path: Path, contents: Contents, exchange: Exchange) -> BackupFile:
        """Copies what the store holds at this moment, some MiB at a time."""
        entries = store.iterate(b"")
        writer = EntryWriter(path)

        def step() -> bool:
            until = writer.bytes + STEP_BYTES
            for key, value in entries:
                writer.add(key, value)
                contents.note(key, value)
                if writer.bytes >= until:
                    return True
            return False

        try:
            while await self._offload.run(step):
                await exchange.progress(f"copying {path.name}", done=writer.bytes)
            return await self._offload.run(writer.finish)
        finally:
            writer.close()

    def _manifest(self, time_ms: int, contents: Contents, files: list[BackupFile]) -> Manifest:
        subject, header = self._subject, contents.header()
        return Manifest(
            v=VERSION,
            role=subject.role,
            id=subject.id,
            name=subject.name,
            network=subject.network,
            program=subject.program,
            schema=layout.SCHEMA,
            time=utc(time_ms),
            height=0 if header is None else header.height,
            block="" if header is None else block_hash(header).hex(),
            state_root="" if header is None else header.state_root.hex(),
            audit_entries=contents.audit_entries,
            files=tuple(files),
        )


def _make_folder(folder: Path) -> None:
    """A new private folder, or an empty one that is there."""
    try:
        folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        is_empty = next(folder.iterdir(), None) is None
    except OSError as error:
        raise UserError(
            f"cannot use {folder}: {error.strerror}",
            "choose a place that the daemon may write to; the unit's ReadWritePaths= can name one",
            code=Code.CONFIG,
        ) from error
    if not is_empty:
        raise UserError(
            f"{folder} is not empty", "name a new folder for each backup", code=Code.ALREADY_INITIALISED
        )
