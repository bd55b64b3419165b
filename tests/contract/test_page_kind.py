"""Sharing by kind on the page: what the form offers, what it asks for, and what it refuses."""

import re

import pytest

from protocol import control, limits
from tests.control_samples import PROVISION
from tests.control_world import Answer
from tests.page_world import CLINIC_A, CLINIC_B, PATIENT, SHARED, open_world

PATH = "/shares/all"
ALICE = control.PersonItem(name="Alice", number=0, records=2)
BEN = control.PersonItem(name="Ben <b>", number=1, records=1)
FORM: dict[str, str | list[str]] = {
    "clinic": CLINIC_B,
    "kind": "fhir",
    "issuer": "any",
    "days": "30",
    "purpose": ["TREAT", "HRESCH"],
    "since": "",
}


def answers(
    *persons: control.PersonItem, provision: control.ProvisionItem | None = None, grants: int = 1
) -> dict[type, Answer | control.Document]:
    return PATIENT | {
        control.MyPersons: control.MyPersonsResult(persons=persons or (ALICE,)),
        control.MyShareKind: control.MyShareKindResult(grants=(SHARED,) * grants, provision=provision),
    }


def fields(text: str, name: str) -> list[str]:
    found = re.findall(rf'<input [^>]*name="{name}"[^>]*>', text)
    assert found
    return found


async def test_the_form_offers_clinics_kinds_and_persons_where_there_are_several() -> None:
    async with open_world(answers()) as world:
        await world.enter()
        assert f'href="{world.root}{PATH}"' in (await world.get("/shares")).text
        text = (await world.get(PATH)).text
        assert "all DICOM studies" in text
        assert text.count(f'value="{CLINIC_B}"') == 2
        assert 'name="person"' not in text
        # What is shared, and with whom, is nobody's default.
        for name in ("kind", "clinic"):
            assert all("checked" not in one and "required" in one for one in fields(text, name))
    async with open_world(answers(ALICE, BEN)) as world:
        await world.enter()
        text = (await world.get(PATH)).text
        assert 'name="person" value="Ben &lt;b&gt;"' in text


async def test_a_wallet_of_several_shares_nothing_of_nobody_named() -> None:
    async with open_world(answers(ALICE, BEN)) as world:
        await world.enter()
        answer = await world.post(PATH, FORM | {"csrf": await world.csrf()})
    assert answer.status_code == 400
    assert [one for one in world.script.asked if isinstance(one, control.MyShareKind)] == []


async def test_what_is_chosen_is_asked_for_and_said() -> None:
    async with open_world(answers(provision=PROVISION)) as world:
        await world.enter()
        form = FORM | {"csrf": await world.csrf()}
        plain = await world.post(PATH, form)
        assert "clinic-b can read this record until 23 Dec 2026" in plain.text
        assert "What comes is shared too, until you stop it." in plain.text
        chosen = {
            "issuer": CLINIC_A,
            "since": "2026-01-31",
            "future": "1",
            "person": "Ben <b>",
            "kind": "all",
        }
        await world.post(PATH, form | chosen)
        requests = [one for one in world.script.asked if isinstance(one, control.MyShareKind)]
    for_ms = 30 * limits.DAY_MS
    assert requests == [
        control.MyShareKind(clinic=CLINIC_B, for_ms=for_ms, purposes=("TREAT", "HRESCH"), kind="fhir"),
        control.MyShareKind(
            clinic=CLINIC_B,
            for_ms=for_ms,
            purposes=("TREAT", "HRESCH"),
            kind="all",
            issuer=CLINIC_A,
            since_ms=1_769_817_600_000,
            is_future=True,
            person="Ben <b>",
        ),
    ]


async def test_where_there_is_no_such_record_it_says_so() -> None:
    async with open_world(answers(provision=PROVISION, grants=0)) as world:
        await world.enter()
        said = await world.post(PATH, FORM | {"csrf": await world.csrf(), "future": "1"})
        assert "You have no such record now. What comes is shared too" in said.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "everything"},
        {"kind": ["fhir", "pdf"]},
        {"days": "31"},
        {"days": "-1"},
        {"purpose": []},
        {"since": "31.1.2026"},
        {"since": ["2026-01-31", "2026-02-01"]},
        {"clinic": []},
        {"issuer": ""},
    ],
    ids=str,
)
async def test_a_form_that_no_page_makes_shares_nothing(wrong: dict[str, str | list[str]]) -> None:
    async with open_world(answers()) as world:
        await world.enter()
        answer = await world.post(PATH, FORM | {"csrf": await world.csrf()} | wrong)
        assert answer.status_code == 400
        assert "does not say clearly" in answer.text
        assert not [one for one in world.script.asked if isinstance(one, control.MyShareKind)]


async def test_without_the_secret_of_the_session_nothing_is_shared() -> None:
    async with open_world(answers()) as world:
        await world.enter()
        assert (await world.post(PATH, FORM | {"csrf": "0"})).status_code == 400
        assert not [one for one in world.script.asked if isinstance(one, control.MyShareKind)]
