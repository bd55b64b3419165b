"""What kind of record some bytes are, told from their beginning: never a parse, never an error; and what
its file is called.

The answer chooses a label and a viewer. It decides nothing about access, so a wrong guess is harmless.
"""

import re
from enum import StrEnum
from typing import Final

from protocol import limits
from protocol.study import MAGIC as _STUDY_PREFIX

_UNSAFE: Final = re.compile(r"[^\w.()+-]+")
_NAME_CHARS_MAX: Final = 100
_TOKEN_CHARS: Final = 12
SNIFF_BYTES_MAX: Final = 64 * limits.KIB


class RecordType(StrEnum):
    """The record types that have a name; everything else is OTHER."""

    FHIR = "fhir"
    DICOM = "dicom"
    STUDY = "study"
    CDA = "cda"
    HL7V2 = "hl7v2"
    PDF = "pdf"
    IMAGE = "image"
    OTHER = "other"


# DICOM PS3.10 §7.1: 128 bytes of preamble, then the prefix.
_DICOM_PREFIX_AT: Final = 128
_DICOM_PREFIX: Final = b"DICM"
# Files older than PS3.10 start with their first element: group 0002 or 0008, little or big endian.
_DICOM_BARE_STARTS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_DICOM_NAMES: Final = (".dcm", ".dicom")
# Readers accept the PDF header anywhere in the first KiB (ISO 32000-1, annex H.3.4.1).
_PDF_PREFIX: Final = b"%PDF-"
# PNG, JPEG, GIF, TIFF of either byte order, JPEG 2000; WebP and HEIF say it a few bytes later.
_IMAGE_STARTS: Final = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",
)
_IMAGE_LATER: Final = (
    (b"RIFF", b"WEBP", 8),
    (b"\x00\x00\x00", b"ftypheic", 4),
    (b"\x00\x00\x00", b"ftypmif1", 4),
)

_FHIR_JSON: Final = re.compile(r'"resourceType"\s{0,64}:\s{0,64}"[A-Z]')
_FHIR_NAMESPACE: Final = "http://hl7.org/fhir"
_CDA_NAMESPACE: Final = "urn:hl7-org:v3"
_NAMESPACE: Final = re.compile(r"""xmlns(?::[\w.-]{1,64})?\s{0,64}=\s{0,64}["']([^"']{1,256})["']""")
# HL7 v2.5.1 §2.14: a message, a batch or a file of them begins with the characters that part its fields,
# perhaps behind the byte that begins a block of MLLP.
_HL7V2: Final = re.compile(r"\x0b?(?:MSH|BHS|FHS)([^\w\s])[^\w\s]{3,5}\1")
_SPACE: Final = re.compile(r"\s*")


def recognise(first_bytes: bytes, name: str) -> RecordType:
    """The type of the record that begins with `first_bytes`, of which 64 KiB are looked at.

    `name` is the file's name. It counts only where bytes cannot tell: a DICOM file without the prefix.
    """
    start = bytes(first_bytes[:SNIFF_BYTES_MAX])
    if start.startswith(_DICOM_PREFIX, _DICOM_PREFIX_AT):
        return RecordType.DICOM
    if start.startswith(_STUDY_PREFIX):
        return RecordType.STUDY
    if _is_image(start):
        return RecordType.IMAGE
    text = _text(start)
    if _HL7V2.match(text):
        return RecordType.HL7V2
    if text.startswith("{") and _FHIR_JSON.search(text):
        return RecordType.FHIR
    if text.startswith("<"):
        named = _markup_type(text)
        if named is not RecordType.OTHER:
            return named
    if _PDF_PREFIX in start[: limits.KIB]:
        return RecordType.PDF
    if name.lower().endswith(_DICOM_NAMES) and start.startswith(_DICOM_BARE_STARTS):
        return RecordType.DICOM
    return RecordType.OTHER


def _is_image(start: bytes) -> bool:
    later = any(start.startswith(first) and start.startswith(then, at) for first, then, at in _IMAGE_LATER)
    return later or start.startswith(_IMAGE_STARTS)


def _text(start: bytes) -> str:
    """`start` as text, from its first character that is no space; the encoding told by its mark."""
    marked_utf16 = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    return start.decode("utf-16" if marked_utf16 else "utf-8-sig", "replace").lstrip()


def _markup_type(text: str) -> RecordType:
    root = _root_tag(text)
    spaces = set(_NAMESPACE.findall(root))
    if _FHIR_NAMESPACE in spaces:
        return RecordType.FHIR
    is_document = re.match(r"<(?:[\w.-]{1,64}:)?ClinicalDocument\b", root)
    return RecordType.CDA if is_document and _CDA_NAMESPACE in spaces else RecordType.OTHER


def _root_tag(text: str) -> str:
    """The first tag after declarations, comments and processing instructions, or an empty string."""
    at = 0
    while text.startswith(("<?", "<!"), at):
        end = "-->" if text.startswith("<!--", at) else ">"
        found = text.find(end, at)
        if found < 0:
            return ""
        at = _SPACE.match(text, found + len(end)).end()  # type: ignore[union-attr]
    return text[at : text.find(">", at) + 1]


def safe_name(token: str, suggested: str) -> str:
    """A file name for a record: the token's beginning, then what its issuer called it, made harmless."""
    base = suggested.replace("\\", "/").rsplit("/", 1)[-1]
    clean = _UNSAFE.sub("_", base).strip("._")[-_NAME_CHARS_MAX:]
    return f"{token[:_TOKEN_CHARS]}-{clean}" if clean else token[:_TOKEN_CHARS]
