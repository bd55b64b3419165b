"""Whether a file has the structure of its type: with a library of its ecosystem, or by plain rules."""

from collections.abc import Callable
from typing import BinaryIO, Final

from node.parsers import plain_checks
from node.parsers.dicom_check import DicomNames, check_dicom
from node.parsers.fhir_check import check_fhir
from node.parsers.findings import Damaged, Unchecked
from node.parsers.markup import check_document
from protocol.errors import Malformed
from protocol.examined import Examined
from protocol.records import SNIFF_BYTES_MAX, RecordType, recognise
from protocol.study import Unpacker

_PIECE_BYTES: Final = 64 * 1024


def check_file(path: str, said: str = "auto") -> Examined:
    """What the file is and whether it is whole. `said` is a type that its owner insists on."""
    try:
        with open(path, "rb") as file:
            kind = said if said != "auto" else recognise(file.read(SNIFF_BYTES_MAX), path).value
            file.seek(0)
            return _check(file, kind)
    except OSError as error:
        return Examined(said, "unchecked", f"it cannot be read: {error.strerror}")


def _check(file: BinaryIO, kind: str) -> Examined:
    names = DicomNames()
    try:
        if kind == RecordType.DICOM:
            check_dicom(file, names)
        elif kind in CHECKS:
            CHECKS[kind](file)
        else:
            raise Unchecked("nothing is known about files of this kind")
    except Damaged as error:
        return Examined(kind, "damaged", str(error))
    except Unchecked as error:
        return Examined(kind, "unchecked", str(error))
    except (MemoryError, RecursionError):
        return Examined(kind, "damaged", "it cannot be read within the limits of memory and depth")
    return Examined(kind, "sound", "", names.series, names.instance, names.modality)


def _check_study(file: BinaryIO) -> None:
    unpacker = Unpacker()
    try:
        while piece := file.read(_PIECE_BYTES):
            for _ in unpacker.feed(piece):
                pass
        unpacker.finish()
    except Malformed as error:
        raise Damaged(str(error)) from error


CHECKS: Final[dict[str, Callable[[BinaryIO], None]]] = {
    RecordType.FHIR: check_fhir,
    RecordType.CDA: check_document,
    RecordType.STUDY: _check_study,
    RecordType.HL7V2: plain_checks.check_hl7v2,
    RecordType.PDF: plain_checks.check_pdf,
    RecordType.IMAGE: plain_checks.check_image,
}
