"""A folder of a DICOM study, out as one record and in again as files."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, Self

from cli.files import file_error, full, sync_folder
from protocol import limits
from protocol.errors import Code, Malformed, UserError
from protocol.examined import Examined
from protocol.study import StudyFile, Unpacker, check_path, decode_head, encode_head

_CHANGED_HINT: Final = "wait until it is complete, then add it again"


class StudyFolder:
    """The files under a folder as one record of `size` bytes, once `describe` was called."""

    def __init__(self, path: Path) -> None:
        """Raises UserError (RECORD_FILE): links, devices, names that no disk keeps, no file or too many."""
        self.path = path
        self.size = 0
        self._head, self._hashes = b"", dict[str, bytes]()
        self.files = dict(sorted(_walk(path)))
        if not self.files:
            raise file_error(f"there is no file in {path}", "name the folder of a study")
        if sum(_size(one) for one in self.files.values()) > limits.RECORD_BYTES_MAX:
            raise file_error(
                f"{path} is larger than {limits.RECORD_BYTES_MAX // limits.GIB} GiB",
                "add its series one by one",
            )

    @property
    def name(self) -> str:
        """The folder's name, as text."""
        return os.fsencode(self.path.absolute().name).decode("utf-8", "replace") or "study"

    def describe(self, found: Sequence[Examined]) -> None:
        """Reads every file for its hash; `found` is what each of `files` is, in the same order.

        Raises:
            UserError: RECORD_FILE, a file cannot be read, or together they are beyond the limits.
        """
        described = []
        for (name, path), one in zip(self.files.items(), found, strict=True):
            hasher, length = hashlib.sha256(), 0
            for piece in _read(path):
                hasher.update(piece)
                length += len(piece)
            described.append(
                StudyFile(name, length, hasher.digest(), one.series, one.instance, one.modality)
            )
        try:
            self._head = encode_head(described)
        except Malformed as error:
            raise file_error(
                f"{self.path} cannot be one record: {error}", "name its files one by one"
            ) from error
        self.size = decode_head(self._head).length
        self._hashes = {one.path: one.sha256 for one in described}

    def pieces(self) -> Iterator[bytes]:
        """Exactly `size` bytes. Raises UserError (RECORD_FILE) where a file changes meanwhile."""
        for at in range(0, len(self._head), limits.CONTROL_FRAME_BYTES_MAX):
            yield self._head[at : at + limits.CONTROL_FRAME_BYTES_MAX]
        for name, path in self.files.items():
            hasher = hashlib.sha256()
            for piece in _read(path):
                hasher.update(piece)
                yield piece
            if hasher.digest() != self._hashes[name]:
                raise file_error(f"{path} changed while it was read", _CHANGED_HINT)


class IncomingStudy:
    """A study on its way into a folder, hidden until `keep` names it. Left without, nothing remains."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError (RECORD_FILE) where nothing can be written there."""
        import tempfile

        self.bytes = 0
        self._hash = hashlib.sha256()
        self._unpacker = Unpacker()
        self._folder = folder
        self._file: BinaryIO | None = None
        self._exits = ExitStack()
        try:
            self._temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".chartmesh-", suffix=".part"))
        except OSError as error:
            raise full(folder, error) from error

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Raises UserError: MALFORMED, it is no whole study; RECORD_FILE, it cannot be written."""
        self._hash.update(chunk)
        self.bytes += len(chunk)
        try:
            for file, some, is_last in self._unpacker.feed(chunk):
                self._write(file, some, is_last)
        except Malformed as error:
            raise _no_study(error) from error
        except OSError as error:
            raise full(self._folder, error) from error

    def keep(self, path: Path) -> None:
        """Names it, durably. Raises UserError as `write`, and where something of that name is there."""
        try:
            self._unpacker.finish()
        except Malformed as error:
            raise _no_study(error) from error
        if path.exists():
            raise file_error(f"{path} is there already", "move it away, or name another place with -o")
        try:
            for folder, _, _ in os.walk(self._temporary):
                sync_folder(Path(folder))
            self._temporary.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise full(self._folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _write(self, file: StudyFile, some: bytes, is_last: bool) -> None:
        if self._file is None:
            target = self._temporary / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._exits.enter_context(target.open("xb"))
        self._file.write(some)
        if is_last:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._exits.close()
            self._file = None


def _walk(top: Path) -> Iterator[tuple[str, Path]]:
    def fail(error: OSError) -> None:
        raise file_error(
            f"cannot read {error.filename}: {error.strerror}", "check the path and its permissions"
        ) from error

    count = 0
    for folder, folders, names in os.walk(top, onerror=fail):
        for name in (*folders, *names):
            path = Path(folder) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise file_error(
                    f"{path} is a link or a device", "a study is made of files alone: take it away"
                )
        for name in names:
            path = Path(folder) / name
            relative = os.fsencode(path.relative_to(top).as_posix()).decode("utf-8", "replace")
            try:
                check_path(relative)
            except Malformed as error:
                raise file_error(f"{path} cannot be kept: {error}", "rename it") from error
            count += 1
            if count > limits.STUDY_FILES_MAX:
                raise file_error(
                    f"{top} has more than {limits.STUDY_FILES_MAX} files", "add its series one by one"
                )
            yield relative, path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise file_error(f"{path} is gone: {error.strerror}", _CHANGED_HINT) from error


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(limits.CONTROL_FRAME_BYTES_MAX):
                yield piece
    except OSError as error:
        raise file_error(
            f"cannot read {path}: {error.strerror}", "check the path and its permissions"
        ) from error


def _no_study(error: Malformed) -> UserError:
    return UserError(
        f"what came is no whole study: {error}",
        "save it as one file with -o FILE, and tell the clinic that issued it",
        code=Code.MALFORMED,
    )
