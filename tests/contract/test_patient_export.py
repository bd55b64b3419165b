"""`patient export --fhir` against a scripted daemon: what is asked for, what is saved, what is told."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from cli.main import run
from node.exchange import Exchange
from protocol import control, exits, limits
from protocol.errors import ChartmeshError, Code, Refused, UserError
from tests.contract.test_cli import RESULT
from tests.control_samples import MEMBER
from tests.control_world import STATUS, serving

OURS, THEIRS = "aa" * 33, "bb" * 33
PATIENT = b'{"resourceType":"Patient","id":"1","birthDate":"1970-01-01"}'
RECORDS: dict[str, bytes] = {
    "01" * 32: PATIENT,
    "02" * 32: b'{"resourceType":"Observation","id":"o","valueInteger":1}\n' + PATIENT,
    "03" * 32: b"%PDF-1.7",
}


def item(token: str, **changes: Any) -> control.TimelineItem:
    made = control.TimelineItem(
        token=token,
        time="2026-11-27T10:00:00.000Z",
        type="fhir",
        title="a title",
        size=len(RECORDS.get(token, b"")),
        issuer=OURS,
        issuer_name="south",
    )
    return replace(made, **changes)


ITEMS = (
    item("01" * 32),
    item("02" * 32, issuer=THEIRS, issuer_name="north"),
    item("03" * 32, type="pdf"),
)


class Node:
    """Shows `items` and gives their content; `asked` is what was read."""

    def __init__(self, items: tuple[control.TimelineItem, ...] = ITEMS, *, more: bool = False) -> None:
        self.items, self.more = items, more
        self.asked: list[control.RecordGet] = []
        self.records = dict(RECORDS)
        self.error: ChartmeshError | None = None
        self.refused: set[str] = set()

    async def show(self, request: control.PatientShow, exchange: Exchange) -> control.Document:
        return control.PatientShowResult(patient=request.name, records=self.items, more=self.more)

    async def get(self, request: control.RecordGet, exchange: Exchange) -> control.Document:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        if request.id in self.refused:
            raise Refused
        await exchange.write_data(self.records[request.id])
        return replace(RESULT, token=request.id)


async def export(folder: Path, node: Node, *more: str) -> int:
    line = ["--data-dir", str(folder), "patient", "export", "ann", "-o", str(folder / "bundle.json")]
    line += ["--purpose", "treatment", "--as", "dr.b", *(more or ("--fhir",))]
    answers: dict[type, Any] = {
        control.PatientShow: node.show,
        control.RecordGet: node.get,
        control.Status: replace(STATUS, id=OURS),
        control.Members: control.MembersResult(members=(replace(MEMBER, id=OURS, name="south"),)),
    }
    async with serving(folder, answers):
        return await trio.to_thread.run_sync(run, line)


def saved(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The resources in the file, by type."""
    path = folder / "bundle.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(path.read_bytes())["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


async def test_the_fhir_records_of_all_clinics_are_one_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node()
    assert await export(tmp_path, node, "--fhir", "--json") == 0
    assert [one.id for one in node.asked] == ["01" * 32, "02" * 32]
    assert {(one.purpose, one.user) for one in node.asked} == {("TREAT", "dr.b")}
    found = saved(tmp_path)
    assert [len(found[kind]) for kind in ("Patient", "Observation", "Provenance")] == [1, 1, 2]
    names = [one["agent"][0]["who"]["display"] for one in found["Provenance"]]
    assert names == ["south", "north"]
    document = json.loads(capsys.readouterr().out)
    assert (document["v"], document["records"], document["left_out"]) == (1, 2, [])
    assert document["path"] == str(tmp_path / "bundle.json")


