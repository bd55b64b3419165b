"""What a patient reads: who is named, in which words, and what a script finds of it."""

from pathlib import Path

import pytest

from protocol import control
from protocol.audit_map import LogFlaw
from protocol.control import LOG_WORDS
from tests.contract import test_cli
from tests.contract.test_cli import Run
from tests.control_world import serving

chartmesh = test_cli.chartmesh
TOKEN = "ab" * 32


def told(*states: str) -> control.MyWhoResult:
    access = control.AccessItem(
        time="2026-11-26T10:00:00.000Z",
        member="02" * 33,
        member_name="clinic-b",
        user="dr b",
        purpose="TREAT",
        grant="cd" * 32,
        token=TOKEN,
        outcome="served",
        bytes=7,
        server="01" * 33,
        server_name="clinic-a",
        is_proven=True,
        is_posted=True,
    )
    logs = tuple(
        control.LogItem(member=f"{at:02x}" * 33, name=f"clinic-{at}", state=state, posted=4)
        for at, state in enumerate(states, 1)
    )
    flaws = {flaw.value for flaw in LogFlaw}
    return control.MyWhoResult(
        accesses=(access,),
        logs=logs,
        unreached=tuple(log.member for log in logs if log.state == "unreached"),
        flawed=sum(log.state in flaws for log in logs),
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("changed", "HIDES OR HAS CHANGED ENTRIES"),
        ("cut", "HAS CUT ITS LOG"),
        ("forked", "HAS REWRITTEN ITS LOG"),
        ("unproven", "DOES NOT PROVE"),
    ],
)
async def test_a_clinic_whose_log_is_wrong_is_named_in_plain_words_and_in_json(
    tmp_path: Path, chartmesh: Run, state: str, words: str
) -> None:
    async with serving(tmp_path, {control.MyWho: told("proven", state)}):
        for_people = await chartmesh("my", "who")
        for_scripts = await chartmesh("my", "who", "--json")
    assert for_people.status == for_scripts.status == 3
    assert f"clinic-2 {words}" in for_people.err
    assert "tell the network's members" in for_people.err
    assert "1 of 2 clinics proved" in for_people.err
    [document] = for_scripts.documents
    assert document["flawed"] == 1
    assert [log["state"] for log in document["logs"]] == ["proven", state]


def test_every_flaw_of_a_log_has_its_words() -> None:
    assert {flaw.value for flaw in LogFlaw} <= set(LOG_WORDS)


async def test_what_a_list_is_worth_is_said_where_all_is_well(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.MyWho: told("proven", "not-posted")}):
        printed = await chartmesh("my", "who")
    assert printed.status == 0
    assert "signed, posted" in printed.out
    assert "clinic-2 has posted nothing to the ledger yet" in printed.err
