"""What a patient takes with her is verified where there is no node and no network."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from node.demo.stage import Stage, environment
from tests.e2e.clinics import SharedRecord, share_record

PATIENCE_S = 60.0
CONTENT = b"a letter that she takes with her"


@pytest.fixture(scope="module")
def shared(stage: Stage) -> SharedRecord:
    return trio.run(share_record, stage, stage.clinics["clinic-a"], CONTENT)


@pytest.fixture(scope="module")
def file(stage: Stage, shared: SharedRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Her one record, after the clinic that may has read it."""

    async def export(path: Path) -> None:
        await shared.reader.ask(
            "record", "get", shared.token, "--purpose", "TREAT", "--as", "dr.b", "-o", str(path)
        )
        told = await stage.patient.ask("my", "export", str(path / "my.export"), shared.token)
        assert (told["records"], told["left_out"], told["unreached"]) == (1, [], [])

    folder = tmp_path_factory.mktemp("export")
    trio.run(export, folder)
    return folder / "my.export"


def verify(stage: Stage, file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """The command, in an environment where there is no node."""
    program = [
        sys.executable,
        "-m",
        "cli.main",
        "verify",
        str(file),
        "--genesis",
        str(stage.genesis),
        *options,
    ]
    return subprocess.run(
        program, env=environment(), cwd=file.parent, capture_output=True, text=True, timeout=60
    )


def test_an_export_says_who_may_read_and_who_did_and_gives_the_record_back(
    stage: Stage, shared: SharedRecord, file: Path, tmp_path: Path
) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    done = verify(stage, file, "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f": {shared.reader.name}, TREAT, " in done.stdout
    assert f"dr.b of {shared.reader.name}, TREAT, served by" in done.stdout
    [saved] = tmp_path.iterdir()
    assert saved.read_bytes() == CONTENT
    assert saved.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda raw: raw[:-1], "export"),
        (lambda raw: raw + b"!", "export"),
        (lambda raw: raw[:3000] + bytes([raw[3000] ^ 1]) + raw[3001:], "export"),
        (lambda _: b"", "export"),
        (lambda raw: raw.replace(CONTENT, CONTENT[::-1]), "export"),
    ],
)
def test_a_file_that_was_changed_proves_nothing_and_leaves_nothing(
    stage: Stage, file: Path, tmp_path: Path, spoil: "Callable[[bytes], bytes]", code: str
) -> None:
    spoiled = tmp_path / "spoiled"
    spoiled.write_bytes(spoil(file.read_bytes()))
    out = tmp_path / "out"
    out.mkdir()
    done = verify(stage, spoiled, "-o", str(out), "--json")
    assert done.returncode == 1
    assert f'"code": "{code}"' in done.stderr
    assert list(out.iterdir()) == []


def test_nothing_is_overwritten(stage: Stage, file: Path) -> None:
    before = file.read_bytes()
    told = trio.run(stage.patient.run, "my", "export", str(file))
    assert told.status == 1
    assert file.read_bytes() == before
