"""Whether record files are whole, before they become records. Parsers run in a program of their own."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from cli import render
from cli.files import RecordFile, file_error
from cli.launch import run_parsers
from cli.studies import StudyFolder
from protocol.errors import Code, Malformed, UserError
from protocol.examined import Examined, ToExamine, decode_examined, encode_asked
from protocol.records import SNIFF_BYTES_MAX, RecordType, recognise

DAMAGED: Final = "damaged"
UNCHECKED: Final = "unchecked"
_WORST_FIRST: Final = (DAMAGED, UNCHECKED, "sound")
_NAMED_MAX: Final = 3

Source = RecordFile | StudyFolder


def examine(paths: Sequence[Path], said: str = "auto") -> list[Examined]:
    """What each file is, and whether it is as such files are. `said` is the type that its owner gave it.

    Files of no known kind are told by their first bytes, and no program is started for them.
    """
    types = [said if said != "auto" else _recognise(path) for path in paths]
    asked = [
        ToExamine(str(path.absolute()), kind)
        for path, kind in zip(paths, types, strict=True)
        if kind != RecordType.OTHER
    ]
    lines = run_parsers("check", encode_asked(asked)).splitlines() if asked else []
    # A program that ended early was ended by the first file that it said nothing of.
    answers = iter([_answer(one, line) for one, line in zip_longest(asked, lines[: len(asked)])])
    return [
        Examined(kind, "unchecked", "nothing is known of its kind")
        if kind == RecordType.OTHER
        else next(answers)
        for kind in types
    ]


def examine_all(opened: Sequence[Source], said: str, *, as_is: bool) -> list[str]:
    """How each is, in a word, and notes about what was not found sound. Folders are made ready to be read.

    Raises:
        UserError: RECORD_DAMAGED, one is damaged; RECORD_FILE, a folder is no study. With `as_is`, neither.
    """
    singles = iter(examine([one.path for one in opened if isinstance(one, RecordFile)], said))
    found: list[tuple[str, Examined]] = []
    states: list[str] = []
    folders: list[tuple[StudyFolder, list[Examined]]] = []
    for one in opened:
        if isinstance(one, RecordFile):
            each = [(one.name, next(singles))]
        else:
            each = list(zip(one.files, examine(list(one.files.values())), strict=True))
            folders.append((one, [what for _, what in each]))
            if not as_is and not any(what.type == RecordType.DICOM for _, what in each):
                raise file_error(
                    f"no file in {one.path} is DICOM",
                    "name the files one by one, or add the folder as it is with --as-is",
                )
        found += each
        # What else lies in the folder of a study is nobody's to judge.
        judged = [what.state for _, what in each if what.type != RecordType.OTHER]
        states.append(min(judged, key=_WORST_FIRST.index, default=UNCHECKED))
    if not as_is:
        _refuse_damaged(found)
    for folder, files in folders:
        folder.describe(files)
    _note(found)
    return states


def _note(found: Sequence[tuple[str, Examined]]) -> None:
    """Says what was not found sound, once for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, one in found:
        if one.type != RecordType.OTHER and one.why:
            what = "structure not checked" if one.state == UNCHECKED else "added as it is"
            reasons.setdefault(f"{what}: {one.why}", []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        render.note(f"{names[0]}{more}: {reason}")


def _refuse_damaged(found: Sequence[tuple[str, Examined]]) -> None:
    damaged = [f"{name}: {one.why}" for name, one in found if one.state == DAMAGED]
    if damaged:
        rest = len(damaged) - _NAMED_MAX
        named = "; ".join(damaged[:_NAMED_MAX]) + (f"; and {rest} more" if rest > 0 else "")
        raise UserError(
            f"damaged, or not what it should be: {named}",
            "get the file again from where it came from, or add it as it is with --as-is",
            code=Code.RECORD_DAMAGED,
        )


def _recognise(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return recognise(file.read(SNIFF_BYTES_MAX), path.name).value
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}",
            "check the path and its permissions",
            code=Code.RECORD_FILE,
        ) from error


def _answer(one: ToExamine | None, line: bytes | None) -> Examined:
    assert one is not None, "as many lines as files at most"
    try:
        return decode_examined(line or b"")
    except Malformed:
        return Examined(
            one.type, "damaged", "it cannot be looked into within the limits of time and memory"
        )
