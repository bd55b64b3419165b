"""Record files in and out. What goes out appears whole under its name, or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from protocol import limits
from protocol.errors import Code, UserError


class RecordFile:
    """An open record file of `size` bytes, read once by `pieces`."""

    def __init__(self, path: Path) -> None:
        """Raises UserError (RECORD_FILE): missing, empty, a directory, unreadable or too large."""
        self.path = path
        try:
            if not path.is_file():
                kind = "a directory" if path.is_dir() else "not a file" if path.exists() else "not there"
                raise file_error(f"{path} is {kind}", "name a file; for several, name each")
            self._file: BinaryIO = path.open("rb")
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise file_error(
                f"cannot read {path}: {error.strerror}", "check the path and its permissions"
            ) from error
        if not 1 <= self.size <= limits.RECORD_BYTES_MAX:
            self._file.close()
            state = (
                "empty" if self.size == 0 else f"larger than {limits.RECORD_BYTES_MAX // limits.GIB} GiB"
            )
            raise file_error(f"{path} is {state}", "a record has at least one byte and fits the limit")

    @property
    def name(self) -> str:
        """The file's name without its folder, as text."""
        return os.fsencode(self.path.name).decode("utf-8", "replace")

    def pieces(self) -> Iterator[bytes]:
        """Exactly `size` bytes. Raises UserError (RECORD_FILE) where the file changes meanwhile."""
        remaining = self.size
        while remaining:
            piece = self._read(min(remaining, limits.CONTROL_FRAME_BYTES_MAX))
            if not piece:
                break
            remaining -= len(piece)
            yield piece
        if remaining or self._read(1):
            raise file_error(
                f"{self.path} changed while it was read", "wait until it is complete, then add it again"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except OSError as error:
            raise file_error(f"cannot read {self.path}: {error.strerror}", "check the disk") from error


class Incoming:
    """A record on its way to a file: bytes go to a hidden file beside it, which `keep` names.

    Left without `keep`, whatever the reason, nothing remains.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UserError (RECORD_FILE) where nothing can be written there."""
        import tempfile

        self.bytes = 0
        self._hash = hashlib.sha256()
        self._folder = folder
        try:
            number, name = tempfile.mkstemp(dir=folder, prefix=".chartmesh-", suffix=".part")
        except OSError as error:
            raise file_error(
                f"cannot write to {folder}: {error.strerror}", "name a directory that exists with -o"
            ) from error
        self._temporary: Path | None = Path(name)
        self._file = os.fdopen(number, "wb")

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.bytes += len(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _full(self._folder, error) from error

    def keep(self, path: Path) -> None:
        """Makes it durable under its name, replacing what was there."""
        if self._temporary is None:
            raise ValueError("kept already")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.replace(path)
            self._temporary = None
            _sync_folder(path.parent)
        except OSError as error:
            raise _full(self._folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
        # Kept, all was flushed before; discarded, a flush that fails on a full disk says nothing new.
        with suppress(OSError):
            self._file.close()


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _full(folder: Path, error: OSError) -> UserError:
    return file_error(
        f"cannot write to {folder}: {error.strerror}", "make room or name another place with -o"
    )


def file_error(message: str, hint: str) -> UserError:
    return UserError(message, hint, code=Code.RECORD_FILE)
