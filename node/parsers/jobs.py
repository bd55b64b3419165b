"""What the parsers' program can be asked for: bytes in, bytes out."""

import io
from collections.abc import Callable
from typing import BinaryIO, Final

from node.parsers.checks import check_file
from node.parsers.confine import allow_time
from node.parsers.findings import Damaged, Unchecked
from node.parsers.narrative import read_narrative
from node.parsers.pictures import draw_dicom
from protocol import limits
from protocol.examined import Examined, decode_asked, encode_examined
from protocol.records import RecordType


def check(given: BinaryIO, out: BinaryIO) -> None:
    """Says of each file that is named what was found, one a line."""
    for one in decode_asked(given.read()):
        allow_time()
        out.write(encode_examined(check_file(one.path, one.type)) + b"\n")
        out.flush()


def picture(given: BinaryIO, out: BinaryIO) -> None:
    """A PNG of the DICOM image that is given, or why there is none."""
    _tell(lambda: draw_dicom(_whole(given)), RecordType.DICOM, out)


def narrative(given: BinaryIO, out: BinaryIO) -> None:
    """What the CDA document that is given says, or why that cannot be told."""
    _tell(lambda: encode_examined(read_narrative(_whole(given))), RecordType.CDA, out)


def _whole(given: BinaryIO) -> BinaryIO:
    """All of standard input, which is a pipe, as something that can be read back and forth."""
    return io.BytesIO(given.read(limits.LOOK_BYTES_MAX))


def _tell(look: Callable[[], bytes], kind: RecordType, out: BinaryIO) -> None:
    try:
        said = look()
    except Damaged as error:
        said = encode_examined(Examined(kind, "damaged", str(error)))
    except Unchecked as error:
        said = encode_examined(Examined(kind, "unchecked", str(error)))
    out.write(said)


JOBS: Final[dict[str, Callable[[BinaryIO, BinaryIO], None]]] = {
    "check": check,
    "picture": picture,
    "narrative": narrative,
}
