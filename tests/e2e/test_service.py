"""The daemon under what its systemd unit forbids, as far as that can be had without systemd."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from node.demo.stage import environment
from tests.e2e import test_daemon
from tests.e2e.clinics import until
from tests.e2e.confined import kernel
from tests.e2e.test_daemon import END_S, Home, daemon_command, found, is_listening

homes = test_daemon.homes
CONFINED = [sys.executable, "-P", "-m", "tests.e2e.confined"]
ROOT = Path(__file__).parents[2]


def confined(*program: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*CONFINED, *program], env=environment() | {"PYTHONPATH": str(ROOT)}, **options)


@pytest.mark.parametrize(
    "attempt",
    [
        "os.chown('.', 0, 0)",
        "os.setpriority(os.PRIO_PROCESS, 0, 1)",
        "os.sched_setaffinity(0, os.sched_getaffinity(0))",
        *(["import mmap; mmap.mmap(-1, 4096, prot=7)"] if kernel() >= (6, 3) else []),
    ],
)
def test_what_is_forbidden_fails(tmp_path: Path, attempt: str) -> None:
    """Otherwise the next test would show nothing."""
    tried = confined(sys.executable, "-c", f"import os\n{attempt}", stderr=subprocess.PIPE, cwd=tmp_path)
    assert b"PermissionError" in tried.communicate(timeout=END_S)[1]


def test_a_clinic_lives_under_what_its_unit_forbids(homes: Callable[[], Home], tmp_path: Path) -> None:
    home = homes()
    found(home, "confined")
    command = daemon_command("daemon", "--data-dir", home.path, "--passphrase-file", home.secret)
    with (tmp_path / "log").open("wb") as log:
        daemon = confined(*command, stderr=log, cwd=ROOT)
    try:
        trio.run(until, lambda: daemon.poll() is not None or is_listening(home.path), "the daemon")
        assert daemon.poll() is None, (tmp_path / "log").read_text()
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        if os.geteuid() == 0:
            assert "CapEff:\t0000000000000000" in status

        def ask(*words: str) -> Any:
            program = [sys.executable, "-P", "-m", "cli.main", *words, "--data-dir", str(home.path)]
            asked = subprocess.run(
                [*program, "--json"], env=environment(), capture_output=True, timeout=END_S, check=False
            )
            return json.loads(asked.stdout) if asked.stdout else {}

        trio.run(until, lambda: ask("status").get("height"), "a block of a lone clinic")
        assert ask("status")["fresh"]
        assert ask("store", "verify")["ok"]
        assert ask("audit", "verify")["ok"]
        assert ask("backup", "create", str(tmp_path / "copy"))
    finally:
        daemon.terminate()
        assert daemon.wait(END_S) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
