"""What a vector is: one input, and whether it is valid; if not, the one thing that is wrong with it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "own"


@dataclass(frozen=True)
class Case:
    """`wrong` is empty for a valid input. Bytes in `given` are hexadecimal, and so is what it `gives`."""

    kind: str
    name: str
    wrong: str
    given: dict[str, Any]
    gives: str = field(default="")

    def text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def path(self) -> Path:
        return FOLDER / self.kind / f"{self.name}.json"


def read() -> Iterator[Case]:
    """Every case on disk, in path order."""
    for path in sorted(FOLDER.rglob("*.json")):
        yield Case(**json.loads(path.read_text("utf-8")))


def write(cases: list[Case]) -> None:
    """Replaces all files by these."""
    assert len({case.path for case in cases}) == len(cases), "two cases of one name"
    for path in FOLDER.rglob("*.json"):
        path.unlink()
    for case in cases:
        case.path.parent.mkdir(parents=True, exist_ok=True)
        case.path.write_text(case.text(), "utf-8")
