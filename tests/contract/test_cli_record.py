"""The commands about records, against a scripted daemon over a real socket."""

from pathlib import Path

import pytest
import trio

from protocol import control
from tests.contract import test_cli
from tests.contract.test_cli import TOKEN, Run, adding
from tests.control_samples import RESULTS
from tests.control_world import serving

chartmesh = test_cli.chartmesh


async def test_where_the_copies_of_a_record_are_is_told_by_name(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.RecordShow: RESULTS[control.RecordShowResult]}):
        printed = await chartmesh("record", "show", TOKEN)
    assert "clinic-b missing" in printed.out


async def test_what_a_record_took_the_place_of_stands_below_it(tmp_path: Path, chartmesh: Run) -> None:
    tokens = {
        name: f"{number:02x}" * 32 for number, name in enumerate(("Other", "First", "Second", "Third"))
    }

    def row(title: str, prior: str = "", amended_by: str = "") -> control.MyRecordItem:
        return control.MyRecordItem(
            token=tokens[title],
            issuer="02",
            time=control.utc(1),
            title=title,
            type="fhir",
            size=3,
            grants=(),
            prior=tokens.get(prior, ""),
            amended_by=tokens.get(amended_by, ""),
        )

    rows = (
        row("Third", "Second"),
        row("Other"),
        row("Second", "First", "Third"),
        row("First", "", "Second"),
    )
    async with serving(tmp_path, {control.MyRecords: control.MyRecordsResult(records=rows)}):
        printed = await chartmesh("my", "records")
        listed = await chartmesh("my", "records", "--json")
    titles = [line for line in printed.out.splitlines() for title in tokens if title in line]
    assert [line.split("B  ")[1].split("  only")[0].strip() for line in titles] == [
        "Third",
        "before: Second",
        "before: First",
        "Other",
    ]
    assert len(listed.documents[0]["records"]) == len(rows)


async def test_one_file_amends_a_record_and_not_several(tmp_path: Path, chartmesh: Run) -> None:
    files = [str(tmp_path / name) for name in ("one.json", "two.json")]
    for file in files:
        await trio.Path(file).write_bytes(b"{}")
    async with serving(tmp_path, {control.RecordAdd: adding()}) as script:
        several = await chartmesh("record", "add", "--for", "C", "--amends", TOKEN, *files)
        assert (several.status, script.asked) == (2, [])
        assert (await chartmesh("record", "add", "--for", "C", "--amends", TOKEN, files[0])).status == 0
    assert [getattr(request, "prior", None) for request in script.asked] == [TOKEN]


async def test_a_record_is_added_with_the_day_to_which_it_is_kept(tmp_path: Path, chartmesh: Run) -> None:
    file = tmp_path / "a.txt"
    await trio.Path(file).write_bytes(b"words")
    line = ("record", "add", "--for", "C", str(file), "--keep-until")
    async with serving(tmp_path, {control.RecordAdd: adding()}) as script:
        assert (await chartmesh(*line, "2036-01-31")).status == 0
        for wrong in ("2036-02-30", "10y", "2036-01-31T08:00", ""):
            assert (await chartmesh(*line, wrong, "--json")).error["code"] == "duration"
    assert [getattr(request, "keep_until_ms", None) for request in script.asked] == [2_085_350_400_000]


@pytest.mark.parametrize(
    ("states", "is_proven", "status"),
    [
        (("whole", "shown"), True, 0),
        (("unknown", "unknown"), True, 3),
        (("whole", "missing"), True, 3),
        (("whole", "unreachable"), True, 3),
        (("damaged", "shown"), True, 13),
        (("whole", "shown"), False, 13),
    ],
)
async def test_a_check_of_a_record_says_what_is_wrong_in_words_and_by_its_status(
    tmp_path: Path, chartmesh: Run, states: tuple[str, str], is_proven: bool, status: int
) -> None:
    copies = tuple(
        control.CopyVerdict(member=f"0{at}" * 33, name=f"clinic-{at}", state=state, looked_at=4)
        for at, state in enumerate(states)
    )
    result = control.RecordVerifyResult(
        token=TOKEN, height=4, is_proven=is_proven, erased=False, chunks=4, copies=copies
    )
    async with serving(tmp_path, {control.RecordVerify: result}):
        said = await chartmesh("record", "verify", TOKEN)
        document = await chartmesh("record", "verify", TOKEN, "--json")
    assert (said.status, document.status) == (status, status)
    assert ("NOT PROVEN" in said.out) is not is_proven
    assert [one["state"] for one in document.documents[0]["copies"]] == list(states)
    assert all(one.name in said.out for one in copies)
