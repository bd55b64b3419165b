"""HL7 v2, PDF and images: whether they begin and end as they should. Enough to notice a file cut short."""

import re
import zlib
from typing import BinaryIO, Final

from node.parsers.findings import Damaged, Unchecked
from protocol import limits

_SEGMENT: Final = re.compile(rb"[A-Z][A-Z0-9]{2}\Z")
_HEADS: Final = (b"MSH", b"BHS", b"FHS")
_TYPE, _CONTROL, _VERSION = 8, 9, 11  # of MSH, which counts its separator as a field
_PDF_END_BYTES: Final = 2 * limits.KIB
_JPEG_END_BYTES: Final = 64 * limits.KIB
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PIECE_BYTES: Final = 64 * limits.KIB


def check_hl7v2(file: BinaryIO) -> None:
    """Raises Damaged unless every segment has a name, and every message a type, an id and a version."""
    raw = file.read(limits.HL7V2_CHECK_BYTES_MAX + 1)
    if len(raw) > limits.HL7V2_CHECK_BYTES_MAX:
        raise Unchecked(f"it is larger than {limits.HL7V2_CHECK_BYTES_MAX // limits.MIB} MiB")
    separator = b""
    messages = 0
    for number, segment in enumerate(re.split(rb"[\r\n]+", raw.strip(b"\x0b\x1c\r\n\xef\xbb\xbf")), 1):
        segment = segment.strip(b"\x0b\x1c")
        if segment[:3] in _HEADS:
            separator = segment[3:4]
        fields = segment.split(separator) if separator else [segment]
        if not _SEGMENT.match(fields[0]):
            raise Damaged(f"its segment {number} begins with no name")
        if fields[0] == b"MSH":
            messages += 1
            if len(fields) <= _VERSION or not all(fields[at] for at in (_TYPE, _CONTROL, _VERSION)):
                raise Damaged(f"the message in its segment {number} has no type, control id or version")
    if not messages:
        raise Damaged("there is no message in it")


def check_pdf(file: BinaryIO) -> None:
    """Raises Damaged where the end is missing, without which no reader finds the pages."""
    end = _end(file, _PDF_END_BYTES)
    if b"startxref" not in end or b"%%EOF" not in end:
        raise Damaged("it is cut short: a PDF ends with startxref and %%EOF")


def check_image(file: BinaryIO) -> None:
    """Raises Damaged where PNG, JPEG, GIF or WebP is cut short; others are Unchecked."""
    start = file.read(12)
    if start.startswith(_PNG_START):
        file.seek(len(_PNG_START))
        _check_png(file)
    elif start.startswith(b"\xff\xd8\xff"):
        if b"\xff\xd9" not in _end(file, _JPEG_END_BYTES):
            raise Damaged("it is cut short: a JPEG image has an end marker")
    elif start.startswith(b"GIF8"):
        if not _end(file, limits.KIB).rstrip(b"\x00").endswith(b";"):
            raise Damaged("it is cut short: a GIF image ends with a semicolon")
    elif start.startswith(b"RIFF"):
        if file.seek(0, 2) < int.from_bytes(start[4:8], "little") + 8:
            raise Damaged("it is cut short: it is smaller than it says")
    else:
        raise Unchecked("nothing here looks into images of this kind")


def _check_png(file: BinaryIO) -> None:
    """Every chunk by its checksum, from the first to the one that ends the image."""
    kind, first = b"", True
    while kind != b"IEND":
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or (first and kind != b"IHDR"):
            raise Damaged("it is cut short, or no PNG image")
        first, sum_ = False, zlib.crc32(kind)
        while length:
            piece = file.read(min(length, _PIECE_BYTES))
            if not piece:
                raise Damaged("it is cut short")
            length, sum_ = length - len(piece), zlib.crc32(piece, sum_)
        if file.read(4) != sum_.to_bytes(4, "big"):
            raise Damaged("a part of it has another checksum than it says")


def _end(file: BinaryIO, count: int) -> bytes:
    """The last `count` bytes, or all."""
    size = file.seek(0, 2)
    file.seek(max(0, size - count))
    return file.read(count)
