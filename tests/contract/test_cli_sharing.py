"""The commands that share and stop, against a scripted daemon over a real socket."""

from pathlib import Path

import pytest

from protocol import control
from tests.contract import test_cli
from tests.contract.test_cli import GRANT, TOKEN, Run
from tests.control_samples import RESULTS
from tests.control_world import serving

chartmesh = test_cli.chartmesh


async def test_stopping_all_shares_prints_one_document_a_line(tmp_path: Path, chartmesh: Run) -> None:
    stopped = control.Stopped(grant=GRANT, final=True, stopped_at=("02",), unreached=("03",), bound_s=90)
    result = control.MyStopResult(stops=(stopped, stopped))
    async with serving(tmp_path, {control.MyStop: result}) as script:
        printed = await chartmesh("my", "stop", "--all", "--yes", "--json")
    assert printed.status == 0
    assert len(printed.documents) == 2
    wanted = {"v", "grant", "final", "stopped_at", "unreached", "bound_s"}
    assert all(wanted <= set(document) for document in printed.documents)
    assert script.asked == [control.MyStop(id=None)]


@pytest.mark.parametrize(
    ("ends_by", "status", "said", "noted"),
    [
        ("2026-11-25T12:00:59.000Z", 0, "1 of 2 clinics; the last within 90 s\n", ":00:59 "),
        (None, 5, "the last within 90 s of being final, which it is not yet\n", "not reached: clinic-b\n"),
    ],
)
async def test_who_was_not_reached_with_a_stop_is_named_with_its_last_moment(
    tmp_path: Path, chartmesh: Run, ends_by: str | None, status: int, said: str, noted: str
) -> None:
    stopped = control.Stopped(
        grant=GRANT,
        final=ends_by is not None,
        stopped_at=("02",),
        unreached=("03",),
        bound_s=90,
        unreached_names=("clinic-b",),
        ends_by=ends_by,
    )
    async with serving(tmp_path, {control.MyStop: control.MyStopResult(stops=(stopped,))}):
        printed = await chartmesh("my", "stop", GRANT)
    assert printed.status == status
    assert said in printed.out
    assert "not reached: clinic-b" in printed.err
    assert noted in printed.err


async def test_sharing_asks_for_what_was_typed(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.MyShare: RESULTS[control.MyShareResult]}) as script:
        printed = await chartmesh("my", "share", TOKEN, "--with", "clinic-b", "--for", "30d")
    assert printed.status == 0
    assert "my stop cdcdcdcdcdcd" in printed.out
    assert script.asked == [
        control.MyShare(records=(TOKEN,), clinic="clinic-b", for_ms=30 * 86_400_000, purposes=("TREAT",))
    ]
