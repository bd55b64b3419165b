"""The wheel holds the three packages, the samples and the configuration files, and nothing else."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.tidy.source import PACKAGES, ROOT

# What an installed chartmesh must be able to do with no checkout near it.
INSTALLED = """
import hashlib, re
from importlib import metadata, resources
import cli, node, protocol
from node.samples import open_samples

for package in (cli, node, protocol):
    assert package.__file__.startswith(FOLDER), package.__file__
names = metadata.packages_distributions()
assert {tuple(set(names[name])) for name in ("cli", "node", "protocol")} == {("chartmesh",)}, names
origin = resources.files("node.samples").joinpath("ORIGIN.md").read_text("utf-8")
for sample in open_samples():
    assert hashlib.sha256(sample.bytes).hexdigest() in origin, sample.name
scripts = {point.name for point in metadata.distribution("chartmesh").entry_points}
assert scripts == {"chartmesh", "chartmeshd"}, scripts
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, timeout=120, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_and_no_tests(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("chartmesh-")} == set(PACKAGES)
    assert [name for name in names if "test" in Path(name).name and name.endswith(".py")] == []


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - names == set()
    assert {"node/samples/ORIGIN.md", "node/samples/LICENSE-fhiry", "node/samples/LICENSE-pydicom"} <= names


def test_the_wheel_brings_the_configuration_files(wheel: Path) -> None:
    brought = {
        name.split("/share/chartmesh/")[1]
        for name in ZipFile(wheel).namelist()
        if "/share/chartmesh/configs/" in name
    }
    assert brought == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*") if path.is_file()
    }


def test_an_installed_chartmesh_finds_its_samples_and_owns_its_names(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path)
    program = f"FOLDER = {str(tmp_path)!r}\nimport sys; sys.path.insert(0, FOLDER)\n{INSTALLED}"
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True, timeout=60)
