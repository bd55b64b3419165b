"""What the parsers' program makes of whole files, of damaged ones, and of hostile ones."""

import io
import json
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.parsers.checks import CHECKS, check_file
from node.parsers.findings import Damaged, Unchecked
from node.samples import open_samples
from protocol import limits
from protocol.examined import Examined, ToExamine, decode_examined, encode_asked
from protocol.records import RecordType
from tests.dicom_world import SERIES, SIDE, dicom
from tests.unit.test_study import FILES, packed

CDA = b"""<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3">
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><id root="1.2.3"/><code code="34133-9"/>
<title>Summary</title><effectiveTime value="20260101"/><confidentialityCode code="N"/>
<recordTarget/><author/><custodian/>
<component><structuredBody/></component></ClinicalDocument>"""
HL7 = rb"MSH|^~\&|LAB|A|EHR|B|20260101||ORU^R01|1|P|2.5" + b"\rPID|1\rOBX|1||x\r"
DEFLATED = "1.2.840.10008.1.2.1.99"
PDF = b"%PDF-1.7\n1 0 obj\nendobj\nxref\ntrailer\nstartxref\n22\n%%EOF\n"


def png(*, cut: int = 0, flip: bool = False) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0"))
    made += chunk(b"IEND", b"")
    return made[: len(made) - cut] if not flip else made.replace(b"IDAT", b"IDAX")


def patients(*genders: object) -> bytes:
    return b"".join(
        json.dumps({"resourceType": "Patient", "gender": one}).encode() + b"\n" for one in genders
    )


def bundle(*resources: object) -> bytes:
    entries = [{"resource": one} for one in resources]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


SOUND: dict[str, bytes] = {
    "bundle.json": open_samples()[0].bytes,
    "patient.json": b'\xef\xbb\xbf{"resourceType": "Patient",\n "birthDate": "1946-03"}',
    "patients.ndjson": patients("male", "female"),
    "one.ndjson": patients("male"),
    "empty-bundle.json": bundle(),
    "ct.dcm": open_samples()[1].bytes,
    "disc.dcm": dicom(),
    "directory.dcm": dicom(Rows=None, Columns=None, PixelData=None),
    "document.xml": CDA,
    "utf16.xml": CDA.replace(b'"1.0"', b'"1.0" encoding="utf-16"').decode().encode("utf-16"),
    "result.hl7": HL7,
    "batch.hl7": rb"FHS|^~\&|LAB" + b"\rBHS|^~\\&|LAB\r" + HL7 + b"BTS|1\rFTS|1\r",
    "mllp.hl7": b"\x0b" + HL7 + b"\x1c\r",
    "letter.pdf": PDF,
    "dot.png": png(),
    "dot.jpg": b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9trailer",
    "dot.gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
    "study": packed(FILES),
}
BROKEN: dict[str, tuple[bytes, str]] = {
    "cut.json": (open_samples()[0].bytes[:9000], "no whole JSON"),
    "gender.json": (patients(7), "Patient.gender"),
    "unknown.json": (b'{"resourceType": "Patient", "nose": 1}', "Patient.nose"),
    "entry.json": (bundle({"resourceType": "Patient"}, json.loads(patients(7))), "entry 2: Patient.gender"),
    "nested.json": (bundle(json.loads(bundle(json.loads(patients(7))))), "entry 1, entry 1"),
    "no-resource.json": (bundle({"resourceType": "Patient"}, {"id": "7"}), "entry 2 is no resource"),
    "lines.ndjson": (patients("male", 7), "line 2"),
    "cut.ndjson": (patients("male", "female")[:-9], "line 2"),
    "deep.json": (b'{"resourceType": "Patient", "text": ' + b"[" * 9999, "depth"),
    "cut.dcm": (open_samples()[1].bytes[:-1], "cut short"),
    "half.dcm": (open_samples()[1].bytes[:20_000], "cut short"),
    "header.dcm": (open_samples()[1].bytes[:1191], "cut short"),
    "meta.dcm": (open_samples()[1].bytes[:140], "no SOP Instance"),
    "pixels.dcm": (dicom(pixels=bytes(100)), f"should be {2 * SIDE * SIDE}"),
    "no-pixels.dcm": (dicom(PixelData=None), "no pixels"),
    "cut.xml": (CDA[:-3], "no whole XML"),
    "bare.xml": (CDA.replace(b"<custodian/>", b""), "lacks custodian"),
    "declared.xml": (
        CDA.replace(b"?><C", b'?><!DOCTYPE x SYSTEM "file:///etc/passwd"><C'),
        "document type",
    ),
    "deep.xml": (CDA.replace(b"Summary", b"<a>" * 999), "too deep"),
    "version.hl7": (HL7.replace(b"|2.5", b""), "segment 1"),
    "segment.hl7": (HL7 + b"not one\r", "segment 4"),
    "cut.pdf": (PDF[:-7], "cut short"),
    "cut.png": (png(cut=5), "cut short"),
    "chunk.png": (png(flip=True), "checksum"),
    "cut.jpg": (b"\xff\xd8\xff\xe0\x00\x04ab", "cut short"),
    "cut.gif": (b"GIF89a\x01\x00", "cut short"),
    "cut.webp": (b"RIFF\xff\x00\x00\x00WEBPVP8 ", "cut short"),
    "cut-study": (packed(FILES)[:-1], "cut short"),
}


