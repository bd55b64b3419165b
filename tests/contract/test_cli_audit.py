"""The audit log as a file: every page of it, and nothing that a spreadsheet would run."""

import csv
from pathlib import Path

import pytest
import trio

from protocol import control, limits
from tests.contract import test_cli
from tests.contract.test_cli import TOKEN, Run
from tests.control_world import serving

chartmesh = test_cli.chartmesh


def entry(number: int, user: str = "dr.b") -> control.AuditItem:
    return control.AuditItem(
        sequence=number, time="t", event="outcome", outcome="served", hash="ef" * 32, user=user, token=TOKEN
    )


def page(*entries: control.AuditItem, more: bool = False, ok: bool = True) -> control.AuditListResult:
    return control.AuditListResult(entries=entries, ok=ok, head="ef" * 32, more=more)


async def saved(path: Path) -> list[dict[str, str]]:
    text = (await trio.Path(path).read_bytes()).decode()
    assert "\r\n" in text
    return list(csv.DictReader(text.splitlines(keepends=True)))


async def test_all_pages_of_a_log_come_into_one_file(tmp_path: Path, chartmesh: Run) -> None:
    pages = {None: page(entry(9), entry(5), more=True), 5: page(entry(4), more=True), 4: page(entry(1))}

    async def tell(request: control.AuditList, _: object) -> control.Document:
        return pages[request.before]

    path = tmp_path / "log.csv"
    async with serving(tmp_path, {control.AuditList: tell}) as script:
        filters = ("--patient", "Ann", "--since", "2026-01-31")
        done = await chartmesh("audit", "export", "--csv", "-o", str(path), *filters, "--json")
        again = await chartmesh("audit", "export", "--csv", "-o", str(path), "--json")
    assert done.documents == [{"v": 1, "entries": 4, "ok": True, "path": str(path)}]
    assert [one["sequence"] for one in await saved(path)] == ["9", "5", "4", "1"]
    asked = [one for one in script.asked if isinstance(one, control.AuditList)]
    assert {(one.patient, one.rows) for one in asked} == {("Ann", limits.CONTROL_ROWS_MAX)}
    assert all(one.since_ms for one in asked)
    assert (again.status, again.error["code"]) == (1, "record-file")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_is_a_formula_and_every_cell_comes_back(
    tmp_path: Path, chartmesh: Run, start: str
) -> None:
    user = start + 'HYPERLINK("x"),\n"quoted"'
    async with serving(tmp_path, {control.AuditList: page(entry(1, user))}):
        assert (await chartmesh("audit", "export", "--csv", "-o", str(tmp_path / "log.csv"))).status == 0
    [row] = await saved(tmp_path / "log.csv")
    assert row["user"] == "'" + user
    assert (row["token"], row["grant"], row["bytes"]) == (TOKEN, "", "0")


async def test_a_broken_chain_is_told_and_what_was_read_is_kept(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.AuditList: page(entry(3), more=True, ok=False)}) as script:
        done = await chartmesh("audit", "export", "--csv", "-o", str(tmp_path / "log.csv"))
    assert (done.status, len(script.asked)) == (13, 1)
    assert "chain is broken" in done.err
    assert len(await saved(tmp_path / "log.csv")) == 1


async def test_without_a_format_nothing_is_asked_or_written(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {}) as script:
        done = await chartmesh("audit", "export", "-o", str(tmp_path / "log.csv"))
    assert (done.status, script.asked) == (2, [])
    assert not (tmp_path / "log.csv").exists()
