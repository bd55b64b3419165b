"""Small DICOM files with pictures that a person can recognise: a bright disc on a dark ground."""

import io
import warnings
from pathlib import Path
from typing import Any

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

SIDE = 32
SERIES = "1.2.826.0.1.3680043.8.498.1"


def disc(side: int = SIDE, *, inside: int = 1100, outside: int = 900) -> bytes:
    """16-bit pixels, row by row."""
    middle, radius = (side - 1) / 2, side / 3
    pixels = (
        inside if (x - middle) ** 2 + (y - middle) ** 2 <= radius**2 else outside
        for y in range(side)
        for x in range(side)
    )
    return b"".join(one.to_bytes(2, "little") for one in pixels)


def dicom(number: int = 1, pixels: bytes | None = None, **fields: Any) -> bytes:
    """A CT image, or whatever `fields` make of it; a field that is None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{SERIES}.{number}")
    meta.TransferSyntaxUID = UID(fields.pop("TransferSyntaxUID", ExplicitVRLittleEndian))
    is_little = meta.TransferSyntaxUID.is_little_endian
    found = FileDataset(
        "", {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=False, is_little_endian=is_little
    )
    chosen: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{SERIES}.{number}",
        "SeriesInstanceUID": SERIES,
        "Modality": "CT",
        "InstanceNumber": number,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": SIDE,
        "Columns": SIDE,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "WindowCenter": 1000,
        "WindowWidth": 200,
        "PixelData": disc() if pixels is None else pixels,
    } | fields
    for name, value in chosen.items():
        if value is not None:
            setattr(found, name, value)
    if "PixelData" in found:
        found["PixelData"].VR = "OW"
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.save_as(out, enforce_file_format=True)
    return out.getvalue()


def write_study(folder: Path, count: int) -> dict[str, bytes]:
    """A folder with `count` images and a letter; its files by path."""
    files = {f"series-1/IM{number:04}": dicom(number) for number in range(1, count + 1)}
    files["letter.txt"] = b"What the radiologist says.\n"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files
