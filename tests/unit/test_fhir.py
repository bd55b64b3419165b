"""A FHIR bundle as lines for a person: what is said, in the digits it was said in, and nothing invented."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.samples import open_samples
from protocol.errors import Malformed
from protocol.fhir import SHOWN, Line, Reading, read_bundle
from protocol.limits import FHIR_BYTES_MAX, FHIR_ENTRIES_MAX, FHIR_TEXT_CHARS_MAX


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{index}", "resource": one} for index, one in enumerate(resources)]
    return json.dumps({"resourceType": "Bundle", "type": "document", "entry": entries}).encode()


def lines(reading: Reading) -> dict[str, list[Line]]:
    return {section.title: list(section.lines) for section in reading.sections}


def result(**value: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "Weight"}, **value}


def test_a_published_bundle_is_read_out_whole() -> None:
    reading = read_bundle(open_samples()[0].bytes)
    assert reading.about == "Aaron697 Stiedemann542, 1946-03-29"
    counts = {title: len(found) for title, found in lines(reading).items()}
    assert counts == {
        "Medicines": 10,
        "Problems": 7,
        "Vaccinations": 13,
        "Results": 374,
        "Procedures": 3,
        "Visits": 28,
        "Documents": 33,
    }
    assert (reading.others, reading.unclear) == (87, 0)
    newest = lines(reading)["Problems"][0]
    assert (newest.what, newest.state) == ("Injury of tendon of the rotator cuff of shoulder", "resolved")


@pytest.mark.parametrize("digits", ["72.50", "0.10", "7e1", "-3", "123456789012345678901"])
def test_numbers_keep_the_digits_that_were_written(digits: str) -> None:
    raw = bundle(result(valueQuantity={"value": 55.5, "unit": "kg"})).replace(b"55.5", digits.encode())
    [line] = lines(read_bundle(raw))["Results"]
    assert line == Line("Weight", f"{digits} kg", "final")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"valueString": "not done"}, "not done"),
        ({"valueBoolean": False}, "no"),
        ({"valueInteger": 0}, "0"),
        ({"valueCodeableConcept": {"coding": [{"code": "x", "display": "Negative"}]}}, "Negative"),
        ({"valueQuantity": {"value": 5, "comparator": "<", "unit": "mg/l"}}, "< 5 mg/l"),
        ({"valueQuantity": {"value": "<b>"}}, "a value that is no number"),
        (
            {
                "component": [
                    {"code": {"text": "Systolic"}, "valueQuantity": {"value": 120, "unit": "mmHg"}}
                ]
            },
            "Systolic 120 mmHg",
        ),
        ({"valueString": "high", "interpretation": [{"text": "above range"}]}, "high, above range"),
    ],
)
def test_values_of_each_form_are_said(value: dict[str, Any], said: str) -> None:
    [line] = lines(read_bundle(bundle(result(**value))))["Results"]
    assert line.detail == said


def test_a_medicine_that_stands_elsewhere_in_the_bundle_is_named() -> None:
    medicine = {"resourceType": "Medication", "id": "m", "code": {"text": "Aspirin 100 mg"}}
    by_url = {"resourceType": "MedicationRequest", "medicationReference": {"reference": "urn:uuid:0"}}
    by_id = {
        "resourceType": "MedicationStatement",
        "medicationReference": {"reference": "Medication/m"},
        "dosage": [{"text": "one a day"}],
    }
    found = lines(read_bundle(bundle(medicine, by_url, by_id)))["Medicines"]
    assert [(line.what, line.detail) for line in found] == [
        ("Aspirin 100 mg", ""),
        ("Aspirin 100 mg", "one a day"),
    ]


def test_what_turned_out_not_to_be_so_is_not_told_as_if_it_were() -> None:
    problem = {"resourceType": "Condition", "code": {"text": "Asthma"}}
    refuted = problem | {"verificationStatus": {"coding": [{"code": "refuted"}]}}
    wrong = problem | {"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}
    found = lines(read_bundle(bundle(problem, refuted, wrong)))["Problems"]
    assert [line.state for line in found] == ["", "refuted", "entered in error"]


def test_an_allergy_says_what_it_does_and_comes_first() -> None:
    allergy = {
        "resourceType": "AllergyIntolerance",
        "code": {"text": "Penicillin"},
        "criticality": "high",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "reaction": [{"manifestation": [{"text": "Hives"}]}],
        "recordedDate": "2020",
    }
    reading = read_bundle(bundle(result(valueString="x"), allergy))
    assert reading.sections[0].title == "Allergies"
    assert reading.sections[0].lines == (Line("Penicillin", "high risk, Hives", "active", "2020"),)


def test_the_newest_comes_first() -> None:
    days = ["2020-01-01", "2026-01-01", "", "2023"]
    found = lines(read_bundle(bundle(*(result(effectiveDateTime=day) for day in days))))["Results"]
    assert [line.when for line in found] == ["2026-01-01", "2023", "2020-01-01", ""]


def test_what_is_not_as_fhir_has_it_is_counted_and_the_rest_is_shown() -> None:
    bad = {"resourceType": "Condition", "code": "Asthma"}
    reading = read_bundle(bundle(bad, {"no": "type"}, {"resourceType": "Claim"}, result(valueString="x")))
    assert (reading.unclear, reading.others) == (2, 1)
    assert list(lines(reading)) == ["Results"]


def test_a_resource_alone_is_read_too() -> None:
    [line] = lines(read_bundle(json.dumps(result(valueString="x")).encode()))["Results"]
    assert line.detail == "x"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff",
        b"[1]",
        b'{"resourceType":1}',
        b'{"resourceType":"Bundle","entry":{}}',
        b'{"resourceType":"Bundle","entry":[' + b'{"resource":' * 100_000,
        b'{"resourceType":"Patient","a":' + b"[" * 1_000_000,
        b'{"resourceType":"Bundle","entry":[' + b"{}," * FHIR_ENTRIES_MAX + b"{}]}",
        b'{"resourceType":"Bundle"}' + b" " * FHIR_BYTES_MAX,
    ],
    ids=range(10),
)
def test_what_is_no_bundle_or_beyond_the_limits_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_bundle(raw)


def test_texts_are_cut() -> None:
    long = "x" * 100_000
    one = result(code={"text": long}, valueString=long, status=long, effectiveDateTime=long)
    patient = {"resourceType": "Patient", "name": [{"text": long}]}
    reading = read_bundle(bundle(one, patient))
    [line] = lines(reading)["Results"]
    assert max(map(len, (*(getattr(line, key) for key in line.__struct_fields__), reading.about))) == (
        FHIR_TEXT_CHARS_MAX
    )


_FIELDS = {
    "code",
    "coding",
    "text",
    "display",
    "status",
    "name",
    "given",
    "type",
    "period",
    "start",
    "date",
} | {
    "valueQuantity",
    "value",
    "unit",
    "component",
    "reaction",
    "manifestation",
    "medicationReference",
    "reference",
}
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(_FIELDS)), inner),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.sampled_from([*SHOWN, "Patient", "Medication", "Other"]), _JSON), max_size=6))
def test_no_resource_breaks_the_reader(parts: list[tuple[str, Any]]) -> None:
    made = [
        (one if isinstance(one, dict) else {"code": one}) | {"resourceType": kind} for kind, one in parts
    ]
    reading = read_bundle(bundle(*made))
    shown = sum(len(section.lines) for section in reading.sections)
    patients = sum(kind == "Patient" for kind, _ in parts)
    assert len(parts) - patients <= shown + reading.others + reading.unclear <= len(parts)
