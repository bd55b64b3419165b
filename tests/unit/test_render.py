"""Text for people: harmless, readable, and never cut where a program reads it."""

import io
import sys

import pytest
from msgspec.structs import replace

from cli import render
from cli.node_commands import status_line
from protocol.control import Progress
from tests.control_world import STATUS


def test_text_from_others_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    render.say("title\x1b[2J\x07\r\nnext \u202egnp.exe")
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert printed[:-1].isprintable()
    assert "title" in printed


def test_a_table_for_a_program_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    wide = "w" * 300
    render.table(("ID", "TITLE"), [("abcdef", wide), ("123456", "[b]plain[/b]\x1b[31m")], empty="none")
    printed = capsys.readouterr().out
    assert wide in printed
    assert "[b]plain[/b]" in printed
    assert "\x1b" not in printed


def test_an_empty_table_says_so_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(("ID",), [], empty="no records")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no records\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1m"), (273_660, "3d 4h"), (3661, "1h 1m")],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert render.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (500 * 2**30, "500 GiB"), (2**50, "1024 TiB")],
)
def test_sizes_have_binary_units(count: int, text: str) -> None:
    assert render.size(count) == text


def test_a_time_is_told_in_local_time_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert render.when("2026-01-31T12:00:00.000Z") == "2026-01-31 17:30 IST"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert render.when(None) == "-"


def test_status_is_one_line() -> None:
    assert status_line(STATUS) == (
        "clinic-a  running 3d 4h  epoch 7  members 9/10 fresh (need 7)  peers 14  pending 0  "
        "disk 3.0 GiB  final 12 s ago"
    )


def test_status_says_how_far_catching_up_is() -> None:
    behind = replace(STATUS, height=100, known_height=400, catch_up_blocks_per_s=20.0, catch_up_left_s=15.0)
    assert status_line(behind).endswith("catching up: block 100 of 400, 20 a second  about 15 s left")


def test_a_node_without_a_network_has_no_members_to_count() -> None:
    alone = replace(STATUS, network=None, running_s=3)
    assert status_line(alone) == "clinic-a  running 3 s  in no network yet"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "is_json", "drawn"),
    [
        (Terminal, False, "\r\x1b[Kscan.dcm sending 50 %  1.0 KiB of 2.0 KiB\r\x1b[K"),
        (io.StringIO, False, ""),
    ],
    ids=["terminal", "pipe"],
)
def test_progress_is_drawn_on_a_terminal_and_cleared(
    stream: type[io.StringIO], is_json: bool, drawn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    line = render.ProgressLine(is_json=is_json, label="scan.dcm")
    line(Progress(step="sending", done=1024, total=2048))
    line.clear()
    line.clear()
    assert isinstance(sys.stderr, stream)
    assert sys.stderr.getvalue() == drawn
