"""Record types are told from the first bytes, and no bytes at all make that fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.samples import open_samples
from protocol.records import SNIFF_BYTES_MAX, RecordType, recognise

CDA = b"""<?xml version="1.0"?>\n<?xml-stylesheet type="text/xsl" href="cda.xsl"?>
<!-- a > in a comment --><!DOCTYPE x>
<ClinicalDocument xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xmlns='urn:hl7-org:v3'><typeId/></ClinicalDocument>"""


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (bytes(128) + b"DICM", RecordType.DICOM),
        (bytes(127) + b"DICM", RecordType.OTHER),
        (b'{"resourceType":"Bundle"}', RecordType.FHIR),
        (b'\xef\xbb\xbf \r\n{"id": "7", "resourceType" : "Patient"}', RecordType.FHIR),
        (b'{"resourceType": 7}', RecordType.OTHER),
        (b'["resourceType": "Patient"]', RecordType.OTHER),
        (b'<Patient xmlns="http://hl7.org/fhir"><id value="7"/></Patient>', RecordType.FHIR),
        (b'<Patient xmlns="http://example.org"/>', RecordType.OTHER),
        (CDA, RecordType.CDA),
        (CDA.decode().encode("utf-16"), RecordType.CDA),
        (CDA.replace(b"<ClinicalDocument", b"<v3:ClinicalDocument"), RecordType.CDA),
        (CDA.replace(b"urn:hl7-org:v3", b"urn:hl7-org:v2"), RecordType.OTHER),
        (CDA.replace(b"<ClinicalDocument", b"<Letter"), RecordType.OTHER),
        (b"%PDF-1.7\n", RecordType.PDF),
        (b"\n" * 1000 + b"%PDF-1.4", RecordType.PDF),
        (b"\n" * 1024 + b"%PDF-1.4", RecordType.OTHER),
        (b'{"resourceType":"Patient","id":"1"}\n{"resourceType":"Patient","id":"2"}\n', RecordType.FHIR),
        (b"MSH|^~\\&|LAB|A|EHR|B|20260101||ORU^R01|1|P|2.5\rPID|1\r", RecordType.HL7V2),
        (b"\x0bMSH$%~\\&$LAB", RecordType.HL7V2),
        (b"FHS|^~\\&#|LAB", RecordType.HL7V2),
        (b"MSH is a word", RecordType.OTHER),
        (b"\x89PNG\r\n\x1a\n\x00", RecordType.IMAGE),
        (b"\xff\xd8\xff\xe0", RecordType.IMAGE),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", RecordType.IMAGE),
        (b"RIFF\x00\x00\x00\x00WAVE", RecordType.OTHER),
        (b"\x00\x00\x00\x18ftypheic", RecordType.IMAGE),
        # A preamble may make a DICOM file a TIFF image as well (PS3.10, section 7.1).
        (b"II*\x00" + bytes(124) + b"DICM", RecordType.DICOM),
        (b"\x89chartmesh-study\x00", RecordType.STUDY),
        (b"", RecordType.OTHER),
        (b"plain words", RecordType.OTHER),
    ],
)
def test_the_type_is_told_from_the_first_bytes(start: bytes, expected: RecordType) -> None:
    assert recognise(start, "record") is expected


def test_the_samples_are_what_they_say() -> None:
    for sample in open_samples():
        assert recognise(sample.bytes, "") is sample.type


@pytest.mark.parametrize("name", ["letter.pdf", "scan.dcm", "patient.fhir.json"])
def test_a_name_alone_makes_no_type(name: str) -> None:
    assert recognise(b"plain words", name) is RecordType.OTHER


def test_a_dicom_file_without_its_prefix_needs_its_name() -> None:
    start = open_samples()[1].bytes[132:]
    assert recognise(start, "SCAN.DCM") is RecordType.DICOM
    assert recognise(start, "scan") is RecordType.OTHER


def test_only_the_first_64_kib_count() -> None:
    def padded(count: int) -> bytes:
        return b"{" + b" " * (count - 1) + b'"resourceType":"A'

    needed = len(padded(1)) - 1
    assert recognise(padded(SNIFF_BYTES_MAX - needed), "") is RecordType.FHIR
    assert recognise(padded(SNIFF_BYTES_MAX - needed + 1), "") is RecordType.OTHER


@pytest.mark.parametrize(
    "start",
    [
        b"<!>" * SNIFF_BYTES_MAX,
        b"<!--" * SNIFF_BYTES_MAX,
        b"<a " + b"xmlns" * SNIFF_BYTES_MAX,
        b"{" + b'"resourceType"' + b" " * SNIFF_BYTES_MAX,
        b"\xff\xfe<\x00" + b"\xd8" * 999,
        b"\xed\xa0\x80" * 999,
        b"<" + b"v3:" * SNIFF_BYTES_MAX,
    ],
)
def test_hostile_starts_are_just_other(start: bytes) -> None:
    assert recognise(start, "x.dcm") is RecordType.OTHER


@given(
    st.sampled_from([b"", b"<", b"{", b"<?", b"<!--", b"\xff\xfe", b"\xfe\xff", b"%PDF"]),
    st.binary(max_size=400),
    st.text(),
)
def test_no_bytes_and_no_name_raise(first: bytes, rest: bytes, name: str) -> None:
    assert recognise(first + rest, name) in RecordType
