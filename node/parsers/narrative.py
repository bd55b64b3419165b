"""The narrative of a CDA document as plain text: what its authors wrote for people."""

from typing import BinaryIO, Final

from node.parsers.markup import CDA, Walk
from protocol import limits
from protocol.examined import Narrative, NarrativeSection

# Elements of the narrative block that begin on a line of their own (CDA R2, section 4.3.5).
_LINES: Final = frozenset(
    CDA + name for name in ("paragraph", "item", "tr", "br", "list", "table", "caption", "footnote")
)
_CELLS: Final = (f"{CDA}td", f"{CDA}th")
_TITLE, _SECTION, _TEXT = f"{CDA}title", f"{CDA}section", f"{CDA}text"
_ROOT: Final = f"{CDA}ClinicalDocument"


def read_narrative(file: BinaryIO) -> Narrative:
    """Raises Damaged where it is no whole XML."""
    reader = _Reader()
    reader.run(file)
    sections = tuple(one for one in reader.sections if one.title or one.lines)
    return Narrative(reader.title or "Document", sections, reader.is_cut)


class _Reader(Walk):
    """Sections in the order in which they begin; one within another is a section of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.is_cut = False
        self._found: list[tuple[list[str], list[str]]] = []  # title and lines
        self._open: list[int] = []  # those that the parse is in
        self._words: list[str] = []
        self._text_depth = 0
        self._chars = 0

    @property
    def sections(self) -> list[NarrativeSection]:
        return [NarrativeSection(" ".join(title), tuple(lines)) for title, lines in self._found]

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == _SECTION and not self._text_depth:
            if len(self._found) >= limits.NARRATIVE_SECTIONS_MAX:
                self.is_cut = True
            else:
                self._found.append(([], []))
            self._open.append(len(self._found) - 1)
        elif name == _TEXT and len(self.path) > 1 and self.path[-2] == _SECTION:
            self._text_depth = len(self.path)
        elif name in _LINES:
            self._break()

    def end(self, name: str) -> None:
        if name == _TITLE and len(self.path) > 1:
            if self.path[-2] == _ROOT:
                self.title = self._take()
            elif self.path[-2] == _SECTION and self._open:
                self._found[self._open[-1]][0].append(self._take())
        elif self._text_depth == len(self.path):
            self._break()
            self._text_depth = 0
        elif self._text_depth and name in _LINES:
            self._break()
        elif self._text_depth and name in _CELLS:
            self._words.append(" | ")
        if name == _SECTION and not self._text_depth and self._open:
            self._open.pop()

    def text(self, some: str) -> None:
        is_title = self.path[-1:] == [_TITLE]
        if (self._text_depth or is_title) and self._chars < limits.NARRATIVE_CHARS_MAX:
            self._words.append(some)
            self._chars += len(some)
        elif self._text_depth:
            self.is_cut = True

    def _take(self) -> str:
        """What was said since the last line, its spaces as one."""
        said = " ".join("".join(self._words).split()).removesuffix("|").strip()
        self._words = []
        return said

    def _break(self) -> None:
        said = self._take()
        if said and self._text_depth and self._open:
            self._found[self._open[-1]][1].append(said)
