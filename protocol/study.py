"""The files of a study as one record: a head, then their original bytes, one after the other.

The head is 16 bytes that name the form, the length of the index in 4 bytes, and the index: for each
file its path, length and SHA-256, and what DICOM says it is. Where a file lies is not written down but
follows from the lengths before it, so no two can overlap and nothing lies between them. Equal files
make equal bytes. With the head, one file can be read out of a range of the record and checked by itself.

Paths come from others and become files on a disk: whatever is no plain relative path, or is one with
another on a disk that does not tell case apart, is refused on the way in and on the way out.
"""

import hashlib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, encode
from protocol.errors import Malformed

MAGIC: Final = b"\x89chartmesh-study"
_COUNT_BYTES: Final = 4
START_BYTES: Final = len(MAGIC) + _COUNT_BYTES
VERSION: Final = 1
# Of the characters that no file name of a common system may have, those that are printable.
_FORBIDDEN: Final = frozenset('<>:"|?*\\')


class StudyFile(Wire, frozen=True):
    """One file: its path under the study's folder with `/` between parts, its length in bytes and its
    SHA-256. `series`, `instance` and `modality` are empty where it is no DICOM file, or nobody looked."""

    path: str
    length: int
    sha256: bytes
    series: str = ""
    instance: str = ""
    modality: str = ""


class StudyIndex(Wire, frozen=True):
    """All files, in the order of their paths, which is that of their bytes too."""

    version: int
    files: tuple[StudyFile, ...]


class Study:
    """A checked index. `start` of a file is its offset in the record, `length` that of the whole."""

    def __init__(self, files: Sequence[StudyFile], head_length: int) -> None:
        self.files = tuple(files)
        self._ends = list(accumulate((one.length for one in files), initial=head_length))
        self.head_length, self.length = head_length, self._ends[-1]

    def find(self, path: str) -> tuple[StudyFile, int]:
        """The file of this path, and where it starts. Raises Malformed where there is none."""
        at = bisect_left(self.files, path, key=lambda one: one.path)
        if at == len(self.files) or self.files[at].path != path:
            raise Malformed("the study has no file of that path")
        return self.files[at], self._ends[at]


def encode_head(files: Sequence[StudyFile]) -> bytes:
    """What stands before the bytes of `files`, given in any order.

    Raises:
        Malformed: a path cannot be kept, or the whole is beyond the limits.
    """
    index = StudyIndex(VERSION, tuple(sorted(files, key=lambda one: one.path)))
    _check(index)
    raw = encode(index)
    if len(raw) > limits.STUDY_INDEX_BYTES_MAX:
        raise Malformed(f"an index of {len(raw)} bytes is over its limit of {limits.STUDY_INDEX_BYTES_MAX}")
    head = MAGIC + len(raw).to_bytes(_COUNT_BYTES, "big") + raw
    _check_length(Study(index.files, len(head)))
    return head


def head_length(start: bytes) -> int:
    """The length of the head that begins with `start`, of which START_BYTES are looked at.

    Raises:
        Malformed: it is the beginning of something else, or beyond the limits.
    """
    if len(start) < START_BYTES or not start.startswith(MAGIC):
        raise Malformed("not the beginning of a study")
    length = int.from_bytes(start[len(MAGIC) : START_BYTES], "big")
    if length > limits.STUDY_INDEX_BYTES_MAX:
        raise Malformed("a study's index is over its limit")
    return START_BYTES + length


def decode_head(raw: bytes) -> Study:
    """The study whose record begins with `raw`, its whole head and no more.

    Raises:
        Malformed: not a head that `encode_head` could have made.
    """
    if head_length(raw) != len(raw):
        raise Malformed("a study's head is of another length than it says")
    index = decode(StudyIndex, raw[START_BYTES:], limit=limits.STUDY_INDEX_BYTES_MAX)
    _check(index)
    study = Study(index.files, len(raw))
    _check_length(study)
    return study


