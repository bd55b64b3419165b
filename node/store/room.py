"""Room on the disk: how much must stay free, and a ballast file that recovery can have when none is.

LevelDB's recovery writes a table before it opens, so a database on a full disk would stay shut. Writes
therefore stop while there is still room, and the ballast gives way if the disk filled up all the same.
Ciphertext stops first: what is left then is for the ledger, the votes and the audit log, for a long time.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import Code, StorageError
from protocol.limits import GIB, MIB

BALLAST_BUFFERS: Final = 3  # in write buffers: the log and the table that recovery makes of it

_BALLAST: Final = "ballast"
_MODE: Final = 0o600
_HINT: Final = "free disk space; nothing was written"


@dataclass(frozen=True, slots=True)
class LowWater:
    """How many bytes must stay free: `bytes_min`, or a share of the disk if that is more, which never
    demands more than `bytes_max`."""

    bytes_min: int
    one_in: int = 0
    bytes_max: int = 0

    def of(self, disk_bytes: int) -> int:
        share = disk_bytes // self.one_in if self.one_in else 0
        return max(self.bytes_min, min(share, self.bytes_max))


BULK_LOW_WATER: Final = LowWater(256 * MIB, one_in=20, bytes_max=4 * GIB)
VITAL_LOW_WATER: Final = LowWater(64 * MIB)


def check_room(path: Path, low_water: LowWater) -> None:
    """Raises StorageError (Code.STORE_FULL) where the disk under `path` is nearly full."""
    free, needed = space(path, low_water)
    if free < needed:
        raise StorageError(
            f"{path} takes no writes: {free // MIB} MiB free, which is below {needed // MIB} MiB",
            _HINT,
            code=Code.STORE_FULL,
        )


def space(path: Path, low_water: LowWater) -> tuple[int, int]:
    """The free bytes of the disk under `path`, and how many must stay free."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize, low_water.of(disk.f_blocks * disk.f_frsize)


def keep_ballast(path: Path, write_buffer_bytes: int, low_water: LowWater) -> None:
    """Makes the ballast file in the database's directory, unless writes would be refused anyway.

    Raises:
        StorageError: the disk failed, or filled up meanwhile.
    """
    size = BALLAST_BUFFERS * write_buffer_bytes
    ballast = path / _BALLAST
    free, needed = space(path, low_water)
    if (ballast.exists() and ballast.stat().st_size >= size) or free < needed + size:
        return
    try:
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, _MODE)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"cannot reserve {size} bytes in {path}: {error.strerror}", _HINT, code=Code.STORE_FULL
        ) from error


def release_ballast(path: Path) -> bool:
    """Gives the ballast's room back; whether there was one."""
    ballast = path / _BALLAST
    if not ballast.exists():
        return False
    ballast.unlink()
    return True
