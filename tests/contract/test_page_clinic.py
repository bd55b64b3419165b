"""A clinic's pages before a scripted node: each is answered, and texts of others stay text."""

import pytest
from msgspec.structs import replace

from protocol import control
from tests.control_samples import REQUEST
from tests.control_world import STATUS, Answer
from tests.page_world import CLINIC_A, MEMBERS, SHARED, TITLE, TOKEN, open_world

RECORD = control.RecordItem(
    token=TOKEN,
    issuer=CLINIC_A,
    time="2026-11-25T12:00:00.000Z",
    size=2048,
    title=TITLE,
    type="fhir",
    patient="p-1",
    issuer_name="clinic-a",
    copies=3,
    grants=1,
)
ENTRY = control.AuditItem(
    sequence=1,
    time="2026-11-25T12:00:00.000Z",
    event="read",
    outcome="served",
    hash="ef" * 32,
    user=TITLE,
    purpose="TREAT",
    token=TOKEN,
)
CLINIC: dict[type, Answer | control.Document] = {
    control.Status: STATUS,
    control.Members: MEMBERS,
    control.RecordList: control.RecordListResult(records=(RECORD,)),
    control.RecordShow: control.RecordShowResult(
        record=RECORD, owner="04" * 33, generation=0, height=3, root="aa" * 32, holders=(CLINIC_A,)
    ),
    control.AccessList: control.AccessListResult(
        grants=(SHARED,), requests=(REQUEST, replace(REQUEST, state="declined", kind=""))
    ),
    control.AuditList: control.AuditListResult(entries=(ENTRY,), ok=True, head="ef" * 32),
    control.AuditVerify: control.AuditVerifyResult(entries=1, ok=True, head="ef" * 32),
    control.StoreStat: control.StoreStatResult(
        databases=(control.DatabaseItem(name="ledger", bytes=5),),
        free_bytes=9,
        low_water_bytes=2,
        vital_bytes=1,
        used_bytes=1,
        quota_bytes=4,
    ),
}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "clinic-b"),
        ("/records", "Blood &lt;b&gt;"),
        ("/records?q=blood&days=7", "Blood &lt;b&gt;"),
        (f"/records/{TOKEN}", "clinic-a"),
        ("/access", "Blood &lt;b&gt;"),
        ("/audit", "Blood &lt;b&gt;"),
        ("/audit?outcome=served&verify=1", "Blood &lt;b&gt;"),
        ("/charts", "ledger"),
    ],
)
async def test_each_page_of_a_clinic_shows_what_the_node_answered(path: str, shown: str) -> None:
    async with open_world(CLINIC, role="clinic") as world:
        await world.enter()
        answer = await world.get(path)
        assert answer.status_code == 200
        assert shown in answer.text
        assert TITLE not in answer.text


async def test_what_the_clinic_asked_for_stands_beside_what_became_of_it() -> None:
    async with open_world(CLINIC, role="clinic") as world:
        await world.enter()
        text = (await world.get("/access")).text
        assert (
            "This clinic asks to read all records for treatment, for 1 d. The patient has not answered"
            in text
        )
        assert "This clinic asks to read “Letter” for treatment, for 1 d. The patient said no." in text


async def test_filters_take_away_what_does_not_fit() -> None:
    async with open_world(CLINIC, role="clinic") as world:
        await world.enter()
        assert "Blood" not in (await world.get("/records?q=urine")).text
        assert "Blood" not in (await world.get("/audit?outcome=denied")).text
        assert (await world.get("/records?days=99")).status_code == 400
        assert (await world.get("/records?type=fhir&patient=Ann")).status_code == 200
        asked = [one for one in world.script.asked if isinstance(one, control.RecordList)]
        assert [(one.type, one.patient) for one in asked] == [("all", None), ("fhir", "Ann")]
        assert (await world.get("/records?type=x")).status_code == 400


async def test_a_clinic_has_no_pages_of_a_patient() -> None:
    async with open_world(CLINIC, role="clinic") as world:
        await world.enter()
        assert (await world.get("/wallet")).status_code == 404
        assert (await world.get(f"/records/{TOKEN}/original")).status_code == 404
