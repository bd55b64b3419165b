"""What stands around the source is true: package names, test folders, README, dependencies, CI."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.tidy.source import PACKAGES, ROOT, python_files

README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
COMMANDS = [
    command.strip()
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    for command in line.split("&&")
]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_has_our_package_names(package: str) -> None:
    # An installation for development lists no packages of its own; the wheel's test sees the rest.
    assert set(packages_distributions().get(package, [])) <= {"chartmesh"}
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in python_files("tests")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_the_readme_shows_how_to_run_the_demo_and_the_tests() -> None:
    assert COMMANDS.count("uv run chartmesh demo") == 1
    assert COMMANDS.count("uv run pytest") == 1


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_each_command_of_the_readme_exists(command: str) -> None:
    match command.split():
        case ["pip", "install", "uv"]:
            pass
        case ["uv", "run", "chartmesh", *arguments]:
            if importlib.util.find_spec("cli.main") is None:
                pytest.skip("the command line is not there yet")
            program = [sys.executable, "-P", "-c", "from cli.main import main; main()"]
            subprocess.run(
                [*program, *arguments, "--help"], check=True, timeout=60, stdout=subprocess.DEVNULL
            )
        case ["uv", "run", program, *_]:
            assert shutil.which(program, path=os.path.dirname(sys.executable)) is not None
        case _:
            pytest.fail("a command this test does not know")


def test_each_folder_of_the_readme_exists() -> None:
    folders = re.findall(r"^\| `([\w/]+/)` \|", README, re.MULTILINE)
    assert set(PACKAGES) <= {folder.rstrip("/") for folder in folders}
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_readme_says_what_each_dependency_earns() -> None:
    declared = SETTINGS["project"]["dependencies"] + SETTINGS["dependency-groups"]["dev"]
    names = [re.split(r"[<>=~!\[ ]", item)[0] for item in declared]
    section = README.split("## What each dependency earns")[1].split("\n## ")[0]
    assert [name for name in names if not re.search(rf"\b{name}\b", section)] == []


def test_the_test_command_of_the_readme_is_what_ci_runs_last() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    runs = [line for line in script.read_text("utf-8").splitlines() if "uv run" in line]
    assert re.search(r"\buv run pytest(?! -)", runs[-1])
    for step in ("ruff check .", "ruff format --check .", "mypy", "lint-imports --no-cache"):
        assert any(f"check uv run {step}" in line for line in runs)
