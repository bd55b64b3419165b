"""The picture of a DICOM image: its first frame, as a PNG for a person to look at, never to diagnose from.

Only pixels that are not compressed are drawn: decoders of JPEG and its kin are where hostile files get in.
Grey values pass the rescale and the window that the image brings (DICOM PS3.3, C.11.1 and C.11.2.1.2.1),
and without a window the darkest and the brightest pixel make one. Large images are drawn with every n-th
pixel.
"""

import sys
import warnings
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from node.parsers.findings import Unchecked, missing_extra
from node.parsers.png import encode_png
from protocol import limits

if TYPE_CHECKING:
    from pydicom import Dataset

_WORDS: Final = 1 << 16


def draw_dicom(file: BinaryIO) -> bytes:
    """The picture. Raises Unchecked where there is none that can be drawn here."""
    try:
        from pydicom import dcmread
    except ImportError:
        raise missing_extra("dicom") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _draw(dcmread(file, force=True))
    except Unchecked:
        raise
    except MemoryError:
        raise Unchecked("it is too large") from None
    except Exception as error:  # pydicom has no error of its own for hostile bytes: this is the guard
        raise Unchecked(f"pydicom cannot read it: {type(error).__name__}") from None


def _draw(found: "Dataset") -> bytes:
    if "PixelData" not in found or "Rows" not in found or "Columns" not in found:
        raise Unchecked("it holds no image")
    syntax = found.file_meta.get("TransferSyntaxUID") if hasattr(found, "file_meta") else None
    if syntax is not None and (syntax.is_private or syntax.is_encapsulated):
        raise Unchecked(f"its pixels are compressed ({syntax.name})")
    rows, columns, samples = int(found.Rows), int(found.Columns), int(found.get("SamplesPerPixel", 1))
    if not 0 < rows * columns <= limits.PICTURE_PIXELS_MAX:
        raise Unchecked(f"it has {rows} rows of {columns} pixels")
    kind, bits = str(found.PhotometricInterpretation), int(found.BitsAllocated)
    size = rows * columns * samples * bits // 8
    pixels = bytes(found.PixelData[:size])
    if len(pixels) < size:
        raise Unchecked("pixels are missing")
    step = -(-max(rows, columns) // limits.PICTURE_SIDE_MAX)
    width, height = -(-columns // step), -(-rows // step)
    if kind in ("MONOCHROME1", "MONOCHROME2") and samples == 1 and bits in (8, 16):
        is_big = syntax is not None and not syntax.is_little_endian
        grey = _Grey(found, pixels, is_big=is_big)
        return encode_png(width, height, grey.rows(rows, columns, step), is_colour=False)
    if kind == "RGB" and samples == 3 and bits == 8:
        is_planar = bool(found.get("PlanarConfiguration", 0))
        return encode_png(width, height, _colours(pixels, rows, columns, step, is_planar), is_colour=True)
    raise Unchecked(f"its pixels are {kind} of {bits} bits")


class _Grey:
    """Turns stored values into shades, by a table of all values that there can be."""

    def __init__(self, found: "Dataset", pixels: bytes, *, is_big: bool) -> None:
        self._words: bytes | array[int] = pixels
        count = 1 << 8
        if int(found.BitsAllocated) == 16:
            words, count = array("H", pixels), _WORDS
            if is_big != (sys.byteorder == "big"):
                words.byteswap()
            self._words = words
        values = _stored_values(found, count)
        low, high = _window(found) or _extremes(values, self._words)
        is_inverted = found.PhotometricInterpretation == "MONOCHROME1"
        self._shades = bytes(_shade(value, low, high, is_inverted) for value in values)

    def rows(self, rows: int, columns: int, step: int) -> Iterator[bytes]:
        for row in range(0, rows, step):
            words = self._words[row * columns : (row + 1) * columns : step]
            if isinstance(words, bytes):
                yield words.translate(self._shades)
            else:
                yield bytes(map(self._shades.__getitem__, words))


def _stored_values(found: "Dataset", count: int) -> list[float]:
    """What each of `count` words means: its stored bits, with a sign where there is one, rescaled."""
    stored = int(found.get("BitsStored") or found.BitsAllocated)
    if not 1 <= stored <= found.BitsAllocated:
        raise Unchecked("it stores more bits than it has")
    slope, intercept = _number(found, "RescaleSlope", 1.0), _number(found, "RescaleIntercept", 0.0)
    sign = 1 << (stored - 1) if found.get("PixelRepresentation", 0) else 0
    mask = (1 << stored) - 1
    return [(((word & mask) ^ sign) - sign) * slope + intercept for word in range(count)]


def _window(found: "Dataset") -> tuple[float, float] | None:
    """The values that are black and white, of the first window; None where there is no usable one."""
    centre, width = _number(found, "WindowCenter", None), _number(found, "WindowWidth", None)
    if centre is None or width is None or not width >= 1:
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _extremes(values: list[float], words: "bytes | array[int]") -> tuple[float, float]:
    seen = [values[word] for word in set(words)]
    return min(seen), max(seen)


def _shade(value: float, low: float, high: float, is_inverted: bool) -> int:
    share = 0.0 if value <= low else 1.0 if value >= high else (value - low) / (high - low)
    return round(255 * (1 - share if is_inverted else share))


def _number(found: "Dataset", name: str, default: Any) -> Any:
    """The first value of an element as a number; `default` where there is none."""
    value = found.get(name)
    if value is None or value == "":
        return default
    first = value[0] if not isinstance(value, str) and hasattr(value, "__getitem__") else value
    return float(first)


def _colours(pixels: bytes, rows: int, columns: int, step: int, is_planar: bool) -> Iterator[bytes]:
    """Red, green and blue of each pixel side by side, wherever they lie in the image."""
    for row in range(0, rows, step):
        if is_planar:
            plane, start = rows * columns, row * columns
            parts = [pixels[at * plane + start : at * plane + start + columns : step] for at in range(3)]
        else:
            line = pixels[row * columns * 3 : (row + 1) * columns * 3]
            parts = [line[at :: 3 * step] for at in range(3)]
        mixed = bytearray(3 * len(parts[0]))
        for at, part in enumerate(parts):
            mixed[at::3] = part
        yield bytes(mixed)
