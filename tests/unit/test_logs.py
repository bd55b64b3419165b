"""The daemon's log: our lines at the level asked for, others' from warnings on, as text or JSON."""

import json
import logging
from collections.abc import Iterator

import pytest

from node.logs import begin_log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("node")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_lines_are_json_with_a_time_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    begin_log("info", is_json=True)
    logging.getLogger("node.app").info("ready in %s", "«here»")
    document = json.loads(capsys.readouterr().err)
    assert (document["level"], document["logger"], document["message"]) == (
        "info",
        "node.app",
        "ready in «here»",
    )
    assert document["time"].endswith("Z")


def test_an_exception_is_told_in_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    begin_log("info", is_json=True)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("node.app").exception("failed")
    [line] = capsys.readouterr().err.splitlines()
    assert "two\nlines" in json.loads(line)["exception"]


def test_the_level_is_ours_and_others_speak_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    begin_log("debug", is_json=False)
    logging.getLogger("node.chain.sync").debug("ours")
    logging.getLogger("elsewhere").info("theirs")
    logging.getLogger("elsewhere").warning("their warning")
    said = capsys.readouterr().err
    assert "ours" in said
    assert "their warning" in said
    assert "theirs" not in said