class Unpacker:
    """Takes a record apart that comes in pieces of any size. Of a file nothing is true before its end."""

    def __init__(self) -> None:
        self.study: Study | None = None
        self._head = bytearray()
        self._at = 0
        self._missing = 0
        self._hasher = hashlib.sha256()

    def feed(self, piece: bytes) -> Iterator[tuple[StudyFile, bytes, bool]]:
        """Files with their next bytes, and whether these are the last; consume it before the next call.

        Raises:
            Malformed: not a study, longer than its index says, or a file is not the one that it names.
        """
        rest = memoryview(piece)
        if self.study is None:
            rest = self._take_head(rest)
            if self.study is None:
                return
            yield from self._empty_files()
        while rest:
            file = self._file()
            some, rest = bytes(rest[: self._missing]), rest[self._missing :]
            self._hasher.update(some)
            self._missing -= len(some)
            if self._missing == 0:
                self._end(file)
            yield file, some, self._missing == 0
            if self._missing == 0:
                self._next()
                yield from self._empty_files()

    def finish(self) -> Study:
        """The whole study. Raises Malformed where its end has not come."""
        if self.study is None or self._at != len(self.study.files):
            raise Malformed("the study is cut short")
        return self.study

    def _take_head(self, rest: memoryview) -> memoryview:
        for _ in range(2):
            wanted = START_BYTES if len(self._head) < START_BYTES else head_length(bytes(self._head))
            some, rest = rest[: wanted - len(self._head)], rest[wanted - len(self._head) :]
            self._head += some
        if len(self._head) >= START_BYTES and len(self._head) == head_length(bytes(self._head)):
            self.study = decode_head(bytes(self._head))
            self._at = -1
            self._next()
        return rest

    def _file(self) -> StudyFile:
        assert self.study is not None
        if self._at == len(self.study.files):
            raise Malformed("the study is longer than its index says")
        return self.study.files[self._at]

    def _next(self) -> None:
        assert self.study is not None
        self._at += 1
        self._hasher = hashlib.sha256()
        if self._at < len(self.study.files):
            self._missing = self.study.files[self._at].length

    def _end(self, file: StudyFile) -> None:
        if self._hasher.digest() != file.sha256:
            raise Malformed(f"the file {file.path} is not the one that the study's index names")

    def _empty_files(self) -> Iterator[tuple[StudyFile, bytes, bool]]:
        assert self.study is not None
        while self._at < len(self.study.files) and self._missing == 0:
            file = self._file()
            self._end(file)
            yield file, b"", True
            self._next()


def check_path(path: str) -> None:
    """Raises Malformed where `path` is not a plain relative one that every common system can keep."""
    parts = path.split("/")
    if len(path) > limits.STUDY_PATH_CHARS_MAX or len(parts) > limits.STUDY_DEPTH_MAX:
        raise Malformed(f"a path is too long or too deep: {path[: limits.STUDY_PATH_CHARS_MAX]!r}")
    if (
        not path.isprintable()
        or _FORBIDDEN.intersection(path)
        or path != unicodedata.normalize("NFC", path)
    ):
        raise Malformed(f"a path has characters that not every system keeps: {path!r}")
    for part in parts:
        # One that ends with a dot or a space is on some systems the same as one that does not.
        if not part or part.startswith(" ") or part.endswith((".", " ")):
            raise Malformed(f"a path has a part that is no plain name: {path!r}")


def _check(index: StudyIndex) -> None:
    files = index.files
    if index.version != VERSION:
        raise Malformed("a study of an unknown version")
    if not 1 <= len(files) <= limits.STUDY_FILES_MAX:
        raise Malformed(f"a study of {len(files)} files: it has 1 to {limits.STUDY_FILES_MAX}")
    for one in files:
        check_path(one.path)
        if len(one.sha256) != HASH_BYTES or not 0 <= one.length <= limits.RECORD_BYTES_MAX:
            raise Malformed("a file of a study has a hash or a length that none can have")
        words = (one.series, one.instance, one.modality)
        if not all(len(word) <= limits.DICOM_WORD_CHARS_MAX and word.isprintable() for word in words):
            raise Malformed("a file of a study has a name of DICOM that none can have")
    if any(former.path >= latter.path for former, latter in pairwise(files)):
        raise Malformed("the files of a study are not in order, or one is there twice")
    _check_clashes(files)


def _check_clashes(files: Sequence[StudyFile]) -> None:
    """No file is another, or the folder of another, where case is not told apart."""
    spelled: dict[str, str] = {}
    folders: set[str] = set()
    for one in files:
        parts = one.path.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            if spelled.setdefault(path.casefold(), path) != path:
                raise Malformed(f"two paths differ in case alone: {path!r}")
            if count < len(parts):
                folders.add(path)
    if any(one.path in folders for one in files):
        raise Malformed("a path is a file and a folder at once")


def _check_length(study: Study) -> None:
    if study.length > limits.RECORD_BYTES_MAX:
        raise Malformed("the files of a study are together over the limit of a record")
