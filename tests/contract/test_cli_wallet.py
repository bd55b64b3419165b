"""The commands of a patient's keys, against a scripted daemon over a real socket."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.exchange import Exchange
from protocol import control
from protocol.errors import Code, UserError
from tests.contract import test_cli
from tests.contract.test_cli import GRANT, Run
from tests.control_samples import RESULTS
from tests.control_world import STATUS, serving

chartmesh = test_cli.chartmesh
WORDS = "abandon " * 23 + "art"
LOST = RESULTS[control.LostPhoneResult]
RECOVERED = RESULTS[control.RecoverResult]
WALLET = RESULTS[control.WalletResult]
assert isinstance(LOST, control.LostPhoneResult)
NOT_YET = replace(LOST, records=tuple(replace(one, final=False) for one in LOST.records))


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A private file with the words."""
    file = tmp_path / "paper"
    file.touch(mode=0o600)
    file.write_text(f"  {WORDS}\n")
    return file


def write(paper: Path, content: bytes | None, mode: int) -> None:
    """What somebody took for the words; no file where `content` is None."""
    if content is None:
        paper.unlink()
        return
    paper.write_bytes(content)
    paper.chmod(mode)


@pytest.mark.parametrize(
    ("arguments", "request_", "result", "status"),
    [
        (
            ["my", "lost-phone", "--yes", "--keep", GRANT],
            control.MyLostPhone(words=WORDS, keep=(GRANT,)),
            LOST,
            0,
        ),
        (["my", "lost-phone", "--yes"], control.MyLostPhone(words=WORDS), NOT_YET, 5),
        (["my", "recover"], control.MyRecover(words=WORDS), RECOVERED, 0),
        (["keys", "refill"], control.KeysRefill(words=WORDS), WALLET, 0),
    ],
    ids=["lost-phone", "not-final", "recover", "refill"],
)
async def test_the_words_of_a_private_file_reach_the_daemon_and_nothing_else(
    tmp_path: Path,
    chartmesh: Run,
    paper: Path,
    arguments: list[str],
    request_: control.AnyRequest,
    result: control.Document,
    status: int,
) -> None:
    async with serving(tmp_path, {type(request_): result}) as daemon:
        for_people = await chartmesh(*arguments, "--words-file", str(paper))
        for_scripts = await chartmesh(*arguments, "--words-file", str(paper), "--json")
    assert for_people.status == for_scripts.status == status
    assert [document["v"] for document in for_scripts.documents] == [1]
    assert for_people.out.strip()
    assert "abandon" not in for_people.out + for_people.err + for_scripts.out + for_scripts.err
    assert daemon.asked == [request_, request_]


async def test_what_is_not_final_is_not_called_done(tmp_path: Path, chartmesh: Run, paper: Path) -> None:
    async with serving(tmp_path, {control.MyLostPhone: NOT_YET}):
        printed = await chartmesh("my", "lost-phone", "--yes", "--words-file", str(paper))
    assert "not final" in printed.out
    assert "run it again" in printed.err


async def test_the_words_come_by_an_open_descriptor_too(tmp_path: Path, chartmesh: Run) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(WORDS.encode() + b"\n")
    async with serving(tmp_path, {control.MyRecover: RECOVERED}) as daemon:
        assert (await chartmesh("my", "recover", "--words-fd", str(reader))).status == 0
    assert daemon.asked == [control.MyRecover(words=WORDS)]


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (WORDS.encode(), 0o640, "key-file"),
        (WORDS.encode(), 0o604, "key-file"),
        (b"", 0o600, "words"),
        (b"\n", 0o600, "words"),
        ("über".encode(), 0o600, "words"),
        (b"word " * 1000, 0o600, "words"),
        (None, 0o600, "key-file"),
    ],
    ids=["group", "others", "empty", "blank", "not-ascii", "endless", "missing"],
)
async def test_a_file_that_is_no_private_paper_sends_nothing(
    tmp_path: Path, chartmesh: Run, paper: Path, content: bytes | None, mode: int, code: str
) -> None:
    write(paper, content, mode)
    answers: dict[type, Any] = {control.MyLostPhone: LOST}
    async with serving(tmp_path, answers) as daemon:
        printed = await chartmesh("my", "lost-phone", "--yes", "--words-file", str(paper), "--json")
    assert (printed.status, printed.error["code"]) == (1, code)
    assert daemon.asked == []


@pytest.mark.parametrize(("slips", "status"), [(1, 0), (2, 0), (3, 1)])
async def test_whoever_typed_a_slip_is_asked_again_twice(
    tmp_path: Path, chartmesh: Run, monkeypatch: pytest.MonkeyPatch, slips: int, status: int
) -> None:
    async def answer(request: control.MyRecover, exchange: Exchange) -> control.Document:
        if request.words != WORDS:
            raise UserError("not a word of the list: number 3", "look again", code=Code.WORDS)
        return RECOVERED

    typed = iter(["abandon"] * slips + [WORDS])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    async with serving(tmp_path, {control.MyRecover: answer}) as daemon:
        printed = await chartmesh("my", "recover")
    assert printed.status == status
    assert printed.err.count("number 3") == slips
    assert len(daemon.asked) == min(slips + 1, 3)


async def test_keys_show_of_a_patient_is_her_wallet(tmp_path: Path, chartmesh: Run) -> None:
    light = replace(STATUS, role="light")
    async with serving(tmp_path, {control.Status: light, control.WalletShow: WALLET}):
        for_people = await chartmesh("keys", "show")
        for_scripts = await chartmesh("keys", "show", "--json")
    assert (for_people.status, for_scripts.status) == (0, 0)
    assert "253 left" in for_people.out
    assert for_scripts.documents[0]["left"] == 253
