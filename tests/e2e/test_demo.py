"""The main job as a new user starts it: `chartmesh demo` plays the whole story on real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 8
SECONDS_MAX = 180  # the story is done in a third of it; a machine may be busy


def lines_of(*arguments: str, **variables: str) -> tuple[int, list[dict[str, Any]], str]:
    """The exit status, the JSON lines and the errors of one run."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "demo", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
        env=os.environ | variables,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_every_step_of_the_story_holds_wherever_temporary_files_go(tmp_path: Path) -> None:
    far = tmp_path.joinpath(*(10 * ["temporary"]))
    far.mkdir(parents=True)
    status, lines, errors = lines_of(TMPDIR=str(far))
    *steps, last = lines
    assert [(one["step"], one["detail"]) for one in steps if not one["ok"]] == [], errors
    assert (status, last["result"], len(steps)) == (0, "ok", STEPS)
    assert {one["v"] for one in lines} == {1}
    assert all(isinstance(one["seconds"], float) and one["detail"] for one in steps)


def test_a_directory_with_something_in_it_is_not_played_in(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    status, lines, errors = lines_of("--keep", str(tmp_path))
    assert (status, lines) == (2, [])
    assert json.loads(errors)["code"] == "usage"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    far = tmp_path.joinpath(*(10 * ["far-away"]))
    status, lines, errors = lines_of("--keep", str(far))
    assert (status, lines) == (2, [])
    assert "too long" in json.loads(errors)["error"]
