"""XML with nothing declared in it: whether it is whole, whether it is a C-CDA document, and its narrative.

Expat calls nobody for what is outside, and a document type declaration, which is where entities that
grow come from, ends the parse at once: neither FHIR nor CDA has any.
"""

from typing import BinaryIO, Final, NoReturn
from xml.parsers import expat

from node.parsers.findings import Damaged
from protocol import limits

_PIECE_BYTES: Final = 64 * limits.KIB
_NAMESPACE_END: Final = "\x1f"
CDA: Final = f"urn:hl7-org:v3{_NAMESPACE_END}"
# What the header of every CDA R2 document has (HL7 CDA R2, section 4.2), and its body.
_REQUIRED: Final = (
    "typeId",
    "id",
    "code",
    "effectiveTime",
    "confidentialityCode",
    "recordTarget",
    "author",
    "custodian",
    "component",
)


class Walk:
    """Follows a document from tag to tag. Subclasses take what they need; names have their namespace."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=_NAMESPACE_END)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self.text
        self._parser.StartDoctypeDeclHandler = self._refuse

    def run(self, file: BinaryIO) -> None:
        """Raises Damaged where it is not well-formed, or has what these documents never have."""
        try:
            while piece := file.read(_PIECE_BYTES):
                self._parser.Parse(piece, False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Damaged(f"it is no whole XML: {error}") from None
        except ValueError:  # an encoding that expat does not know
            raise Damaged("its encoding is unknown") from None

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins; `path` ends with it."""

    def end(self, name: str) -> None:
        """An element ends; `path` still ends with it."""

    def text(self, some: str) -> None:
        """Characters within the last element of `path`."""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) > limits.MARKUP_DEPTH_MAX:
            raise Damaged("its elements are nested too deep")
        self.begin(name, attributes)

    def _end(self, name: str) -> None:
        self.end(name)
        self.path.pop()

    def _refuse(self, *_: object) -> NoReturn:
        raise Damaged("it declares a document type, which such documents never do")


class _Document(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.path) == 1 and name != f"{CDA}ClinicalDocument":
            raise Damaged("it is no ClinicalDocument of HL7 V3")
        if len(self.path) == 2:
            self.found.add(name.removeprefix(CDA))


def check_well_formed(file: BinaryIO) -> None:
    """Raises Damaged unless it is whole XML."""
    Walk().run(file)


def check_document(file: BinaryIO) -> None:
    """Raises Damaged unless it is a whole CDA document with the parts that each has."""
    document = _Document()
    document.run(file)
    missing = [part for part in _REQUIRED if part not in document.found]
    if missing:
        raise Damaged(f"it lacks {', '.join(missing)}, which every CDA document has")
