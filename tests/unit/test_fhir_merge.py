"""One bundle out of records of several clinics: nothing twice, nothing lost, nothing confused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.errors import Malformed
from protocol.fhir_merge import FhirSource, merge_fhir

WHEN = "2026-11-27T10:00:00Z"
Json = dict[str, Any]

PATIENT = {"resourceType": "Patient", "id": "1", "birthDate": "1970-01-01"}
OTHER_PATIENT = {"resourceType": "Patient", "id": "1", "birthDate": "1980-02-02"}
VISIT = {"resourceType": "Encounter", "id": "v", "subject": {"reference": "Patient/1"}}
RESULT = {
    "resourceType": "Observation",
    "id": "o",
    "encounter": {"reference": "Encounter/v"},
    "valueQuantity": {"value": 1.5},
}


def source(*resources: Json, token: str = "aa", raw: bytes | None = None) -> FhirSource:
    entries = [{"fullUrl": f"http://one/{n}", "resource": one} for n, one in enumerate(resources)]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    content = json.dumps(bundle).encode() if raw is None else raw
    return FhirSource(token, f"title {token}", "cc" * 33, "Klinik Süd", WHEN, content)


def merged(*sources: FhirSource) -> list[Json]:
    bundle = json.loads(merge_fhir(sources, timestamp=WHEN))
    assert (bundle["resourceType"], bundle["type"], bundle["timestamp"]) == ("Bundle", "collection", WHEN)
    urls = [entry["fullUrl"] for entry in bundle.get("entry", [])]
    assert len(set(urls)) == len(urls)
    return list(bundle.get("entry", []))


def named(entries: list[Json], kind: str) -> dict[str, Json]:
    return {one["fullUrl"]: one["resource"] for one in entries if one["resource"]["resourceType"] == kind}


def test_what_two_records_have_is_there_once_and_each_record_is_named_as_its_source() -> None:
    entries = merged(source(PATIENT, VISIT), source(VISIT, PATIENT, RESULT, token="bb"))
    assert [len(named(entries, kind)) for kind in ("Patient", "Encounter", "Observation")] == [1, 1, 1]
    [patient], [visit] = named(entries, "Patient"), named(entries, "Encounter")
    provenances = list(named(entries, "Provenance").values())
    targets = [{one["reference"] for one in each["target"]} for each in provenances]
    assert targets[0] == {patient, visit}
    assert targets[1] == {patient, visit, *named(entries, "Observation")}
    first = provenances[0]
    assert first["recorded"] == WHEN
    assert first["agent"][0]["who"] == {
        "identifier": {"system": "urn:chartmesh:clinic", "value": "cc" * 33},
        "display": "Klinik Süd",
    }
    assert first["entity"][0]["what"]["identifier"] == {"system": "urn:chartmesh:record", "value": "aa"}


def test_references_are_to_what_they_were_to() -> None:
    entries = merged(source(PATIENT, VISIT, RESULT))
    [visit], [patient] = named(entries, "Encounter").items(), named(entries, "Patient")
    [result] = named(entries, "Observation").values()
    assert result["encounter"] == {"reference": visit[0]}
    assert visit[1]["subject"] == {"reference": patient}


@pytest.mark.parametrize(
    "written", ["Patient/1", "http://one/0", "Patient/1/_history/3"], ids=["relative", "url", "version"]
)
def test_references_are_found_in_each_way_of_writing_them(written: str) -> None:
    entries = merged(source(PATIENT, VISIT | {"subject": {"reference": written}}))
    [visit], [patient] = named(entries, "Encounter").values(), named(entries, "Patient")
    assert visit["subject"]["reference"] == patient


def test_what_is_elsewhere_or_contained_is_referred_to_as_it_was() -> None:
    away = VISIT | {"subject": {"reference": "Patient/77"}, "partOf": {"reference": "#inner"}}
    [visit] = named(merged(source(PATIENT, away)), "Encounter").values()
    assert (visit["subject"]["reference"], visit["partOf"]["reference"]) == ("Patient/77", "#inner")


def test_two_people_of_one_number_stay_two_with_all_that_is_theirs() -> None:
    entries = merged(source(PATIENT, VISIT, RESULT), source(OTHER_PATIENT, VISIT, RESULT, token="bb"))
    patients, visits = named(entries, "Patient"), named(entries, "Encounter")
    assert len(patients) == len(visits) == len(named(entries, "Observation")) == 2
    assert {visit["subject"]["reference"] for visit in visits.values()} == set(patients)
    births = {patients[visit["subject"]["reference"]]["birthDate"] for visit in visits.values()}
    assert births == {"1970-01-01", "1980-02-02"}


def test_those_that_refer_to_each_other_are_one_wherever_they_come_from() -> None:
    one = {"resourceType": "Task", "id": "a", "partOf": [{"reference": "Task/b"}]}
    other = {"resourceType": "Task", "id": "b", "partOf": [{"reference": "Task/a"}]}
    assert len(named(merged(source(one, other), source(other, one, PATIENT, token="bb")), "Task")) == 2


@pytest.mark.parametrize(
    "number",
    ["1.50", "1.5", "0.10", "12345678901234567890.123", "0.0000001", "1e5", "1e999999999999999999999"],
)
def test_numbers_keep_the_digits_that_were_written(number: str) -> None:
    raw = b'{"resourceType":"Observation","valueQuantity":{"value":%s}}' % number.encode()
    assert f'"value":{number}}}'.encode() in merge_fhir([source(raw=raw)], timestamp=WHEN)


def test_numbers_of_other_precision_are_other_results() -> None:
    raws = [b'{"resourceType":"Observation","valueInteger":%s}' % one for one in (b"1.0", b"1.00", b"1.0")]
    entries = merged(*(source(raw=raw, token=f"a{n}") for n, raw in enumerate(raws)))
    assert len(named(entries, "Observation")) == 2
    assert len(named(entries, "Provenance")) == 3


def test_the_order_of_fields_makes_no_difference() -> None:
    turned = dict(reversed(RESULT.items()))
    assert len(named(merged(source(RESULT), source(turned, token="bb")), "Observation")) == 1


def test_a_single_resource_and_one_a_line_are_records_too() -> None:
    lines = b"\n".join(json.dumps(one).encode() for one in (PATIENT, VISIT)) + b"\n\n"
    entries = merged(source(raw=json.dumps(PATIENT).encode()), source(raw=lines, token="bb"))
    assert [len(named(entries, kind)) for kind in ("Patient", "Encounter", "Provenance")] == [1, 1, 2]


@pytest.mark.parametrize("lines", [1, 2])
def test_a_byte_order_mark_is_no_part_of_a_resource(lines: int) -> None:
    raw = b"\n".join([b"\xef\xbb\xbf" + json.dumps(PATIENT).encode()] * lines)
    assert len(named(merged(source(PATIENT), source(raw=raw, token="bb")), "Patient")) == 1


def nested(depth: int) -> bytes:
    """A resource of so many objects and lists, one in the other."""
    return b'{"resourceType":"Condition","a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_what_is_nested_as_deep_as_is_read_is_merged_and_what_is_deeper_is_refused() -> None:
    assert len(merged(source(raw=nested(limits.FHIR_DEPTH_MAX)))) == 2
    with pytest.raises(Malformed, match="nested"):
        merge_fhir([source(raw=nested(limits.FHIR_DEPTH_MAX + 1))], timestamp=WHEN)


def test_nothing_to_merge_is_a_bundle_of_nothing() -> None:
    assert merged() == merged(source()) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no json",
        b"[]",
        b'{"id":"1"}',
        b'{"resourceType":7}',
        b'{"resourceType":"Bundle","entry":{}}',
        b'{"resourceType":"Bundle","entry":[7]}',
        b'{"resourceType":"Bundle","entry":[{"fullUrl":7}]}',
        b'{"resourceType":"Bundle","entry":[{"resource":{}}]}',
        b'{"resourceType":"Patient"}\nno json',
        b'{"resourceType":"Basic","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"resourceType":"Basic"} ' + b" " * limits.FHIR_CHECK_BYTES_MAX,
        b"\n".join([b'{"resourceType":"Basic"}'] * (limits.FHIR_ENTRIES_MAX + 1)),
        b'{"resourceType":"Basic","a":"\xff"}',
    ],
)
def test_what_is_no_fhir_or_too_much_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        merge_fhir([source(raw=raw)], timestamp=WHEN)


def test_what_refers_to_each_other_beyond_measure_is_refused() -> None:
    count = 2_000
    ring = [
        {"resourceType": "Task", "id": f"{n}", "partOf": [{"reference": f"Task/{(n + 1) % count}"}]}
        for n in range(count)
    ]
    with pytest.raises(Malformed, match="refer to each other"):
        merge_fhir([source(*ring)], timestamp=WHEN)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceType", "id", "entry", "resource", "fullUrl", "reference", "x"]),
            inner | st.sampled_from(["Bundle", "Patient", "Patient/1", "1"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["resourceType", "entry", "id", "x"]), _json, max_size=4))
def test_whatever_comes_is_merged_into_what_can_be_merged_again_or_refused(body: Json) -> None:
    try:
        once = merge_fhir(
            [source(raw=json.dumps(body | {"resourceType": "Bundle"}).encode())], timestamp=WHEN
        )
    except Malformed:
        return
    again = json.loads(merge_fhir([source(raw=once)], timestamp=WHEN))
    assert len(again.get("entry", [])) >= len(json.loads(once).get("entry", []))


def test_the_bundle_is_fhir() -> None:
    bundle_type = pytest.importorskip("fhir.resources.R4B.bundle").Bundle
    visit = VISIT | {"status": "finished", "class": {"code": "AMB"}}
    result = RESULT | {"status": "final", "code": {"text": "potassium"}}
    raw = merge_fhir([source(PATIENT, visit), source(PATIENT, visit, result, token="bb")], timestamp=WHEN)
    bundle = bundle_type.model_validate_json(raw)
    assert [one.resource.get_resource_type() for one in bundle.entry] == [
        "Patient",
        "Encounter",
        "Observation",
        "Provenance",
        "Provenance",
    ]


def task(name: str, *others: str) -> Json:
    links = {"partOf": [{"reference": f"Task/{one}"} for one in others]}
    return {"resourceType": "Task", "id": name} | (links if others else {})


def test_the_same_resources_that_refer_to_each_other_otherwise_are_others() -> None:
    first = (task("x", "a", "b"), task("a", "c"), task("b", "c"), task("c"))
    second = (task("x", "a", "b"), task("a", "c"), task("b", "a"), task("c"))
    tasks = list(named(merged(source(*first), source(*second, token="bb")), "Task").values())
    assert sorted(one["id"] for one in tasks) == ["a", "b", "b", "c", "x", "x"]


def test_how_a_reference_is_written_makes_no_difference() -> None:
    by_url = VISIT | {"subject": {"reference": "http://one/0"}}
    assert len(named(merged(source(PATIENT, VISIT), source(PATIENT, by_url, token="bb")), "Encounter")) == 1


def test_the_order_of_references_in_an_object_makes_no_difference() -> None:
    result = RESULT | {"subject": {"reference": "Patient/1"}}
    turned = dict(reversed(result.items()))
    both = merged(source(PATIENT, VISIT, result), source(PATIENT, VISIT, turned, token="bb"))
    assert len(named(both, "Observation")) == 1
