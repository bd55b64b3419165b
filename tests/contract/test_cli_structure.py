"""What is looked at before a file becomes a record, and a study as a folder on both ends."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from node.exchange import Exchange
from node.samples import open_samples
from protocol import control
from protocol.records import recognise
from protocol.study import START_BYTES, decode_head, head_length
from tests.contract import test_cli
from tests.contract.test_cli import TOKEN, Run
from tests.control_world import serving
from tests.dicom_world import SERIES, dicom, write_study
from tests.unit.test_study import described, forged, packed

chartmesh = test_cli.chartmesh
target = test_cli.target
GET = ("record", "get", "--purpose", "TREAT", "--as", "dr.b", TOKEN)


def taking(received: list[bytes]) -> Callable[..., Any]:
    """An answer to `record add` that keeps the content."""

    async def add(request: control.RecordAdd, exchange: Exchange) -> control.Document:
        content = b"".join([piece async for piece in exchange.read_data()])
        received.append(content)
        assert len(content) == request.size
        kind = recognise(content, request.name).value if request.type == "auto" else request.type
        added = control.RecordAdded(
            file=request.name, token=TOKEN, size=len(content), type=kind, copies=3, final=True, height=4
        )
        return control.RecordAddResult(records=(added,))

    return add


def giving(content: bytes) -> Callable[..., Any]:
    """An answer to `record get`, in pieces that respect no border."""

    async def get(_: Any, exchange: Exchange) -> control.Document:
        for at in range(0, len(content), 1000):
            await exchange.write_data(content[at : at + 1000])
        sha256 = hashlib.sha256(content).hexdigest()
        return control.RecordGetResult(
            token=TOKEN, bytes=len(content), sha256=sha256, audit_id="a-7", name="knee"
        )

    return get


def contents(folder: Path) -> dict[str, bytes]:
    """All files under a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "scan.dcm").write_bytes(open_samples()[1].bytes)
    (folder / "cut.dcm").write_bytes(open_samples()[1].bytes[:20_000])
    (folder / "note.txt").write_bytes(b"plain words")
    (folder / "scan.tif").write_bytes(b"II*\x00" + bytes(20))
    return folder


async def test_a_damaged_file_is_refused_before_any_is_sent(
    tmp_path: Path, chartmesh: Run, records: Path
) -> None:
    files = [str(records / name) for name in ("scan.dcm", "cut.dcm")]
    async with serving(tmp_path, {control.RecordAdd: taking([])}) as script:
        printed = await chartmesh("record", "add", "--for", "C", "--json", *files)
    assert (printed.status, printed.out, script.asked) == (1, "", [])
    assert printed.error["code"] == "record-damaged"
    assert "cut.dcm" in printed.error["error"]
    assert "--as-is" in printed.error["hint"]


async def test_as_it_is_a_damaged_file_is_taken_byte_for_byte_and_said_to_be_damaged(
    tmp_path: Path, chartmesh: Run, records: Path
) -> None:
    received: list[bytes] = []
    async with serving(tmp_path, {control.RecordAdd: taking(received)}):
        printed = await chartmesh(
            "record", "add", "--for", "C", "--json", "--as-is", str(records / "cut.dcm")
        )
    assert printed.status == 0
    assert received == [(records / "cut.dcm").read_bytes()]
    [added] = printed.documents[0]["records"]
    assert (added["type"], added["structure"]) == ("dicom", "damaged")
    assert "added as it is: it is cut short" in printed.err


async def test_what_was_looked_at_is_told_of_each_file(
    tmp_path: Path, chartmesh: Run, records: Path
) -> None:
    files = [str(records / name) for name in ("scan.dcm", "note.txt", "scan.tif")]
    async with serving(tmp_path, {control.RecordAdd: taking([])}):
        printed = await chartmesh("record", "add", "--for", "C", "--json", *files)
    states = [one["structure"] for one in printed.documents[0]["records"]]
    assert states == ["sound", "unchecked", "unchecked"]
    assert "note.txt" not in printed.err
    assert "scan.tif: structure not checked: nothing here looks into images of this kind" in printed.err


async def test_a_type_that_the_owner_insists_on_is_what_is_checked(
    tmp_path: Path, chartmesh: Run, records: Path
) -> None:
    add = ("record", "add", "--for", "C", "--json", str(records / "note.txt"), "--type")
    async with serving(tmp_path, {control.RecordAdd: taking([])}):
        assert (await chartmesh(*add, "fhir")).error["code"] == "record-damaged"
        assert (await chartmesh(*add, "other")).status == 0


async def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, chartmesh: Run, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydicom.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with serving(tmp_path, {control.RecordAdd: taking([])}):
        printed = await chartmesh("record", "add", "--for", "C", str(records / "cut.dcm"))
    assert printed.status == 0
    assert "structure not checked" in printed.err
    assert "chartmesh[dicom]" in printed.err


