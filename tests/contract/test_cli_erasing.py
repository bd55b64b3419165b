"""`my erase` against a scripted daemon: asked twice, and nothing is sent unless both are answered."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.exchange import Exchange
from protocol import control
from tests.contract import test_cli
from tests.contract.test_cli import TOKEN, Run
from tests.contract.test_cli_wallet import WORDS, paper
from tests.control_samples import ERASED, GRANT
from tests.control_world import Script, serving

__all__ = ["paper"]
chartmesh = test_cli.chartmesh
READ = control.AccessItem(
    time="2026-11-26T10:00:00.000Z",
    member="02" * 33,
    member_name="clinic-b",
    user="dr b",
    purpose="TREAT",
    grant="cd" * 32,
    token=TOKEN,
    outcome="served",
    bytes=7,
)
SHOWN = replace(
    ERASED,
    final=False,
    state="owned",
    deleted_at=(),
    issuer_name="clinic-a",
    time=control.utc(1),
    unreached=("03",),
    holders=tuple(replace(one, state="holds", time=None) for one in ERASED.holders),
    grants=(replace(GRANT, grantee_name="clinic-d"),),
    accesses=(READ, READ),
    prior="ef" * 32,
)


async def answer(request: control.MyErase, exchange: Exchange) -> control.Document:
    """As a daemon whose record is not erased yet."""
    return SHOWN if request.words is None else ERASED


def sent_words(daemon: Script) -> list[control.MyErase]:
    return [one for one in daemon.asked if isinstance(one, control.MyErase) and one.words is not None]


def typing(monkeypatch: pytest.MonkeyPatch, lines: Sequence[str]) -> None:
    """A person at the terminal who types these lines; the words are not typed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)


@pytest.mark.parametrize(
    ("lines", "is_done"),
    [
        (["y", TOKEN[:12]], True),
        (["y", TOKEN], True),
        (["y", "y"], False),
        (["y", TOKEN[:11]], False),
        (["n"], False),
    ],
    ids=["short", "whole", "yes-twice", "too-short", "no"],
)
async def test_both_questions_must_be_answered_before_the_words_are_sent(
    tmp_path: Path,
    chartmesh: Run,
    paper: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    is_done: bool,
) -> None:
    typing(monkeypatch, lines)
    async with serving(tmp_path, {control.MyErase: answer}) as daemon:
        printed = await chartmesh("my", "erase", TOKEN[:8], "--words-file", str(paper))
    assert printed.status == (3 if is_done else 2)
    assert sent_words(daemon) == ([control.MyErase(record=TOKEN, words=WORDS)] if is_done else [])
    assert "abandon" not in printed.out + printed.err
    told = printed.err
    assert "Letter, from clinic-a" in told
    assert "held by clinic-a, clinic-c" in told
    assert "shared with clinic-d: that ends" in told
    assert told.count("clinic-b (last") == 1
    assert "NOT undone" in told
    assert "1 clinic could not be reached" in told
    assert "one version of a record with a history" in told


async def test_a_script_names_the_whole_id_or_nothing_is_erased(
    tmp_path: Path, chartmesh: Run, paper: Path
) -> None:
    erase = ("my", "erase", "--words-file", str(paper), "--json")
    async with serving(tmp_path, {control.MyErase: answer}) as daemon:
        unasked = await chartmesh(*erase, TOKEN)
        short = await chartmesh(*erase, "--yes", TOKEN[:12])
        assert sent_words(daemon) == []
        whole = await chartmesh(*erase, "--yes", TOKEN)
    assert (unasked.status, unasked.error["code"]) == (2, "usage")
    assert (short.status, short.error["code"]) == (2, "usage")
    assert whole.status == 3
    [document] = whole.documents
    assert {name: document[name] for name in ("v", "token", "final", "deleted_at", "unreached")} == {
        "v": 1,
        "token": TOKEN,
        "final": True,
        "deleted_at": ["02"],
        "unreached": ["03"],
    }
    assert len(sent_words(daemon)) == 1


async def test_the_words_come_by_an_open_descriptor(tmp_path: Path, chartmesh: Run) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(WORDS.encode())
    async with serving(tmp_path, {control.MyErase: answer}) as daemon:
        await chartmesh("my", "erase", "--yes", TOKEN, "--words-fd", str(reader))
    assert [one.words for one in sent_words(daemon)] == [WORDS]


@pytest.mark.parametrize(
    ("state", "words", "status"),
    [
        ("deleted", "deleted at 2 of 2 holders", 0),
        ("unreached", "deleted at 1 of 2 holders; clinic-c not reached: it deletes on return", 3),
        ("waiting", "clinic-c has not attested it yet", 3),
        ("changed", "clinic-c shows an audit log that does not hold (changed)", 3),
    ],
)
async def test_an_erased_record_is_not_asked_about_and_its_holders_are_told_of(
    tmp_path: Path, chartmesh: Run, state: str, words: str, status: int
) -> None:
    first, second = ERASED.holders
    second = replace(second, state=state)
    deleted_at = ("02", "03") if state == "deleted" else ("02",)
    erased = replace(ERASED, holders=(first, second), deleted_at=deleted_at)
    listed = control.MyErasuresResult(erasures=(erased,))
    async with serving(tmp_path, {control.MyErase: erased, control.MyErasures: listed}):
        printed = await chartmesh("my", "erase", TOKEN)
        table = await chartmesh("my", "erasures")
        for_scripts = await chartmesh("my", "erasures", "--json")
    assert printed.status == table.status == for_scripts.status == status
    assert words in printed.out
    assert ("see later: chartmesh my erase" in printed.err) == (status != 0)
    assert "Letter" in table.out
    assert for_scripts.documents[0]["erasures"][0]["holders"][1]["state"] == state


async def test_what_is_not_final_is_not_called_erased(tmp_path: Path, chartmesh: Run, paper: Path) -> None:
    async def not_yet(request: control.MyErase, exchange: Exchange) -> control.Document:
        return SHOWN if request.words is None else replace(SHOWN, state="sent")

    async with serving(tmp_path, {control.MyErase: not_yet}):
        printed = await chartmesh("my", "erase", "--yes", TOKEN, "--words-file", str(paper))
    assert printed.status == 5
    assert "not final yet" in printed.out
