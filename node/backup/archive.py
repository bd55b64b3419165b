"""What a backup is on disk: a folder with a manifest, one file of entries for each database, small files.

The manifest is JSON and comes last, so a folder without one is no backup. Its `root` is the SHA-256 over
all else in it, and so over the hash of every file: who keeps the root elsewhere can tell whether any byte
was changed. A file of entries is a magic line and then, for each entry in key order, the lengths of key and
value as 4 bytes big-endian each, the key and the value.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from node.ports import Put
from node.store import layout
from node.store.durable import PRIVATE_MODE, create_durably
from protocol.codec import digest
from protocol.control import BackupFileItem, BackupResult
from protocol.errors import Code, StorageError, UserError
from protocol.limits import GIB, MIB

MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger"
AUDIT: Final = "audit"
BLOBS: Final = "blobs"
MANIFEST_BYTES_MAX: Final = MIB
SMALL_FILE_BYTES_MAX: Final = MIB
VERSION: Final = 1

_MAGIC: Final = b"chartmesh entries 1\n"
_LENGTH_BYTES: Final = 4
_KEY_BYTES_MAX: Final = 4096
_VALUE_BYTES_MAX: Final = GIB
_READ_BYTES: Final = MIB
_DAMAGED: Final = "use another backup, and find out what happened to this one"


class BackupFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a backup. `entries` is None where it holds none, as a key file."""

    name: str
    bytes: int
    sha256: str
    entries: int | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup holds and of what. Ids and hashes are hexadecimal, `time` is UTC.

    `height`, `block` and `state_root` are those of the newest final block; `audit_entries` how long the
    audit log is. `schema` is that of the databases.
    """

    v: int
    role: str
    id: str
    name: str
    network: str
    program: str
    schema: int
    time: str
    height: int
    block: str
    state_root: str
    audit_entries: int
    files: tuple[BackupFile, ...]
    root: str = ""

    def sealed(self) -> "Manifest":
        """This manifest with its root."""
        return msgspec.structs.replace(self, root=self.computed_root())

    def computed_root(self) -> str:
        return digest("backup", encode_manifest(msgspec.structs.replace(self, root=""))).hex()

    def file(self, name: str) -> BackupFile | None:
        return next((file for file in self.files if file.name == name), None)


def entries_name(database: str) -> str:
    """The name of the file with a database's entries."""
    return f"{database}.entries"


class EntryWriter:
    """Writes one file of entries. Close it, or `finish` it, which makes it durable."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        self._path, self._file = path, os.fdopen(descriptor, "wb")
        self._hash, self.bytes, self.entries = hashlib.sha256(), 0, 0
        self._write(_MAGIC)

    def add(self, key: bytes, value: bytes) -> None:
        lengths = len(key).to_bytes(_LENGTH_BYTES, "big") + len(value).to_bytes(_LENGTH_BYTES, "big")
        self._write(lengths + key)
        self._write(value)
        self.entries += 1

    def finish(self) -> BackupFile:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return BackupFile(
            name=self._path.name, bytes=self.bytes, sha256=self._hash.hexdigest(), entries=self.entries
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, octets: bytes) -> None:
        self._file.write(octets)
        self._hash.update(octets)
        self.bytes += len(octets)


def read_entries(path: Path) -> Iterator[Put]:
    """The entries of one file, in key order.

    Raises:
        StorageError: it is not there, cut short, or not in order.
    """
    try:
        with path.open("rb") as file:
            _require(file.read(len(_MAGIC)) == _MAGIC, path)
            last = b""
            while lengths := file.read(2 * _LENGTH_BYTES):
                key_bytes = int.from_bytes(lengths[:_LENGTH_BYTES], "big")
                value_bytes = int.from_bytes(lengths[_LENGTH_BYTES:], "big")
                _require(0 < key_bytes <= _KEY_BYTES_MAX and value_bytes <= _VALUE_BYTES_MAX, path)
                key, value = file.read(key_bytes), file.read(value_bytes)
                _require((len(key), len(value)) == (key_bytes, value_bytes) and key > last, path)
                yield key, value
                last = key
    except OSError as error:
        raise unreadable(path, error) from error


def copy_small(source: Path, folder: Path) -> BackupFile:
    """Copies a small file as it is. Raises OSError."""
    content = source.read_bytes()
    create_durably(folder / source.name, content)
    return BackupFile(name=source.name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def check_file(folder: Path, file: BackupFile) -> None:
    """Raises StorageError where the file is missing or not the one that was written."""
    path = folder / file.name
    try:
        with path.open("rb") as content:
            size, hashed = os.fstat(content.fileno()).st_size, _hash_of(content)
    except OSError as error:
        raise unreadable(path, error) from error
    if (size, hashed) != (file.bytes, file.sha256):
        raise damaged(f"{path} is not the file that was written: its hash differs")


def load_manifest(folder: Path) -> Manifest:
    """The manifest of the backup in `folder`, its root checked and its files not.

    Raises:
        UserError: there is no backup (Code.USAGE), or another version wrote it (STORE_NEWER, STORE_OLDER).
        StorageError: the manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX)
    except OSError as error:
        raise UserError(
            f"there is no backup in {folder}: {error.strerror}",
            "see what is there: chartmesh backup list DIR",
            code=Code.USAGE,
        ) from error
    try:
        version = msgspec.json.decode(raw, type=_Versions)
        layout.check_version(f"the backup in {folder}", version.v, VERSION)
        layout.check_version(f"the backup in {folder}", version.schema, layout.SCHEMA)
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{path} is damaged") from error
    is_whole = raw == encode_manifest(manifest) and manifest.root == manifest.computed_root()
    if not is_whole or any("/" in file.name for file in manifest.files):
        raise damaged(f"{path} is damaged: its root is not that of its content")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def result_of_backup(folder: Path, manifest: Manifest) -> BackupResult:
    """What people and scripts are told of a backup."""
    return BackupResult(
        path=str(folder),
        role=manifest.role,
        id=manifest.id,
        name=manifest.name,
        network=manifest.network,
        time=manifest.time,
        height=manifest.height,
        audit_entries=manifest.audit_entries,
        root=manifest.root,
        files=tuple(
            BackupFileItem(name=one.name, bytes=one.bytes, sha256=one.sha256, entries=one.entries)
            for one in manifest.files
        ),
    )


def find_backups(folder: Path) -> list[Path]:
    """The backups in `folder`: it itself, or those in its folders, by name."""
    places = [folder, *sorted(one for one in folder.iterdir() if one.is_dir())]
    return [place for place in places if (place / MANIFEST).is_file()]


def damaged(message: str) -> StorageError:
    return StorageError(message, _DAMAGED)


def unreadable(path: Path, error: OSError) -> StorageError:
    return damaged(f"cannot read {path}: {error.strerror}")


class _Versions(msgspec.Struct):
    v: int
    schema: int


def _hash_of(content: BinaryIO) -> str:
    hashed = hashlib.sha256()
    while piece := content.read(_READ_BYTES):
        hashed.update(piece)
    return hashed.hexdigest()


def _require(condition: bool, path: Path) -> None:
    if not condition:
        raise damaged(f"{path} is damaged")