async def test_the_folder_of_a_study_is_one_record_and_comes_back_as_files(
    tmp_path: Path, chartmesh: Run, target: Path
) -> None:
    files, received = write_study(tmp_path / "knee", 3), list[bytes]()
    async with serving(tmp_path, {control.RecordAdd: taking(received)}):
        added = await chartmesh("record", "add", "--for", "C", "--json", str(tmp_path / "knee"))
    [one] = added.documents[0]["records"]
    assert (one["file"], one["type"], one["structure"]) == ("knee", "study", "sound")
    study = decode_head(received[0][: head_length(received[0][:START_BYTES])])
    assert [file.path for file in study.files] == sorted(files)
    assert {file.series for file in study.files if file.path != "letter.txt"} == {SERIES}
    async with serving(tmp_path, {control.RecordGet: giving(received[0])}):
        got = await chartmesh(*GET, "-o", str(target), "--json")
        again = await chartmesh(*GET, "-o", str(target), "--json")
        whole = await chartmesh(*GET, "-o", str(target / "one-file"), "--json")
    folder = Path(got.documents[0]["path"])
    assert folder == target / f"{TOKEN[:12]}-knee"
    assert contents(folder) == files
    assert (again.status, again.error["code"]) == (1, "record-file")
    assert whole.status == 0
    assert (target / "one-file").read_bytes() == received[0]
    assert set(contents(target)) == {"one-file", *(f"{folder.name}/{name}" for name in files)}


@pytest.mark.parametrize(
    "content",
    [
        forged(described("../../escaped", b"x")) + b"x",
        forged(described("/tmp/escaped", b"x")) + b"x",
        packed({"a": b"one", "b": b"two"}).replace(b"two", b"2wo"),
        packed({"a": b"one"}) + b"more",
        packed({"a": b"one"})[:-1],
    ],
    ids=["upwards", "absolute", "hash", "longer", "cut"],
)
async def test_a_study_that_is_none_stays_one_file_and_no_other(
    tmp_path: Path, chartmesh: Run, target: Path, content: bytes
) -> None:
    async with serving(tmp_path, {control.RecordGet: giving(content)}):
        printed = await chartmesh(*GET, "-o", str(target), "--json")
    assert (printed.status, printed.error["code"]) == (1, "malformed")
    file = target / f"{TOKEN[:12]}-knee"
    assert str(file) in printed.error["hint"]
    assert contents(tmp_path) == {str(file.relative_to(tmp_path)): content}


async def test_a_folder_without_an_image_or_with_a_link_is_no_study(tmp_path: Path, chartmesh: Run) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    await trio.Path(folder / "a.txt").write_bytes(b"words")
    add = ("record", "add", "--for", "C", "--json", str(folder))
    async with serving(tmp_path, {control.RecordAdd: taking([])}) as script:
        assert "no file in" in (await chartmesh(*add)).error["error"]
        await trio.Path(folder / "b.dcm").symlink_to("/etc/hostname")
        linked = await chartmesh(*add, "--as-is")
        assert (linked.error["code"], script.asked) == ("record-file", [])
        await trio.Path(folder / "b.dcm").unlink()
        assert (await chartmesh(*add, "--as-is")).status == 0


async def test_one_damaged_image_of_a_study_is_named(tmp_path: Path, chartmesh: Run) -> None:
    write_study(tmp_path / "knee", 3)
    await trio.Path(tmp_path / "knee" / "series-1" / "IM0002").write_bytes(dicom()[:-50])
    async with serving(tmp_path, {control.RecordAdd: taking([])}) as script:
        printed = await chartmesh("record", "add", "--for", "C", "--json", str(tmp_path / "knee"))
    assert printed.error["code"] == "record-damaged"
    assert "series-1/IM0002" in printed.error["error"]
    assert script.asked == []


async def test_one_file_of_a_study_is_saved_alone_and_its_index_shown(
    tmp_path: Path, chartmesh: Run
) -> None:
    files = {"a/IM1": b"one image", "a/IM2": b"another", "letter.txt": b"words"}
    content = packed(files)
    asked: list[control.RecordGet] = []

    async def get(request: control.RecordGet, exchange: Exchange) -> control.Document:
        asked.append(request)
        head = content[: head_length(content[:START_BYTES])]
        part = head if request.is_index else files[request.file or ""]
        await exchange.write_data(part)
        digest = hashlib.sha256(part).hexdigest()
        name = request.file or "knee"
        return control.RecordGetResult(
            token=TOKEN, bytes=len(part), sha256=digest, audit_id="a-7", name=name
        )

    async with serving(tmp_path, {control.RecordGet: get}):
        table = await chartmesh(*GET, "--files")
        listed = await chartmesh(*GET, "--files", "--json")
        saved = await chartmesh(*GET, "--file", "a/IM2", "-o", str(tmp_path), "--json")
        piped = await chartmesh(*GET, "--file", "letter.txt", "-o", "-")
    assert [request.file for request in asked] == [None, None, "a/IM2", "letter.txt"]
    assert [request.is_index for request in asked] == [True, True, False, False]
    assert all(path in table.out for path in files)
    assert listed.documents[0]["files"] == [
        {
            "path": path,
            "bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "modality": "",
            "series": "",
            "instance": "",
        }
        for path, raw in sorted(files.items())
    ]
    assert Path(saved.documents[0]["path"]) == tmp_path / f"{TOKEN[:12]}-a-IM2"
    assert contents(tmp_path)[f"{TOKEN[:12]}-a-IM2"] == b"another"
    assert piped.out == "words"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--files", "--file", "a"),
        ("--file", ""),
        ("--file", "x" * 256),
        ("--files", "-o", "-"),
        ("--files", TOKEN),
        ("--file", "a", TOKEN),
    ],
)
async def test_parts_of_records_that_do_not_go_together_are_refused(
    chartmesh: Run, arguments: tuple[str, ...]
) -> None:
    assert (await chartmesh(*GET, *arguments)).status == 2


async def test_what_is_no_index_is_not_shown_as_one(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.RecordGet: giving(b"no head of a study")}):
        shown = await chartmesh(*GET, "--files", "--json")
    assert (shown.status, shown.error["code"]) == (1, "malformed")