def examined(folder: Path, name: str, content: bytes) -> Examined:
    path = folder / name
    path.write_bytes(content)
    return check_file(str(path))


@pytest.mark.parametrize("name", SOUND)
def test_whole_files_are_sound(tmp_path: Path, name: str) -> None:
    found = examined(tmp_path, name, SOUND[name])
    assert (found.state, found.why) == ("sound", "")


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_are_told_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    content, why = BROKEN[name]
    found = examined(tmp_path, name, content)
    assert found.state == "damaged", found
    assert why in found.why


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.txt", b"plain words", "kind"),
        ("scan.tif", b"II*\x00" + bytes(20), "kind"),
        ("product.json", b'{"resourceType": "MedicinalProduct"}', "no model of MedicinalProduct"),
        ("patient.xml", b'<Patient xmlns="http://hl7.org/fhir"/>', "well-formed"),
    ],
)
def test_what_nothing_here_can_judge_is_not_called_damaged(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    found = examined(tmp_path, name, content)
    assert found.state == "unchecked"
    assert why in found.why


def test_entities_are_never_expanded() -> None:
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (at, b"&l%d;" % (at - 1) * 10) for at in range(1, 12))
    bomb = CDA.replace(b"?><C", b'?><!DOCTYPE x [<!ENTITY l0 "ha">%s]><C' % laughs).replace(
        b"Summary", b"&l11;"
    )
    with pytest.raises(Damaged, match="document type"):
        CHECKS["cda"](io.BytesIO(bomb))


def test_the_index_learns_what_an_image_is(tmp_path: Path) -> None:
    found = examined(tmp_path, "7.dcm", dicom(7))
    assert (found.series, found.instance, found.modality) == (SERIES, f"{SERIES}.7", "CT")


def test_nothing_that_a_record_says_of_a_person_is_in_what_is_said_about_it(tmp_path: Path) -> None:
    found = examined(tmp_path, "x.json", patients(["Aaron697"]) + b"")
    assert found.state == "damaged"
    assert "Aaron697" not in found.why


@pytest.mark.parametrize(
    ("library", "name"), [("pydicom", "ct.dcm"), ("fhir.resources.R4B", "patient.json")]
)
def test_without_the_library_a_file_is_unchecked_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    found = examined(tmp_path, name, SOUND[name])
    assert found.state == "unchecked"
    assert f"chartmesh[{found.type}]" in found.why


@given(st.sampled_from(sorted(CHECKS)), st.sampled_from(sorted(SOUND)), st.data())
def test_spoiled_bytes_are_judged_and_break_nothing(kind: str, name: str, data: st.DataObject) -> None:
    content = bytearray(SOUND[name][:4000])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with suppress(Damaged, Unchecked, RecursionError):
        CHECKS[kind](io.BytesIO(content[:cut]))


def run(*asked: ToExamine) -> list[Examined]:
    """What the program itself says, limits and all."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "node.parsers", "check"],
        input=encode_asked(list(asked)),
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    return [decode_examined(line) for line in done.stdout.splitlines()]


def test_the_program_judges_file_after_file_within_its_limits(tmp_path: Path) -> None:
    made = dicom(TransferSyntaxUID=DEFLATED, PixelData=None, Rows=None, Columns=None)
    head = made[: 144 + int.from_bytes(made[140:144], "little")]
    bomb = zlib.compressobj(1, wbits=-15)
    swollen = b"".join(
        bomb.compress(bytes(limits.MIB)) for _ in range(limits.PARSER_BYTES_MAX // limits.MIB)
    )
    (tmp_path / "bomb.dcm").write_bytes(head + swollen + bomb.flush())
    (tmp_path / "disc.dcm").write_bytes(dicom())
    found = run(*(ToExamine(str(tmp_path / name)) for name in ("bomb.dcm", "disc.dcm", "gone.dcm")))
    assert [one.state for one in found] == ["damaged", "sound", "unchecked"]
    assert "limits" in found[0].why


def test_the_named_types_all_have_a_check() -> None:
    assert {*CHECKS, RecordType.DICOM, RecordType.OTHER} == set(RecordType)
