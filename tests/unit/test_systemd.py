"""The daemon's states reach a supervisor that listens, and one that does not changes nothing."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from cli.service import HIDDEN, STATE_DIR, Service, unit_of
from node.systemd import Supervisor
from protocol.errors import Code, UserError


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        yield line


def test_ready_and_stopping_are_told(listener: socket.socket) -> None:
    told = Supervisor({"NOTIFY_SOCKET": listener.getsockname()})
    told.ready()
    told.stopping()
    assert [listener.recv(100), listener.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0chartmesh-test-notify")
        line.settimeout(5)
        Supervisor({"NOTIFY_SOCKET": "@chartmesh-test-notify"}).ready()
        assert line.recv(100) == b"READY=1"


async def test_the_watchdog_is_told_twice_in_each_period(
    listener: socket.socket, autojump_clock: trio.abc.Clock
) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "30000000"})
    with trio.move_on_after(31):
        await supervisor.keep_alive()
    assert [listener.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(100)


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"}])
async def test_without_a_supervisor_nothing_happens(env: dict[str, str]) -> None:
    supervisor = Supervisor(env)
    supervisor.ready()
    await supervisor.keep_alive()


UNIT = Path(__file__).parents[2] / "configs" / "chartmesh.service"
EXAMPLE = Service(
    program=("/usr/local/bin/chartmeshd",),
    data_dir=STATE_DIR,
    user="chartmesh",
    config=Path("/etc/chartmesh/clinic.toml"),
    credential=Path("/etc/chartmesh/passphrase.cred"),
)
EXPOSURE_MAX = 1.5
# What the analysis rates, as it was when the exposure was measured: 1.1 with systemd 252.
RATED = {
    "User": "chartmesh",
    "UMask": "0077",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "PrivateDevices": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RemoveIPC": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
}


def test_the_unit_is_as_hardened_as_it_was_measured() -> None:
    lines = UNIT.read_text().splitlines()
    given = dict(line.split("=", 1) for line in reversed(lines) if "=" in line and line[0] != "#")
    assert {name: given.get(name) for name in RATED} == RATED
    assert "SystemCallFilter=~@privileged @resources" in lines


def test_the_unit_to_copy_is_the_one_that_is_printed() -> None:
    """Renew it with `uv run python -m tests.unit.test_systemd`."""
    assert UNIT.read_text() == unit_of(EXAMPLE)


def given_by(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and line[0] != "#")


def test_a_node_below_a_hidden_folder_is_shown_to_the_daemon_and_nothing_else() -> None:
    home = HIDDEN[0] / "mary"
    service = Service((str(home / "bin/chartmeshd"),), home / "clinic", "mary", needs=(home / "bin", home))
    given = given_by(unit_of(service))
    assert (given["BindPaths"], given["BindReadOnlyPaths"]) == (str(home / "clinic"), str(home))
    assert given["ProtectHome"] == "tmpfs"
    assert "LoadCredentialEncrypted" not in given
    elsewhere = given_by(unit_of(replace(service, data_dir=Path("/srv/clinic"), needs=(Path("/usr"),))))
    assert (elsewhere["ReadWritePaths"], elsewhere["ProtectHome"]) == ("/srv/clinic", "yes")
    assert "BindReadOnlyPaths" not in elsewhere


@pytest.mark.parametrize("name", ["a b", "a%b", "a\nExecStartPre=/bin/sh", "$HOME", "a:b"])
def test_a_name_that_systemd_would_misread_is_refused(name: str) -> None:
    for told in ({"data_dir": Path("/srv", name)}, {"user": name}, {"config": Path("/etc", name)}):
        with pytest.raises(UserError) as refused:
            unit_of(replace(EXAMPLE, **told))
        assert refused.value.code is Code.CONFIG


@pytest.mark.parametrize("data_dir", [STATE_DIR, HIDDEN[0] / "clinic"], ids=["its own", "hidden"])
def test_systemd_understands_the_unit_and_its_exposure_stays_below_the_limit(
    tmp_path: Path, data_dir: Path
) -> None:
    """Where systemd is installed it rates the unit itself."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return  # the tests above hold the unit to what was measured
    unit = tmp_path / "chartmesh.service"
    unit.write_text(unit_of(replace(EXAMPLE, program=(shutil.which("true") or "true",), data_dir=data_dir)))
    rate = [program, "security", "--offline=yes", "--no-pager", str(unit)]
    answer = subprocess.run(rate, capture_output=True, text=True, check=False)
    rating = re.search(r"exposure level for chartmesh.service: ([0-9.]+)", answer.stdout)
    assert rating is not None, answer.stderr
    assert float(rating[1]) <= EXPOSURE_MAX
    verified = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, "chartmesh" in verified.stderr) == (0, False), verified.stderr


if __name__ == "__main__":
    UNIT.write_text(unit_of(EXAMPLE))
