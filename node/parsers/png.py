"""Writing a PNG image (W3C PNG, third edition): 8 bits a sample, grey or RGB, no filter."""

import struct
import zlib
from collections.abc import Iterable

_START = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2


def encode_png(width: int, height: int, rows: Iterable[bytes], *, is_colour: bool) -> bytes:
    """`rows` are `height` rows from the top, of `width` samples, or of three times as many."""
    packer = zlib.compressobj(6)
    packed = b"".join(packer.compress(b"\x00" + row) for row in rows) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, _RGB if is_colour else _GREY, 0, 0, 0)
    return _START + _chunk(b"IHDR", head) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
