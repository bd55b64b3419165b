"""The structure of FHIR R4, resource by resource, by the models of fhir.resources (its R4B).

Profiles, terminologies and references are nobody's business here. R4B changed a few kinds of resources,
which its models would judge wrongly: those are left unjudged.
"""

from typing import Any, BinaryIO, Final

import msgspec

from node.parsers.findings import Damaged, Unchecked, missing_extra
from node.parsers.markup import check_well_formed
from protocol import limits

_CHANGED_IN_R4B: Final = (
    "Evidence",
    "EvidenceVariable",
    "EffectEvidenceSynthesis",
    "RiskEvidenceSynthesis",
)
_WHERE_CHARS_MAX: Final = 120
_WHY_CHARS_MAX: Final = 200


def check_fhir(file: BinaryIO) -> None:
    """Raises Damaged or Unchecked unless it is a sound resource, bundle or NDJSON of resources."""
    first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    if first.startswith(b"<") or b"\x00" in first:
        check_well_formed(file)
        raise Unchecked("of FHIR in XML it was only looked at that it is well-formed")
    raw = file.read(limits.FHIR_CHECK_BYTES_MAX + 1)
    try:
        values = [("", _json(raw))] if len(raw) <= limits.FHIR_CHECK_BYTES_MAX else None
    except Damaged:
        values = None
    if values is not None:
        _Judge().judge_all(values)
        return
    file.seek(0)
    if _is_one_document(file):
        if len(raw) > limits.FHIR_CHECK_BYTES_MAX:
            raise Unchecked(f"it is larger than {limits.FHIR_CHECK_BYTES_MAX // limits.MIB} MiB")
        _json(raw)  # says where it breaks off
    file.seek(0)
    _check_lines(file)


def _is_one_document(file: BinaryIO) -> bool:
    """Whether the first line is no JSON by itself, as it is in NDJSON."""
    line = file.readline(limits.FHIR_CHECK_BYTES_MAX)
    try:
        _json(line)
    except Damaged:
        return True
    return False


def _check_lines(file: BinaryIO) -> None:
    judge, number = _Judge(), 0
    while line := file.readline(limits.FHIR_CHECK_BYTES_MAX):
        number += 1
        if line.strip():
            try:
                judge.judge_all([(f"line {number}", _json(line))])
            except Damaged as error:
                where = f"line {number}"
                raise Damaged(str(error) if where in str(error) else f"in {where} {error}") from None


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"it is no whole JSON: {error}"[:_WHY_CHARS_MAX]) from None


class _Judge:
    """Judges one resource after the other, and keeps the models that it needed."""

    def __init__(self) -> None:
        try:
            from fhir.resources.R4B import get_fhir_model_class
        except ImportError:
            raise missing_extra("fhir") from None
        self._model = get_fhir_model_class
        self._unjudged: set[str] = set()

    def judge_all(self, values: list[tuple[str, Any]]) -> None:
        """Raises Damaged at the first that is; Unchecked where there is no model for some."""
        for where, value in values:
            self._judge(value, where)
        if self._unjudged:
            raise Unchecked(f"there is no model of {', '.join(sorted(self._unjudged))}"[:_WHY_CHARS_MAX])

    def _judge(self, value: Any, where: str) -> None:
        kind = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            raise Damaged(f"{where or 'the whole'} is no resource of FHIR")
        if kind in _CHANGED_IN_R4B:
            self._unjudged.add(kind)
            return
        if kind == "Bundle":
            value = self._judge_entries(value, where)
        try:
            model = self._model(kind)
        except (ValueError, KeyError, LookupError):
            # Of R4's kinds that R4B dropped, and of what is none at all, neither has a model.
            self._unjudged.add(kind[:40])
            return
        try:
            model.model_validate(value)
        except ValueError as error:
            raise Damaged(f"{where + ': ' if where else ''}{_first(error, kind)}") from None

    def _judge_entries(self, bundle: dict[str, Any], where: str) -> dict[str, Any]:
        """The bundle without its resources, each of which was judged by itself, so that memory is flat."""
        entries = bundle.get("entry", [])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise Damaged("its entries are none of FHIR")
        for number, entry in enumerate(entries, 1):
            if "resource" in entry:
                self._judge(entry["resource"], f"{where + ', ' if where else ''}entry {number}")
        bare = [{key: one for key, one in entry.items() if key != "resource"} for entry in entries]
        kept = [entry for entry in bare if entry]
        return {**bundle, "entry": kept} if kept else {key: bundle[key] for key in bundle if key != "entry"}


def _first(error: ValueError, kind: str) -> str:
    """The first thing that is wrong: where, and what; nothing of what the record says."""
    found = getattr(error, "errors", None)
    if found is None:
        return f"{kind} is not as FHIR has it"
    first = found(include_input=False, include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])[:_WHERE_CHARS_MAX]
    return f"{kind}.{path}: {first['msg']}"[:_WHY_CHARS_MAX]
