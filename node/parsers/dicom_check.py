"""The structure of a DICOM file by pydicom: every element, and whether the pixels are all there.

Large values are passed over and not read: of them only the length counts.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from node.parsers.findings import Damaged, missing_extra
from protocol import limits

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import RawDataElement

_DEFER_BYTES: Final = 64 * limits.KIB
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_UNDEFINED: Final = 0xFFFFFFFF


@dataclass
class DicomNames:
    """What an index says of a file: its series, itself, and how it was made."""

    series: str = ""
    instance: str = ""
    modality: str = ""


def check_dicom(file: BinaryIO, names: DicomNames) -> None:
    """Raises Damaged unless it is whole; fills in `names`."""
    try:
        from pydicom import dcmread
    except ImportError:
        raise missing_extra("dicom") from None
    size: int | None = file.seek(0, 2)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are odd and can be read
            found = dcmread(file, defer_size=_DEFER_BYTES, force=True)
            if _syntax_is(found, "is_deflated"):
                # Places in it are not places in the file. What it inflates to is bounded by our memory.
                file.seek(0)
                found, size = dcmread(file, force=True), None
            _check_elements(found, size)
            _check_whole(found, names)
    except (Damaged, MemoryError, RecursionError):
        raise
    except Exception as error:  # pydicom has no error of its own for hostile bytes: this is the guard
        raise Damaged(f"pydicom cannot read it: {type(error).__name__}") from None


def _check_elements(found: "Dataset", size: int | None) -> None:
    """Each by its own; `size` is where the last one has to end."""
    from pydicom.dataelem import RawDataElement

    tags = sorted(found.keys())
    for tag in tags:
        raw = found.get_item(tag, keep_deferred=True)
        if isinstance(raw, RawDataElement):
            _check_raw(raw, size, is_last=tag == tags[-1])
            if raw.value is None:
                continue
        if tag not in _PIXELS:
            _ = found[tag].value


def _check_raw(raw: "RawDataElement", size: int | None, *, is_last: bool) -> None:
    if raw.length == _UNDEFINED:
        return
    end = raw.value_tell + raw.length
    held = raw.length if raw.value is None else len(raw.value)
    if held < raw.length or (size is not None and end > size):
        raise Damaged(f"it is cut short within {raw.tag}")
    # What pydicom cannot read at the end it passes over without a word.
    if size is not None and is_last and end != size:
        raise Damaged(f"it is cut short after {raw.tag}, or something else follows")


def _check_whole(found: "Dataset", names: DicomNames) -> None:
    kind = str(found.file_meta.get("MediaStorageSOPClassUID", "")) if hasattr(found, "file_meta") else ""
    if kind == _DIRECTORY:
        return
    names.instance = _word(found, "SOPInstanceUID")
    names.series, names.modality = _word(found, "SeriesInstanceUID"), _word(found, "Modality")
    if not names.instance:
        raise Damaged("it has no SOP Instance UID, as every object of DICOM has")
    if "Rows" in found and "Columns" in found:
        if not any(tag in found for tag in _PIXELS):
            raise Damaged("it describes an image and has no pixels")
        _check_pixels(found)


def _check_pixels(found: "Dataset") -> None:
    """Where pixels are not compressed, as many bytes as the image needs."""
    raw = found.get_item(_PIXELS[-1], keep_deferred=True) if _PIXELS[-1] in found else None
    if raw is None or _syntax_is(found, "is_encapsulated"):
        return
    length = getattr(raw, "length", None)
    held = len(raw.value) if length is None or length == _UNDEFINED else length
    frames = int(found.get("NumberOfFrames") or 1)
    bits = found.Rows * found.Columns * found.get("SamplesPerPixel", 1) * found.BitsAllocated * frames
    if found.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    if held < -(-bits // 8):
        raise Damaged(f"its pixels are {held} bytes and should be {-(-bits // 8)}")


def _syntax_is(found: "Dataset", what: str) -> bool:
    meta = getattr(found, "file_meta", None)
    syntax = None if meta is None else meta.get("TransferSyntaxUID")
    # Of a private transfer syntax pydicom cannot tell, and raises.
    return syntax is not None and not syntax.is_private and bool(getattr(syntax, what))


def _word(found: "Dataset", name: str) -> str:
    word = str(found.get(name, "") or "")[: limits.DICOM_WORD_CHARS_MAX]
    return word if word.isprintable() else ""
