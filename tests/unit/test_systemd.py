"""The daemon's states reach a supervisor that listens, and one that does not changes nothing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from node.systemd import Supervisor


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
