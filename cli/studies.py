"""A folder of a DICOM study, out as one record and in again as files."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from cli.files import file_error
from protocol import limits
from protocol.errors import Code, Malformed, UserError
from protocol.examined import Examined
from protocol.study import MAGIC, StudyFile, Unpacker, check_path, decode_head, encode_head

_PIECE_BYTES: Final = 256 * limits.KIB
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


def unpack(path: Path) -> None:
    """Where the file there is a study, makes it a folder of its files. Each is checked on the way.

    Raises:
        UserError: MALFORMED, it is no whole study; RECORD_FILE, a file cannot be written. Nothing but
            the file remains then.
    """
    import tempfile

    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return
            file.seek(0)
            with tempfile.TemporaryDirectory(
                dir=path.parent, prefix=".chartmesh-", suffix=".part"
            ) as hidden:
                folder = Path(hidden) / "study"
                folder.mkdir()
                _unpack(file, folder)
                path.unlink()
                folder.rename(path)
        _sync_folder(path.parent)
    except Malformed as error:
        raise UserError(
            f"what came is no whole study: {error}",
            f"it is saved as one file, {path}; tell the clinic that issued it",
            code=Code.MALFORMED,
        ) from error
    except OSError as error:
        raise file_error(
            f"cannot unpack the study into {path.parent}: {error.strerror}",
            f"it is saved as one file, {path}: make room, and get it again",
        ) from error


def _unpack(file: BinaryIO, folder: Path) -> None:
    unpacker, target = Unpacker(), None
    with ExitStack() as exits:
        while piece := file.read(_PIECE_BYTES):
            for one, some, is_last in unpacker.feed(piece):
                if target is None:
                    path = folder / one.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    target = exits.enter_context(path.open("xb"))
                target.write(some)
                if is_last:
                    target.flush()
                    os.fsync(target.fileno())
                    exits.close()
                    target = None
    unpacker.finish()
    for inner, _, _ in os.walk(folder):
        _sync_folder(Path(inner))


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


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
