"""The vote file: what keeps a validator from voting twice, in a small file of its own.

Two slots of fixed size; each save writes the older one and syncs before it returns. A slot holds the
same page twice, so that a write torn by a crash leaves the previous record or the new one (which was
never acted on: either is right), and one rotten page never brings an acknowledged record's predecessor
back. A page is `SHA-256 ‖ sequence ‖ length ‖ record`. The file lies beside the keystore, not in a
database: losing the databases means to fetch them again, losing this file means to stop voting.
"""

import os
from pathlib import Path
from typing import Final

from node.store.durable import create_durably
from protocol.codec import HASH_BYTES, digest
from protocol.errors import Code, StorageError, UserError

PAGE_BYTES: Final = 4096
COPIES: Final = 2
SLOTS: Final = 2
SLOT_BYTES: Final = COPIES * PAGE_BYTES
FILE_BYTES: Final = SLOTS * SLOT_BYTES
_SEQUENCE_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
_HEADER_BYTES: Final = HASH_BYTES + _SEQUENCE_BYTES + _LENGTH_BYTES
RECORD_BYTES_MAX: Final = PAGE_BYTES - _HEADER_BYTES
_HINT: Final = "the node must not vote: it learns only, until the member re-enters with a new key"


class VoteFileOnDisk:
    """A `ports.VoteFile` over one file. Opened at the first call; one task uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._sequence = 0
        self._record = b""
        self._refusal = ""

    def load(self) -> bytes | None:
        self._open()
        return self._record if self._sequence else None

    def save(self, record: bytes) -> None:
        if len(record) > RECORD_BYTES_MAX:
            raise StorageError(f"vote record of {len(record)} bytes is over {RECORD_BYTES_MAX}", _HINT)
        descriptor = self._open()
        sequence = self._sequence + 1
        slot = _slot(sequence, record)
        try:
            written = os.pwrite(descriptor, slot, sequence % SLOTS * SLOT_BYTES)
            os.fdatasync(descriptor)
        except OSError as error:
            self._refusal = f"writing to the vote file {self._path} failed"
            raise StorageError(
                f"{self._refusal}: {error.strerror}", _HINT, code=Code.STORE_FAILED
            ) from error
        if written != len(slot):
            self._refusal = f"writing to the vote file {self._path} failed"
            raise StorageError(self._refusal, _HINT, code=Code.STORE_FAILED)
        self._sequence, self._record = sequence, record

    def close(self) -> None:
        self._refusal = f"the vote file {self._path} is closed"
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._refusal:
            raise StorageError(self._refusal, _HINT, code=Code.STORE_FAILED)
        if self._descriptor is None:
            try:
                descriptor = os.open(self._path, os.O_RDWR)
            except OSError as error:
                raise StorageError(
                    f"cannot open the vote file {self._path}: {error.strerror}", _HINT
                ) from error
            try:
                self._sequence, self._record = self._newest(os.pread(descriptor, FILE_BYTES, 0))
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def _newest(self, content: bytes) -> tuple[int, bytes]:
        pages = [
            _read_page(content[start : start + PAGE_BYTES]) for start in range(0, FILE_BYTES, PAGE_BYTES)
        ]
        valid = [page for page in pages if page is not None]
        if not valid:
            raise StorageError(f"the vote file {self._path} is damaged", _HINT)
        return max(valid)


def create_vote_file(path: Path) -> None:
    """Makes the vote file of a new key, holding no record.

    Raises:
        UserError: there is one already (Code.ALREADY_INITIALISED).
        OSError: the disk failed.
    """
    try:
        create_durably(path, SLOTS * _slot(0, b""))
    except FileExistsError as error:
        raise UserError(
            f"there is a vote file already: {path}",
            "it belongs to the key beside it; use another data directory for a new key",
            code=Code.ALREADY_INITIALISED,
        ) from error


def open_vote_file(path: Path) -> VoteFileOnDisk:
    """The vote file at `path`; whether it is there and whole shows at `load`."""
    return VoteFileOnDisk(path)


def _slot(sequence: int, record: bytes) -> bytes:
    counted = (
        sequence.to_bytes(_SEQUENCE_BYTES, "big") + len(record).to_bytes(_LENGTH_BYTES, "big") + record
    )
    return COPIES * (digest("vote-page", counted) + counted).ljust(PAGE_BYTES, b"\0")


def _read_page(page: bytes) -> tuple[int, bytes] | None:
    """The sequence and record of a page, or None where it is not whole."""
    length = int.from_bytes(page[_HEADER_BYTES - _LENGTH_BYTES : _HEADER_BYTES], "big")
    counted = page[HASH_BYTES : _HEADER_BYTES + length]
    if page[:HASH_BYTES] != digest("vote-page", counted):
        return None
    sequence = int.from_bytes(counted[:_SEQUENCE_BYTES], "big")
    return sequence, counted[_HEADER_BYTES - HASH_BYTES :]
