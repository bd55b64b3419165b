"""Access requests on the page: shown as sentences, allowed as a whole or in part, declined."""

import pytest
from msgspec.structs import replace

from protocol import control, limits
from tests.control_world import Answer
from tests.page_world import CLINIC_B, PATIENT, SHARED, TITLE, TOKEN, open_world

NAME, OTHER = "ef" * 32, "ac" * 32
REQUEST = control.RequestItem(
    request=NAME,
    asker=CLINIC_B,
    asker_name="clinic-b",
    purposes=("TREAT",),
    for_s=30 * 86_400,
    not_after="2026-12-01T12:00:00.000Z",
    kind="fhir",
    records=(
        control.RequestedItem(token=TOKEN, title=TITLE),
        control.RequestedItem(token=OTHER, title="Letter"),
    ),
)


def answers(*requests: control.RequestItem, **changes: object) -> dict[type, Answer | control.Document]:
    shared = control.MyShareResult(grants=(SHARED,), told=bool(changes.get("told", True)))
    told: dict[type, Answer | control.Document] = {
        control.MyRequests: control.MyRequestsResult(
            requests=requests or (REQUEST,), unreached=(CLINIC_B,) if "unreached" in changes else ()
        ),
        control.MyApprove: shared,
        control.MyDecline: control.MyRequestResult(
            request=replace(REQUEST, state="declined"), told=shared.told is True
        ),
    }
    return PATIENT | told


async def test_who_asks_for_what_and_why_is_a_sentence() -> None:
    past = replace(REQUEST, request="aa" * 32, state="declined", kind="pdf")
    async with open_world(answers(REQUEST, past, unreached=True)) as world:
        await world.enter()
        text = (await world.get("/requests")).text
        assert "<strong>clinic-b</strong> asks to read all FHIR records for treatment, for 30 d." in text
        assert "2 records of yours now" in text
        assert "clinic-b asks to read all PDF documents for treatment, for 30 d. You said no." in text
        assert "1 clinic could not be reached" in text
        assert text.count("/requests/" + NAME) == 1
        assert "/requests/" + past.request not in text


async def test_a_request_for_named_records_says_their_titles_as_text() -> None:
    async with open_world(answers(replace(REQUEST, kind=""))) as world:
        await world.enter()
        text = (await world.get("/requests")).text
        assert "asks to read “Blood &lt;b&gt;count&lt;/b&gt; &amp; more”, “Letter” for treatment" in text


@pytest.mark.parametrize(
    ("fields", "records", "for_ms"),
    [
        ({"record": [TOKEN, OTHER], "days": ["asked"]}, (), None),
        ({"record": ["asked"], "days": ["asked"]}, (), None),
        ({"record": [OTHER], "days": ["asked"]}, (OTHER,), None),
        ({"record": [TOKEN, OTHER], "days": ["7"]}, (), 7 * limits.DAY_MS),
    ],
)
async def test_all_of_it_or_less_is_allowed(
    fields: dict[str, list[str]], records: tuple[str, ...], for_ms: int | None
) -> None:
    async with open_world(answers()) as world:
        await world.enter()
        answer = await world.post(f"/requests/{NAME}/allow", fields | {"csrf": [await world.csrf()]})
        assert world.script.asked[-2] == control.MyApprove(id=NAME, for_ms=for_ms, records=records)
        assert "clinic-b can read this record until 23 Dec 2026." in answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"days": "asked"},
        {"record": "", "days": "asked"},
        {"record": "bb" * 32, "days": "asked"},
        {"record": TOKEN, "days": "8"},
        {"record": TOKEN},
    ],
    ids=["no record", "empty", "another record", "another time", "no time"],
)
async def test_an_answer_that_is_unclear_allows_nothing(fields: dict[str, str]) -> None:
    async with open_world(answers()) as world:
        await world.enter()
        answer = await world.post(f"/requests/{NAME}/allow", fields | {"csrf": await world.csrf()})
        assert answer.status_code == 400
        assert control.MyApprove not in map(type, world.script.asked)


async def test_who_says_no_tells_the_clinic_nothing_else() -> None:
    async with open_world(answers(told=False)) as world:
        await world.enter()
        answer = await world.post(f"/requests/{NAME}/decline", {"csrf": await world.csrf()})
        assert control.MyDecline(id=NAME) in world.script.asked
        assert "You said no to clinic-b. The clinic could not be told yet" in answer.text


@pytest.mark.parametrize("act", ["allow", "decline"])
async def test_a_form_of_elsewhere_answers_nothing(act: str) -> None:
    async with open_world(answers()) as world:
        await world.enter()
        fields = {"record": TOKEN, "days": "asked", "csrf": "made up"}
        assert (await world.post(f"/requests/{NAME}/{act}", fields)).status_code == 400
        assert not {control.MyApprove, control.MyDecline} & set(map(type, world.script.asked))


async def test_what_does_not_wait_can_not_be_answered() -> None:
    async with open_world(answers(replace(REQUEST, state="lapsed"))) as world:
        await world.enter()
        missing = await world.get("/requests/" + "bb" * 32)
        assert (await world.get(f"/requests/{NAME}")).text == missing.text
        assert missing.status_code == 404
        fields = {"record": TOKEN, "days": "asked", "csrf": await world.csrf()}
        assert (await world.post(f"/requests/{NAME}/allow", fields)).status_code == 404
        assert control.MyApprove not in map(type, world.script.asked)


async def test_only_shorter_times_are_offered_and_a_long_list_is_one_choice() -> None:
    many = tuple(
        control.RequestedItem(token=f"{number:064x}", title="")
        for number in range(limits.PAGE_CHOICES_MAX + 1)
    )
    async with open_world(answers(replace(REQUEST, records=many))) as world:
        await world.enter()
        text = (await world.get(f"/requests/{NAME}")).text
        assert [f'name="days" value="{count}"' in text for count in (1, 7, 30, 90)] == [
            True,
            True,
            False,
            False,
        ]
        assert text.count('name="record"') == 1


async def test_a_form_with_too_many_fields_is_refused() -> None:
    async with open_world(answers()) as world:
        await world.enter()
        fields = {"record": ["a"] * limits.PAGE_FORM_FIELDS_MAX, "csrf": [await world.csrf()]}
        answer = await world.post(f"/requests/{NAME}/allow", fields)
        assert (answer.status_code, "too many fields" in answer.text) == (400, True)
