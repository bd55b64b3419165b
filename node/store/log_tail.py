"""Whether a LevelDB log ends as a crash leaves it, or was made to look so.

LevelDB takes a record that reaches past the end of the file for one that was being written in a crash, and
opens without it and all that follow it. A flipped bit in a record's length makes a whole record look like
that: what was acknowledged would be gone, without an error. A whole record gives itself away: its checksum
fits the bytes that are there. The manifest is such a log too.

Format: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from pathlib import Path
from typing import Final

BLOCK_BYTES: Final = 32 * 1024
HEADER_BYTES: Final = 7
_MASK: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78  # CRC-32C, bits reversed


def has_whole_record_cut_off(log: Path) -> bool:
    """Whether the last record reaches past the end of the log, though all of it is there.

    Raises:
        OSError: the log cannot be read.
    """
    with log.open("rb") as file:
        file.seek(log.stat().st_size // BLOCK_BYTES * BLOCK_BYTES)
        block = file.read(BLOCK_BYTES)
    at = 0
    # Records do not span blocks, so the last block begins with one.
    while at + HEADER_BYTES <= len(block):
        checksum, length = int.from_bytes(block[at : at + 4], "little"), block[at + 4] | block[at + 5] << 8
        end = at + HEADER_BYTES + length
        if end > len(block):
            return _fits_a_part(checksum, block[at + HEADER_BYTES - 1 :])
        at = end
    return False


def _fits_a_part(checksum: int, content: bytes) -> bool:
    """Whether a masked checksum is that of the first bytes of `content`, the record's type and however
    many after it."""
    rotated = checksum - _MASK & 0xFFFFFFFF
    wanted = (rotated >> 17 | rotated << 15) & 0xFFFFFFFF
    crc = 0xFFFFFFFF
    for octet in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
        if crc ^ 0xFFFFFFFF == wanted:
            return True
    return False


def _entry(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (_POLYNOMIAL if octet & 1 else 0)
    return octet


_TABLE: Final = tuple(map(_entry, range(256)))
