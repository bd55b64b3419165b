"""A record of many megabytes between real daemons: from three holders of which one is frozen, and in two
runs, the first of which is killed."""

import hashlib
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from node.demo.stage import environment
from protocol import limits
from tests.e2e.clinics import SharedRecord, four_clinics, share_record

SIZE = 48 * limits.MIB
RUNS_MAX = 50
GET = ("record", "get", "--purpose", "treatment", "--as", "dr.b")


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[SharedRecord]:
    content = hashlib.shake_256(b"a long record").digest(SIZE)
    async with four_clinics(tmp_path) as stage:
        yield await share_record(stage, next(iter(stage.clinics.values())), content)


def killed_in_the_middle(shared: SharedRecord, folder: Path) -> Path:
    """Runs `record get` and kills it while it writes; what it left. Where it was done before it was caught,
    once more."""
    program = shared.reader.program(*GET, shared.token, "-o", str(folder))
    for _ in range(RUNS_MAX):
        running = subprocess.Popen(program, stderr=subprocess.DEVNULL, env=environment())
        while running.poll() is None:
            if any(one.stat().st_size > 4 * limits.PIECE_BYTES for one in folder.glob(".*")):
                running.kill()
        found = list(folder.iterdir())
        if found and found[0].name.startswith("."):
            return found[0]
        for saved in found:
            saved.unlink()
    raise AssertionError("no run was caught in the middle")


def in_folder(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.iterdir()}


async def test_a_frozen_holder_is_made_up_for_and_a_killed_run_is_gone_on_from(
    shared: SharedRecord, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    left = await trio.to_thread.run_sync(killed_in_the_middle, shared, folder)
    assert shared.content.startswith(left.read_bytes())
    shared.issuer.send_signal(signal.SIGSTOP)
    try:
        saved = await shared.reader.ask(*GET, shared.token, "-o", str(folder))
    finally:
        shared.issuer.send_signal(signal.SIGCONT)
    assert saved["sha256"] == hashlib.sha256(shared.content).hexdigest()
    assert in_folder(folder) == {saved["path"]: shared.content}
