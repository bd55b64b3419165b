"""What the parsers' program says of a file: the contract between it and those that run it."""

from typing import Literal, TypeVar

import msgspec

from protocol import limits
from protocol.errors import Malformed

T = TypeVar("T")

LINE_BYTES_MAX = 8 * limits.KIB


class ToExamine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file on this machine, and the type that its owner says it has; `auto` where it is to be told."""

    path: str
    type: str = "auto"


class Examined(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sound` is a file whose structure is that of its type, `damaged` one that is broken or cut short;
    where nothing could look it is `unchecked`. `why` says what was found, or why nobody looked, as the
    rest of a sentence. The last three are of DICOM, and empty for all else."""

    type: str
    state: Literal["sound", "damaged", "unchecked"]
    why: str = ""
    series: str = ""
    instance: str = ""
    modality: str = ""


class NarrativeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a section of a document says to people, line by line, as plain text."""

    title: str
    lines: tuple[str, ...]


class Narrative(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a document says. With `is_cut` it says more than is read out here."""

    title: str
    sections: tuple[NarrativeSection, ...]
    is_cut: bool = False


def encode_asked(asked: list[ToExamine]) -> bytes:
    return msgspec.json.encode(asked)


def decode_asked(raw: bytes) -> list[ToExamine]:
    """Raises Malformed where it is no list of files."""
    return _decode(raw, list[ToExamine])


def encode_examined(one: Examined | Narrative) -> bytes:
    return msgspec.json.encode(one)


def decode_examined(raw: bytes) -> Examined:
    """Raises Malformed where it is not what was found."""
    if len(raw) > LINE_BYTES_MAX:
        raise Malformed("longer than what can be said of a file")
    return _decode(raw, Examined)


def decode_narrative(raw: bytes) -> Narrative:
    """Raises Malformed where it is not what a document says."""
    return _decode(raw, Narrative)


def _decode(raw: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("not what the parsers' program says") from error
