"""Record files in and out. What goes out appears whole under its name, or not at all."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from protocol import limits
from protocol.errors import ChartmeshError, Code, UserError


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

    Left without `keep`, nothing remains; but with a `key`, what came stays where the node or the network
    failed, or the run was killed, and the next run under the same key begins with it.
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        """Raises UserError (RECORD_FILE) where nothing can be written there."""
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._folder = folder
        self._is_resumable = True
        try:
            opened = _open_left(folder, key) if key else None
            if opened is None:
                self._is_resumable = False
                opened = _open_new(folder)
            number, temporary = opened
            self._file = os.fdopen(number, "r+b")
            size = os.fstat(number).st_size
        except OSError as error:
            raise file_error(
                f"cannot write to {folder}: {error.strerror}", "name a directory that exists with -o"
            ) from error
        self._temporary: Path | None = temporary
        # At least one byte is fetched: only a whole record can be told from a spoilt one.
        self.earlier_bytes = max(0, size - 1) // limits.PIECE_BYTES * limits.PIECE_BYTES

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def left(self) -> Path | None:
        """What stays for the next run; None where nothing does, or it was kept."""
        return self._temporary

    def earlier(self) -> Iterator[bytes]:
        """The first `earlier_bytes`, which an earlier run left; what is written comes after them."""
        while remaining := self.earlier_bytes - self.bytes:
            try:
                piece = self._file.read(min(remaining, limits.CONTROL_FRAME_BYTES_MAX))
            except OSError as error:
                raise file_error(f"cannot read {self._temporary}: {error.strerror}", "delete it") from error
            if not piece:
                raise file_error(f"{self._temporary} became shorter", "run the command again")
            self._hash.update(piece)
            self.bytes += len(piece)
            yield piece
        self._file.truncate(self.earlier_bytes)

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

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        stays = self._is_resumable and self.bytes > limits.PIECE_BYTES and _may_go_on(error)
        if self._temporary is not None and not stays:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None
        # Kept, all was flushed before; discarded, a flush that fails on a full disk says nothing new.
        with suppress(OSError):
            self._file.close()


def _open_left(folder: Path, key: str) -> tuple[int, Path] | None:
    """The file of an earlier run under this key, or a new one for the next; None where it is another's, or
    another run uses it now."""
    import fcntl

    path = folder / f".chartmesh-{hashlib.sha256(key.encode()).hexdigest()[:16]}.part"
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found, named = os.fstat(number), path.stat(follow_symlinks=False)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
        # The run that had it may have named it since it was opened here.
        if is_ours and not found.st_mode & 0o077 and found.st_ino == named.st_ino:
            return number, path
    except OSError:
        pass
    os.close(number)
    return None


def _open_new(folder: Path) -> tuple[int, Path]:
    import tempfile

    number, name = tempfile.mkstemp(dir=folder, prefix=".chartmesh-", suffix=".part")
    return number, Path(name)


def _may_go_on(error: BaseException | None) -> bool:
    """Whether what came is worth keeping: not where it is refused or wrong, or no more wanted."""
    return isinstance(error, ChartmeshError) and error.code in (Code.NOT_RUNNING, Code.UNREACHABLE)


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
