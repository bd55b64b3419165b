"""Room on the disk: how much must stay free, and a ballast file that recovery can have when none is.

LevelDB's recovery writes a table before it opens, so a database on a full disk would stay shut. Writes
therefore stop while there is still room, and the ballast gives way if the disk filled up all the same.
"""

import os
from pathlib import Path
from typing import Final

from protocol.errors import Code, StorageError
from protocol.limits import GIB, MIB

LOW_WATER_FRACTION: Final = 20  # refuse writes below one twentieth of the disk …
LOW_WATER_BYTES_MIN: Final = 256 * MIB
LOW_WATER_BYTES_MAX: Final = 4 * GIB  # … but never demand more than this
BALLAST_BUFFERS: Final = 3  # in write buffers: the log and the table that recovery makes of it

_BALLAST: Final = "ballast"
_MODE: Final = 0o600
_HINT: Final = "free disk space; nothing was written"


def check_room(path: Path, low_water_bytes_min: int) -> None:
    """Raises StorageError (Code.STORE_FULL) where the disk under `path` is nearly full."""
    free, low_water = _space(path, low_water_bytes_min)
    if free < low_water:
        raise StorageError(
            f"{path} takes no writes: {free // MIB} MiB free, which is below {low_water // MIB} MiB",
            _HINT,
            code=Code.STORE_FULL,
        )


def keep_ballast(path: Path, write_buffer_bytes: int, low_water_bytes_min: int) -> None:
    """Makes the ballast file in the database's directory, unless writes would be refused anyway.

    Raises:
        StorageError: the disk failed, or filled up meanwhile.
    """
    size = BALLAST_BUFFERS * write_buffer_bytes
    ballast = path / _BALLAST
    free, low_water = _space(path, low_water_bytes_min)
    if (ballast.exists() and ballast.stat().st_size >= size) or free < low_water + size:
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


def _space(path: Path, low_water_bytes_min: int) -> tuple[int, int]:
    """The free bytes of the disk under `path`, and how many must stay free."""
    disk = os.statvfs(path)
    share = disk.f_blocks * disk.f_frsize // LOW_WATER_FRACTION
    return disk.f_bavail * disk.f_frsize, max(low_water_bytes_min, min(share, LOW_WATER_BYTES_MAX))
