"""Ctrl-C in the commands that take long: nothing is half-written, and they can be run again."""

import os
from pathlib import Path

import pytest

from node import paths
from node.demo.stage import Actor, Answer, Stage, argv
from protocol import limits
from protocol.exits import INTERRUPTED
from tests.e2e.clinics import interrupt, share_record, until

LARGE_BYTES = 96 * limits.MIB
BEGUN_BYTES = 4 * limits.MIB


def is_told(answer: Answer) -> bool:
    lines = answer.stderr.decode().splitlines()
    return (answer.status, lines[0][:7], lines[1][:6], len(lines)) == (INTERRUPTED, "error: ", "hint: ", 2)


def read_so_far(pid: int, file: Path) -> int:
    """How much of `file` a process has read."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        if one.exists() and one.samefile(file):
            text = (one.parent.parent / "fdinfo" / one.name).read_text()
            return int(text.partition("pos:")[2].split()[0])
    return 0


def daemons_of(stage: Stage, actor: Actor) -> list[int]:
    return [pid for pid in stage.daemons() if os.fsencode(actor.data_dir) in argv(pid)]


async def test_a_record_add_that_is_interrupted_adds_nothing_and_spends_no_code(
    stage: Stage, tmp_path: Path
) -> None:
    clinic, large, small = stage.clinics["clinic-a"], tmp_path / "large", tmp_path / "small"
    large.touch()
    os.truncate(large, 8 * LARGE_BYTES)
    small.write_bytes(b"in its place")
    before = await clinic.ask("record", "list")
    code = (await stage.patient.ask("my", "code", "--clinic", clinic.name))["code"]
    answer = await interrupt(
        clinic.program("record", "add", str(large), "--for", code),
        lambda pid: read_so_far(pid, large) > BEGUN_BYTES,
        folder=tmp_path,
    )
    assert is_told(answer), answer
    assert answer.stdout == b""
    assert await clinic.ask("record", "list") == before
    [added] = (await clinic.ask("record", "add", str(small), "--for", code))["records"]
    assert added["final"]


async def test_a_record_get_that_is_interrupted_leaves_no_file(stage: Stage, tmp_path: Path) -> None:
    content = bytes(range(256)) * (LARGE_BYTES // 256)
    shared = await share_record(stage, stage.clinics["clinic-a"], content)
    folder = tmp_path / "records"
    folder.mkdir()
    arguments = ("record", "get", shared.token, "--purpose", "TREAT", "-o", str(folder))
    answer = await interrupt(
        shared.reader.program(*arguments),
        lambda pid: any(one.stat().st_size > BEGUN_BYTES for one in folder.iterdir()),
        folder=tmp_path,
    )
    assert is_told(answer), answer
    assert os.listdir(folder) == []
    got = await shared.reader.ask(*arguments)
    [saved] = folder.iterdir()
    assert saved.read_bytes() == content
    assert got["path"] == str(saved)


@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "while it opens its keys"])
async def test_a_start_that_is_interrupted_leaves_no_daemon(
    stage: Stage, tmp_path: Path, is_late: bool
) -> None:
    clinic = stage.clinics["clinic-d"]
    await clinic.ask("stop")
    paths.lock(clinic.data_dir).unlink()

    def has_begun(pid: int) -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return clinic.pid() is not None if is_late else bool(children)

    answer = await interrupt(clinic.program("start"), has_begun, folder=tmp_path)
    assert is_told(answer), answer
    assert daemons_of(stage, clinic) == []
    assert (await clinic.run("status")).status == 6
    begun = await clinic.ask("start")
    assert begun["name"] == clinic.name


async def test_a_demo_that_is_interrupted_leaves_no_process_and_no_file(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("demo")  # its sockets need a short path
    here = Stage(folder)
    answer = await interrupt(
        stage.clinics["clinic-a"].program("demo")[:-2],
        lambda pid: len(here.daemons()) == len(here.clinics),
        folder=folder,
        TMPDIR=str(folder),
    )
    assert is_told(answer), answer
    await until(lambda: not here.daemons(), "the demo's daemons to be gone")
    assert not any(name.startswith("chartmesh-demo") for name in os.listdir(folder))
