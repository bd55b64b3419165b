"""A patient summary: what goes into which section, what a document must have, and nothing that betrays."""

import json
from typing import Any

import pytest

from protocol import limits
from protocol.fhir_merge import FhirSource
from protocol.fhir_summary import summarise

WHEN = "2026-11-27T10:00:00Z"
Json = dict[str, Any]

PATIENT = {"resourceType": "Patient", "id": "1", "name": [{"text": "Ann"}]}
SUBJECT = {"subject": {"reference": "Patient/1"}}


def concept(code: str, text: str = "") -> Json:
    return {"coding": [{"code": code}]} | ({"text": text} if text else {})


def condition(name: str, state: str) -> Json:
    return (
        {"resourceType": "Condition", "id": name, "code": {"text": name}}
        | SUBJECT
        | {"clinicalStatus": concept(state)}
    )


def observation(name: str, category: str) -> Json:
    return {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": name}} | {
        "category": [concept(category)],
        "encounter": {"reference": "Encounter/v"},
    }


VISIT = {"resourceType": "Encounter", "id": "v", "status": "finished", "class": {"code": "AMB"}} | SUBJECT
CLAIM = {"resourceType": "Basic", "id": "c", "code": {"text": "not for a summary"}}
MEDICATION = {"resourceType": "Medication", "id": "m", "code": {"text": "aspirin <100 mg>"}}
ORDER = {"resourceType": "MedicationRequest", "id": "r", "status": "active", "intent": "order"} | {
    "medicationReference": {"reference": "Medication/m"},
    "subject": {"reference": "Patient/1"},
}
ALL = (
    PATIENT,
    VISIT,
    CLAIM,
    MEDICATION,
    ORDER,
    condition("asthma", "active"),
    condition("measles", "resolved"),
    condition("migraine", "remission"),
    observation("potassium", "laboratory"),
    observation("pulse", "vital-signs"),
    observation("a questionnaire", "survey"),
    {"resourceType": "DiagnosticReport", "id": "d", "status": "final", "code": {"text": "panel"}},
)


def summary(*resources: Json, token: str = "aa") -> list[Json]:
    """The entries of the summary of one record."""
    entries = [{"resource": one} for one in resources]
    content = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    sources = [FhirSource(token, "t", "cc", "south", WHEN, content)]
    raw = summarise(sources, patient="ann at home", clinic="dd", clinic_name="north", timestamp=WHEN)
    bundle = json.loads(raw)
    assert (bundle["type"], bundle["timestamp"]) == ("document", WHEN)
    assert bundle["identifier"]["value"] == bundle["entry"][0]["fullUrl"]
    return list(bundle["entry"])


def sections(entries: list[Json]) -> dict[str, list[str]]:
    """What each section refers to, by the ids there."""
    named = {one["fullUrl"]: one["resource"] for one in entries}
    return {
        one["title"]: [named[each["reference"]]["id"] for each in one.get("entry", [])]
        for one in entries[0]["resource"]["section"]
    }


def test_each_resource_is_in_the_section_of_its_kind() -> None:
    assert sections(summary(*ALL)) == {
        "Active Problems": ["asthma"],
        "Allergies and Intolerances": [],
        "Medication": ["r"],
        "Results": ["potassium", "d"],
        "Vital Signs": ["pulse"],
        "Past Illnesses": ["measles", "migraine"],
    }


def test_a_document_begins_with_its_composition_and_has_all_that_it_refers_to() -> None:
    entries = summary(*ALL)
    kinds = [one["resource"]["resourceType"] for one in entries]
    assert kinds[:3] == ["Composition", "Patient", "Organization"]
    assert {"Encounter", "Medication", "Provenance"} <= set(kinds)
    assert "Basic" not in kinds
    urls = {one["fullUrl"] for one in entries}
    composition = entries[0]["resource"]
    assert composition["subject"]["reference"] == entries[1]["fullUrl"]
    assert composition["author"][0]["reference"] == entries[2]["fullUrl"]
    assert composition["type"]["coding"] == [{"system": "http://loinc.org", "code": "60591-5"}]
    provenance = entries[-1]["resource"]
    assert {one["reference"] for one in provenance["target"]} <= urls


def test_the_sections_that_must_be_there_are_there_and_say_nothing_of_why_they_are_empty() -> None:
    entries = summary()
    assert list(sections(entries)) == ["Active Problems", "Allergies and Intolerances", "Medication"]
    for one in entries[0]["resource"]["section"]:
        assert one["emptyReason"]["coding"][0]["code"] == "unavailable"
        assert "No information available" in one["text"]["div"]
        assert "entry" not in one
    assert entries[1]["resource"] == {"resourceType": "Patient", "name": [{"text": "ann at home"}]}
    assert [one["resource"]["resourceType"] for one in entries] == [
        "Composition",
        "Patient",
        "Organization",
    ]


def test_what_a_section_says_is_text_and_never_markup() -> None:
    [medication] = [one for one in summary(*ALL)[0]["resource"]["section"] if one["title"] == "Medication"]
    assert "<li>aspirin &lt;100 mg&gt;, active</li>" in medication["text"]["div"]


def test_what_xml_cannot_have_is_left_out_of_the_text() -> None:
    odd = condition("asthma", "active") | {"code": {"text": "as\x00th\x1bma"}}
    assert "as th ma" in summary(PATIENT, odd)[0]["resource"]["section"][0]["text"]["div"]


def test_what_cannot_be_read_out_is_there_by_its_kind() -> None:
    odd = {"resourceType": "Procedure", "id": "p", "code": 7}
    entries = summary(PATIENT, odd)
    assert sections(entries)["Procedures"] == ["p"]
    assert "<li>Procedure</li>" in entries[0]["resource"]["section"][-1]["text"]["div"]


def test_the_summary_is_fhir() -> None:
    bundle_type = pytest.importorskip("fhir.resources.R4B.bundle").Bundle
    sources = [FhirSource("aa", "t", "cc", "south", WHEN, json.dumps(one).encode()) for one in ALL]
    raw = summarise(sources, patient="ann", clinic="dd", clinic_name="north", timestamp=WHEN)
    assert bundle_type.model_validate_json(raw).type == "document"


def test_what_is_too_long_to_be_read_out_is_there_by_its_kind() -> None:
    scan = {"contentType": "application/pdf", "data": "A" * limits.FHIR_BYTES_MAX}
    report = {"resourceType": "DiagnosticReport", "id": "d", "presentedForm": [scan]}
    entries = summary(PATIENT, report)
    assert sections(entries)["Results"] == ["d"]
    assert "<li>DiagnosticReport</li>" in entries[0]["resource"]["section"][-1]["text"]["div"]


def test_a_record_with_nothing_for_a_summary_is_no_source_of_it() -> None:
    assert [one["resource"]["resourceType"] for one in summary(CLAIM)][3:] == []
