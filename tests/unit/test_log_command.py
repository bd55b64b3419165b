"""`chartmesh log`: which lines it shows, and how it goes on with what comes."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli import log
from cli.launch import LOG_NAME
from cli.log import Sieve, follow, tail
from cli.main import run

TEXT = """\
2026-11-27 10:00:00,123 INFO    node.app: ready
2026-11-27 10:00:01,000 ERROR   node.app: it failed
Traceback (most recent call last):
  ValueError: \x1b[31mred
{"time": "2026-11-27T10:00:02.000Z", "level": "debug", "logger": "node.app", "message": "small"}
{"time": "2026-11-27T10:00:03.000Z", "level": "warning", "logger": "node.app", "message": "look"}
2026-11-27 10:00:04,000 CRITICAL node.app: the end
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / LOG_NAME
    path.write_text(TEXT)
    return path


def shown(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert run(["log", "--data-dir", str(path.parent), *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_traceback_fares_as_the_line_that_it_belongs_to(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        level: shown(path, capsys, "--level", level) for level in ("debug", "info", "warning", "error")
    }
    assert [len(found[level]) for level in found] == [7, 6, 5, 4]
    assert found["error"][1:3] == [
        "Traceback (most recent call last):",
        "  ValueError: \N{REPLACEMENT CHARACTER}[31mred",
    ]
    assert "the end" in found["error"][3]


def test_the_newest_lines_are_shown_and_json_is_a_line_each(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [last] = shown(path, capsys, "--lines", "1", "--json")
    assert json.loads(last) == {"v": 1, "type": "line", "line": TEXT.splitlines()[-1]}
    [warned, _] = shown(path, capsys, "--lines", "2", "--level", "warning")
    assert "look" in warned


def test_of_a_long_log_whole_lines_of_its_end_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "TAIL_BYTES_MAX", 130)
    with path.open("rb") as file:
        lines = tail(file)
    assert lines == TEXT.splitlines()[-1:]


def test_what_comes_is_told_line_by_line_also_from_a_log_begun_anew(path: Path) -> None:
    with path.open("ab") as begun:
        begun.write(b"half a ")
    steps: Iterator[bytes | None] = iter((b"line\n", b"", None, b"more\n"))

    def wait() -> None:
        step = next(steps)
        if step is None:
            path.rename(path.with_name("aside"))
            path.write_bytes(b"first of the new\n")
            return
        with path.open("ab") as added:
            added.write(step)

    with path.open("rb") as file, closing(follow(path, file, wait)) as told:
        assert len(tail(file)) == len(TEXT.splitlines())
        assert [next(told) for _ in range(3)] == ["half a line", "first of the new", "more"]


def test_a_line_of_another_kind_is_let_through_until_one_says_otherwise() -> None:
    sieve = Sieve("error")
    assert sieve("words of a library")
    assert not sieve("2026-11-27 10:00:00,123 INFO    node.app: ready")
    assert not sieve("words of a library")


def test_without_a_log_it_says_where_else_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["log", "--data-dir", str(tmp_path)]) == 2
    assert "journalctl" in capsys.readouterr().err
