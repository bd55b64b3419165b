"""A patient's list of records and of accesses: what is corrected or kept, whom not to believe."""

from typing import Final

import pytest
from msgspec.structs import replace

from protocol import control
from protocol.control import LOG_WORDS, histories
from tests.page_world import CLINIC_A, CLINIC_B, PATIENT, RECORD, open_world

OLDER, NEWER, OTHER = "0a" * 32, "0b" * 32, "0c" * 32
EARLIER: Final = replace(
    RECORD, token=OLDER, title="Wrong knee", time="2025-03-01T12:00:00.000Z", amended_by=NEWER, grants=()
)
CORRECTED: Final = replace(RECORD, token=NEWER, title="Right knee", prior=OLDER, grants=())
ELSE: Final = replace(RECORD, token=OTHER, title="Something else", grants=())
RECORDS: Final = PATIENT | {
    control.MyRecords: control.MyRecordsResult(records=(ELSE, CORRECTED, EARLIER)),
}


async def test_a_correction_and_what_it_corrects_are_one_entry() -> None:
    async with open_world(RECORDS) as world:
        await world.enter()
        listed = (await world.get("/")).text
    assert "2 records, newest first" in listed
    assert listed.count('<li class="record">') == 2
    assert "March 2025" not in listed
    [entry] = [one for one in listed.split('<li class="record">') if "Right knee" in one]
    assert f'Corrects <a href="{world.root}/records/{OLDER}">Wrong knee</a> of 1 Mar 2025' in entry


def test_of_two_that_correct_one_record_the_newest_takes_its_place() -> None:
    older = replace(ELSE, prior=OLDER)
    assert list(histories((CORRECTED, older, EARLIER))) == [(CORRECTED, EARLIER), (older,)]


@pytest.mark.parametrize(("sought", "found"), [("wrong", "Right knee"), ("else", "Something else")])
async def test_a_correction_is_found_by_what_it_corrects_too(sought: str, found: str) -> None:
    async with open_world(RECORDS) as world:
        await world.enter()
        listed = (await world.get(f"/?q={sought}")).text
    assert f"1 of 2 records have “{sought}” in them" in listed
    assert listed.count('<li class="record">') == 1
    assert found in listed


async def test_each_version_names_the_others_and_an_earlier_one_says_what_it_is() -> None:
    async with open_world(RECORDS) as world:
        await world.enter()
        old, new, other = [(await world.get(f"/records/{one}")).text for one in (OLDER, NEWER, OTHER)]
    warning = (
        f'earlier version. <a href="{world.root}/records/{NEWER}">Right knee</a> of 25 Nov 2026 took its'
    )
    assert warning in old
    assert "earlier version" not in new
    assert "<strong>Wrong knee</strong>" in old
    assert f'<a href="{world.root}/records/{OLDER}">Wrong knee</a>' in new
    assert "Versions" not in other


async def test_how_long_a_clinic_has_to_keep_a_record_is_shown() -> None:
    kept = replace(RECORD, keep_until="2036-01-31T00:00:00.000Z")
    for record, is_shown in ((kept, True), (RECORD, False)):
        answers = PATIENT | {control.MyRecords: control.MyRecordsResult(records=(record,))}
        async with open_world(answers) as world:
            await world.enter()
            shown = (await world.get(f"/records/{record.token}")).text
        assert ("31 Jan 2036: clinic-a has to keep it" in shown) is is_shown


FAMILY: Final = PATIENT | {
    control.MyPersons: control.MyPersonsResult(
        persons=tuple(
            control.PersonItem(name=name, number=at, records=1) for at, name in enumerate(("Alice", "Ben"))
        )
    ),
    control.MyRecords: control.MyRecordsResult(
        records=(replace(ELSE, person="Ben"), replace(CORRECTED, person=""))
    ),
    control.MyCode: control.MyCodeResult(
        code="CM1ABC", clinic=CLINIC_A, clinic_name="clinic-a", not_after=RECORD.time, person="Ben"
    ),
}


async def test_whose_a_record_is_is_shown_where_the_wallet_is_of_several() -> None:
    async with open_world(FAMILY) as world:
        await world.enter()
        listed = (await world.get("/")).text
        shown = (await world.get(f"/records/{OTHER}")).text
    assert "2.0 KiB · Ben</p>" in listed
    assert "2.0 KiB · not known whose</p>" in listed
    assert "<dt>Whose</dt><dd>Ben</dd>" in shown
    async with open_world(RECORDS) as world:
        await world.enter()
        assert "2.0 KiB</p>" in (await world.get("/")).text


async def test_a_code_of_a_wallet_of_several_says_whose_it_is() -> None:
    async with open_world(FAMILY) as world:
        await world.enter()
        assert (await world.get("/code")).text.count('name="person"') == 2
        form = {"csrf": await world.csrf(), "clinic": CLINIC_A, "count": "1"}
        unsaid = await world.post("/code", form)
        made = await world.post("/code", form | {"person": "Ben"})
    assert (unsaid.status_code, made.status_code) == (400, 200)
    assert "add 1 record to Ben, until 25 Nov 2026" in made.text
    assert [one.person for one in world.script.asked if isinstance(one, control.MyCode)] == ["Ben"]


@pytest.mark.parametrize("state", [*LOG_WORDS, "proven"])
async def test_a_clinic_whose_list_is_not_whole_is_named(state: str) -> None:
    log = control.LogItem(member=CLINIC_B, name="clinic-b", state=state)
    fine = control.LogItem(member=CLINIC_A, name="clinic-a", state="proven")
    answer = control.MyWhoResult(accesses=(), logs=(log, fine))
    async with open_world(PATIENT | {control.MyWho: answer}) as world:
        await world.enter()
        shown = (await world.get("/who")).text
    words = LOG_WORDS.get(state, "").replace("'", "&#39;")
    assert (f"<strong>clinic-b</strong> {words}" in shown) is bool(words)
    assert "<strong>clinic-a</strong>" not in shown
    assert ('<p class="problem">' in shown) is (state not in ("proven", "not-posted"))
