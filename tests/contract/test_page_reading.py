"""A FHIR record read out on the page: as text, on limits, and with the original one click away."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from node.exchange import Exchange
from protocol import control, limits
from tests.control_world import Answer
from tests.page_world import PATIENT, RECORD, TITLE, TOKEN, open_world

PATH = f"/records/{TOKEN}/read"
WRITTEN = {
    "resourceType": "Condition",
    "code": {"text": "<script>alert(1)</script>\u202e"},
    "onsetDateTime": "2020-02-03",
    "clinicalStatus": {"coding": [{"code": "active"}]},
}


def answers(content: bytes, **changes: Any) -> dict[type, Answer | control.Document]:
    """A patient whose one record holds `content`."""

    async def send(_: object, exchange: Exchange) -> control.Document:
        await exchange.write_data(content)
        return control.RecordGetResult(token=TOKEN, bytes=len(content), sha256="", audit_id="")

    record = replace(RECORD, **changes)
    told: dict[type, Answer | control.Document] = {
        control.MyRecords: control.MyRecordsResult(records=(record,)),
        control.MyRecord: send,
    }
    return PATIENT | told


async def test_what_a_record_says_is_text_and_its_original_a_click_away() -> None:
    async with open_world(answers(json.dumps(WRITTEN).encode())) as world:
        await world.enter()
        assert f'href="{world.root}{PATH}"' in (await world.get(f"/records/{TOKEN}")).text
        text = (await world.get(PATH)).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\N{REPLACEMENT CHARACTER}" in text
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "3 Feb 2020" in text
        assert f'href="{world.root}/records/{TOKEN}/original"' in text
        assert TITLE not in text


async def test_what_is_not_fhir_is_not_guessed_at() -> None:
    async with open_world(answers(b"{")) as world:
        await world.enter()
        answer = await world.get(PATH)
        assert answer.status_code == 200
        assert "cannot be read out here" in answer.text
        assert f'href="{world.root}/records/{TOKEN}/original"' in answer.text


@pytest.mark.parametrize("changes", [{"type": "pdf"}, {"size": limits.FHIR_BYTES_MAX + 1}], ids=str)
async def test_other_records_and_long_ones_are_not_read(changes: dict[str, object]) -> None:
    async with open_world(answers(b"{}", **changes)) as world:
        await world.enter()
        assert PATH not in (await world.get(f"/records/{TOKEN}")).text
        assert (await world.get(PATH)).status_code == 400
        assert control.MyRecord not in map(type, world.script.asked)


async def test_a_record_that_is_longer_than_it_said_is_dropped() -> None:
    async with open_world(answers(b" " * (limits.FHIR_BYTES_MAX + 1), size=2)) as world:
        await world.enter()
        answer = await world.get(PATH)
        assert answer.status_code == 400
        assert "cannot be read out on the page" in answer.text
