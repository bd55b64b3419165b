"""The commands about access requests, against a scripted daemon over a real socket."""

from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from protocol import access_requests, control
from protocol.control import KIND_WORDS
from protocol.control.asking import RequestKind
from protocol.limits import DAY_MS
from tests.contract import test_cli
from tests.contract.test_cli import Run
from tests.control_samples import GRANT, REQUEST, RESULTS, TOKEN
from tests.control_world import serving

chartmesh = test_cli.chartmesh
FULL = ["access", "ask", "--patient", "CM1ABC", "--records", "all", "--purpose", "TREAT", "--for", "30d"]


def test_everything_that_can_be_asked_for_has_its_words() -> None:
    assert set(get_args(RequestKind)) == set(KIND_WORDS) == access_requests.KINDS


async def test_a_clinic_asks_for_what_was_typed(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.AccessAsk: RESULTS[control.AccessAskResult]}) as script:
        printed = await chartmesh(*FULL)
        of_type = [*FULL[:5], "dicom", *FULL[6:], "--stands", "2d"]
        named = [*FULL[:5], TOKEN, *FULL[6:], "--purpose", "research"]
        for arguments in (of_type, named, ["access", "ask", "--renew", TOKEN, "--for", "7d"]):
            assert (await chartmesh(*arguments)).status == 0
    assert printed.status == 0
    assert printed.out.startswith("efefefefefef  waiting for the patient, until ")
    asked = control.AccessAsk(patient="CM1ABC", purposes=("TREAT",), for_ms=30 * DAY_MS)
    assert script.asked == [
        asked,
        replace(asked, kind="dicom", stands_ms=2 * DAY_MS),
        replace(asked, tokens=(TOKEN,), purposes=("TREAT", "HRESCH")),
        control.AccessAsk(renew=TOKEN, for_ms=7 * DAY_MS),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        FULL[:2] + FULL[4:],
        FULL[:4] + FULL[6:],
        FULL[:6] + FULL[8:],
        FULL[:8],
        [*FULL, "--renew", TOKEN],
        [*FULL, "--records", TOKEN],
        [*FULL, "--stands", "91d"],
    ],
    ids=["nobody", "nothing", "no purpose", "no time", "renewal of what", "all and one", "too long"],
)
async def test_a_request_without_a_part_is_a_usage_error(
    tmp_path: Path, chartmesh: Run, arguments: list[str]
) -> None:
    async with serving(tmp_path, {control.AccessAsk: RESULTS[control.AccessAskResult]}) as script:
        assert (await chartmesh(*arguments)).status == 2
    assert script.asked == []


async def test_a_patient_reads_who_asks_what_why_and_for_how_long(tmp_path: Path, chartmesh: Run) -> None:
    told = control.MyRequestsResult(
        requests=(REQUEST, replace(REQUEST, request="ab" * 32, state="declined")), unreached=("03",)
    )
    async with serving(tmp_path, {control.MyRequests: told}):
        printed = await chartmesh("my", "requests")
    assert "efefefefefef  clinic-b asks to read all records for treatment, for 1d\n" in printed.out
    assert "1 record of yours now: Letter" in printed.out
    assert "chartmesh my approve efefefefefef" in printed.out
    assert "chartmesh my decline efefefefefef" in printed.out
    assert "you declined it" in printed.out
    assert "my approve abababababab" not in printed.out
    assert (printed.status, "1 clinic could not be reached" in printed.err) == (3, True)


async def test_an_answer_says_what_is_shared_and_whether_the_clinic_knows(
    tmp_path: Path, chartmesh: Run
) -> None:
    shared = control.MyShareResult(grants=(GRANT,), told=False)
    answers = {control.MyApprove: shared, control.MyDecline: RESULTS[control.MyRequestResult]}
    async with serving(tmp_path, answers) as script:  # type: ignore[arg-type]
        approved = await chartmesh("my", "approve", TOKEN, "--for", "7d", "--record", TOKEN)
        declined = await chartmesh("my", "decline", TOKEN)
    assert "Stop with: chartmesh my stop cdcdcdcdcdcd" in approved.out
    assert "declined: clinic-b does not get all records" in declined.out
    assert all("could not be told yet" in one.err for one in (approved, declined))
    assert script.asked == [
        control.MyApprove(id=TOKEN, for_ms=7 * DAY_MS, records=(TOKEN,)),
        control.MyDecline(id=TOKEN),
    ]


async def test_what_runs_out_is_shown_with_the_command_that_renews_it(
    tmp_path: Path, chartmesh: Run
) -> None:
    ending = replace(
        GRANT,
        grantee_name="clinic-b",
        title="Letter",
        purposes=("HRESCH", "TREAT"),
        not_before="2026-11-01T10:00:00.000Z",
        not_after="2026-12-01T10:00:00.000Z",
        ends_soon=True,
    )
    answers = {
        control.MyShares: control.MySharesResult(grants=(ending, GRANT)),
        control.AccessList: control.AccessListResult(grants=(ending, GRANT)),
        control.MyShare: control.MyShareResult(grants=(GRANT,)),
    }
    async with serving(tmp_path, answers) as script:  # type: ignore[arg-type]
        patient = await chartmesh("my", "shares")
        clinic = await chartmesh("access", "list", "--expiring", "7d")
        [command] = [line for line in patient.err.splitlines() if "Renew with: chartmesh " in line]
        typed = command.split("Renew with: chartmesh ")[1].split(" --data-dir")[0].split()
        assert (await chartmesh(*typed)).status == 0
    assert script.asked[-1] == control.MyShare(
        records=(TOKEN[:12],), clinic="clinic-b", for_ms=30 * DAY_MS, purposes=("HRESCH", "TREAT")
    )
    assert clinic.err.count("chartmesh access ask --renew cdcdcdcdcdcd --for 30d") == 1


async def test_what_a_clinic_asked_is_listed_with_what_became_of_it(tmp_path: Path, chartmesh: Run) -> None:
    declined = replace(REQUEST, state="declined")
    answers = {
        control.AccessList: control.AccessListResult(grants=(), requests=(declined,)),
        control.AccessShow: control.AccessShowResult(request=declined),
    }
    async with serving(tmp_path, answers):  # type: ignore[arg-type]
        listed = await chartmesh("access", "list")
        shown = await chartmesh("access", "show", TOKEN)
    assert "declined" in listed.out
    assert "efefefefefef" in listed.out
    assert "state         declined" in shown.out
