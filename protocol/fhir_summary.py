"""A patient summary out of a patient's FHIR records from several clinics: a document with the sections of
the International Patient Summary (http://hl7.org/fhir/uv/ips, LOINC codes from there).

Every section's text is what `protocol.fhir` reads out of its resources. The three sections that a summary
has to have are there always; one of which nothing is known says `unavailable`, whatever the reason. Nothing
is judged: what is active, past or wrong, its clinic wrote.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from protocol.errors import Malformed
from protocol.fhir import read_bundle
from protocol.fhir_merge import (
    CLINIC_SYSTEM,
    FhirSource,
    Json,
    Merged,
    encode_bundle,
    merge,
    name_of,
)

LOINC: Final = "http://loinc.org"
_OVER: Final = ("inactive", "remission", "resolved")


def _codes(concepts: object) -> set[str]:
    """All codes of a CodeableConcept, or of a list of them, in any system."""
    found: set[str] = set()
    for concept in concepts if isinstance(concepts, list) else [concepts]:
        codings = concept.get("coding") if isinstance(concept, dict) else None
        for coding in codings if isinstance(codings, list) else []:
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                found.add(coding["code"])
    return found


def _is_over(body: Json) -> bool:
    return not _codes(body.get("clinicalStatus")).isdisjoint(_OVER)


def _is_result(body: Json) -> bool:
    return body["resourceType"] == "DiagnosticReport" or "laboratory" in _codes(body.get("category"))


def _is_vital_sign(body: Json) -> bool:
    return "vital-signs" in _codes(body.get("category"))


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    code: str
    kinds: tuple[str, ...]
    takes: Callable[[Json], bool] = lambda body: True
    is_required: bool = False


SECTIONS: Final = (
    _Section("Active Problems", "11450-4", ("Condition",), lambda one: not _is_over(one), is_required=True),
    _Section("Allergies and Intolerances", "48765-2", ("AllergyIntolerance",), is_required=True),
    _Section("Medication", "10160-0", ("MedicationStatement", "MedicationRequest"), is_required=True),
    _Section("Immunizations", "11369-6", ("Immunization",)),
    _Section("Procedures", "47519-4", ("Procedure",)),
    _Section("Results", "30954-2", ("Observation", "DiagnosticReport"), _is_result),
    _Section("Vital Signs", "8716-3", ("Observation",), _is_vital_sign),
    _Section("Past Illnesses", "11348-0", ("Condition",), _is_over),
)


def summarise(
    sources: Sequence[FhirSource], *, patient: str, clinic: str, clinic_name: str, timestamp: str
) -> bytes:
    """A bundle of the type document. `patient` is what she is called where no record says it, `clinic` the
    identity key in hex of who makes this, `timestamp` an instant of FHIR.

    Raises:
        Malformed: a record is no FHIR in JSON, or over its limits.
    """
    merged = merge(sources)
    subjects = {name: one for name, one in merged.resources.items() if one["resourceType"] == "Patient"}
    if not subjects:
        made: Json = {"resourceType": "Patient", "name": [{"text": patient}]}
        subjects = {name_of(made): made}
    subject = next(iter(subjects))
    author: Json = {
        "resourceType": "Organization",
        "identifier": [{"system": CLINIC_SYSTEM, "value": clinic}],
        "name": clinic_name,
    }
    sections, wanted = [], [subject]
    for section in SECTIONS:
        names = [name for name, one in merged.resources.items() if _belongs(one, section)]
        wanted += names
        if names or section.is_required:
            sections.append(_section(section, names, merged))
    composition: Json = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": "60591-5"}], "text": "Patient summary"},
        "subject": {"reference": subject},
        "date": timestamp,
        "author": [{"reference": name_of(author)}],
        "title": "International Patient Summary",
        "section": sections,
    }
    document = {name_of(composition): composition, subject: subjects[subject], name_of(author): author}
    document |= {name: merged.resources[name] for name in _reached(wanted, merged)}
    head: Json = {
        "identifier": {"system": "urn:ietf:rfc:3986", "value": name_of(composition)},
        "type": "document",
        "timestamp": timestamp,
    }
    return encode_bundle(head, document, list(_provenances(merged, document)))


def _belongs(body: Json, section: _Section) -> bool:
    return body["resourceType"] in section.kinds and section.takes(body)


def _section(section: _Section, names: Sequence[str], merged: Merged) -> Json:
    lines = [_line(merged.resources[name], merged) for name in names] or ["No information available"]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    text = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><ul>{items}</ul></div>',
    }
    made: Json = {
        "title": section.title,
        "code": {"coding": [{"system": LOINC, "code": section.code}]},
        "text": text,
    }
    if names:
        return made | {"entry": [{"reference": name} for name in names]}
    reason = {"system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable"}
    return made | {"emptyReason": {"coding": [reason]}}


def _line(body: Json, merged: Merged) -> str:
    """What a resource says, in one line, with the medicine that it refers to."""
    others = {name: merged.resources[name] for name in _references(body) if name in merged.resources}
    medicines = {name: one for name, one in others.items() if one["resourceType"] == "Medication"}
    try:
        sections = read_bundle(encode_bundle({}, {"": body} | medicines)).sections
    except Malformed:
        sections = ()
    found = [line for section in sections for line in section.lines]
    said = [part for line in found for part in (line.what, line.detail, line.state, line.when) if part]
    text = ", ".join(said) or str(body["resourceType"])
    return "".join(char if char.isprintable() else " " for char in text)


def _references(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
            if isinstance(reference := one.get("reference"), str):
                yield reference
        elif isinstance(one, list):
            waiting.extend(one)


def _reached(names: Sequence[str], merged: Merged) -> list[str]:
    """These, and all that they refer to: a document has what it speaks of."""
    found = dict.fromkeys(names)
    waiting = list(found)
    while waiting:
        for name in _references(merged.resources.get(waiting.pop(), {})):
            if name in merged.resources and name not in found:
                found[name] = None
                waiting.append(name)
    return [name for name in found if name in merged.resources]


def _provenances(merged: Merged, document: dict[str, Json]) -> Iterator[Json]:
    for one in merged.provenances:
        targets = [target for target in one["target"] if target["reference"] in document]
        if targets:
            yield one | {"target": targets}
