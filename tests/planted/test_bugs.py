"""Each planted bug is found by the test that its patch names, and without a bug the same tests pass."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = "40"
RUN_S = 300
PATCHED = ("node", "protocol")
LINKED = ("cli", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Bug:
    """One patch, and the words above its diff."""

    patch: Path
    found_by: str
    says: tuple[str, ...]

    @classmethod
    def read(cls, patch: Path) -> "Bug":
        text = patch.read_text(encoding="utf-8").partition("\n--- ")[0]
        words = dict(line.split(": ", 1) for line in text.splitlines())
        return cls(patch, words["Found-by"], tuple(words["Says"].split(" | ")))


BUGS = [Bug.read(patch) for patch in sorted(HERE.glob("*.patch"))]


def copy_with(bug: Bug | None, into: Path) -> Path:
    """The source in a folder of its own, with the bug in it."""
    for folder in PATCHED:
        shutil.copytree(ROOT / folder, into / folder)
    for name in LINKED:
        (into / name).symlink_to(ROOT / name)
    if bug is not None:
        command = ["git", "apply", str(bug.patch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=into)
        assert done.returncode == 0, f"the code moved on: say what the bug looks like now\n{done.stderr}"
    return into


def report(found_by: str, tree: Path, seeds: str) -> tuple[int, str]:
    """The exit status and output of pytest for one test, on the source in `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "CHARTMESH_SIM_HARSH_SEEDS": seeds}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, found_by],
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
        env=environment,
        timeout=RUN_S,
    )
    return done.returncode, done.stdout + done.stderr


def test_there_are_enough_bugs() -> None:
    assert len(BUGS) >= 12


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.patch.stem)
def test_a_planted_bug_is_found_by_its_test(bug: Bug, tmp_path: Path) -> None:
    status, said = report(bug.found_by, copy_with(bug, tmp_path), SEEDS)
    assert status == pytest.ExitCode.TESTS_FAILED, said
    assert any(words in said for words in bug.says), said


@pytest.mark.parametrize("found_by", sorted({bug.found_by for bug in BUGS}))
def test_without_a_bug_the_same_test_passes(found_by: str, tmp_path: Path) -> None:
    status, said = report(found_by, copy_with(None, tmp_path), "1")
    assert status == pytest.ExitCode.OK, said