async def test_a_summary_says_who_made_it(tmp_path: Path) -> None:
    assert await export(tmp_path, Node(), "--ips") == 0
    found = saved(tmp_path)
    [composition], [author] = found["Composition"], found["Organization"]
    assert composition["title"] == "International Patient Summary"
    assert (author["name"], author["identifier"][0]["value"]) == ("south", OURS)
    assert [one["birthDate"] for one in found["Patient"]] == ["1970-01-01"]


@pytest.mark.parametrize("more", [["--json"], ["--fhir", "--ips"]])
async def test_one_form_is_asked_for(tmp_path: Path, more: list[str]) -> None:
    node = Node()
    assert await export(tmp_path, node, *more) == 2
    assert node.asked == []


async def test_what_its_own_issuer_corrected_is_left_for_the_correction(tmp_path: Path) -> None:
    node = Node((item("02" * 32, prior="01" * 32), item("01" * 32)))
    assert await export(tmp_path, node) == 0
    assert [one.id for one in node.asked] == ["02" * 32]
    other = Node((item("02" * 32, prior="01" * 32, issuer=THEIRS), item("01" * 32)))
    (tmp_path / "bundle.json").unlink()
    assert await export(tmp_path, other) == 0
    assert [one.id for one in other.asked] == ["02" * 32, "01" * 32]


async def test_what_is_no_fhir_in_json_is_named_and_the_rest_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node()
    node.records["01" * 32] = b"<Patient/>"
    assert await export(tmp_path, node, "--fhir", "--json") == 3
    told = capsys.readouterr()
    assert "010101010101 is not in it: it is no FHIR in JSON" in told.err
    assert json.loads(told.out)["left_out"] == ["01" * 32]
    assert len(saved(tmp_path)["Provenance"]) == 1


async def test_nothing_in_the_file_says_what_is_not_in_it(tmp_path: Path) -> None:
    node = Node()
    node.refused.add("02" * 32)
    assert await export(tmp_path, node) == 3
    with_less = (tmp_path / "bundle.json").read_bytes()
    (tmp_path / "bundle.json").unlink()
    assert await export(tmp_path, Node(ITEMS[:1])) == 0
    alone = json.loads((tmp_path / "bundle.json").read_bytes())
    assert json.loads(with_less) | {"timestamp": ""} == alone | {"timestamp": ""}


@pytest.mark.parametrize("form", ["--fhir", "--ips"])
async def test_where_nothing_can_be_read_nothing_says_that_nothing_is_known(
    tmp_path: Path, form: str
) -> None:
    node = Node()
    node.error = Refused()
    assert await export(tmp_path, node, form) == 3
    assert not (tmp_path / "bundle.json").exists()


async def test_a_patient_without_fhir_records_has_an_empty_bundle(tmp_path: Path) -> None:
    assert await export(tmp_path, Node(ITEMS[2:])) == 0
    bundle = json.loads((tmp_path / "bundle.json").read_bytes())
    assert set(bundle) == {"resourceType", "type", "timestamp"}


async def test_a_node_that_went_away_is_an_error_and_nothing_is_saved(tmp_path: Path) -> None:
    node = Node()
    node.error = UserError("the node stopped", "start it", code=Code.NOT_RUNNING)
    assert await export(tmp_path, node) == exits.exit_status(Code.NOT_RUNNING)
    assert not (tmp_path / "bundle.json").exists()


async def test_nothing_is_overwritten_and_nothing_read_for_it(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes(b"before")
    node = Node()
    assert await export(tmp_path, node) == 1
    assert node.asked == []
    assert (tmp_path / "bundle.json").read_bytes() == b"before"


@pytest.mark.parametrize("is_long", [True, False])
async def test_more_than_fits_is_refused_before_anything_is_read(tmp_path: Path, is_long: bool) -> None:
    items = ITEMS if is_long else (item("01" * 32, size=limits.FHIR_EXPORT_BYTES_MAX + 1),)
    node = Node(items, more=is_long)
    assert await export(tmp_path, node) == 1
    assert node.asked == []
    assert not (tmp_path / "bundle.json").exists()
