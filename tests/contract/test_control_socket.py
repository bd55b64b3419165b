"""The control socket as a file: whose it is, and when it is taken, replaced and removed."""

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from cli.client import call
from cli.settings import Place
from node.control.bind import bind_control_socket, is_allowed_user
from node.control.server import ControlServer
from protocol import control
from protocol.control import SOCKET_NAME
from protocol.errors import Code, UserError
from tests.control_world import STATUS, Script, serving


async def status(folder: Path) -> control.StatusResult:
    place = Place(folder, folder / SOCKET_NAME)
    return await trio.to_thread.run_sync(lambda: call(place, control.Status(), timeout_s=10))


async def test_the_socket_is_for_its_owner_alone_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME
    async with serving(tmp_path, {}):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == [SOCKET_NAME]
    assert not path.exists()


@pytest.mark.parametrize(
    ("uid", "own", "allowed"), [(1000, 1000, True), (0, 1000, True), (1001, 1000, False), (1000, 0, False)]
)
def test_only_the_same_user_and_root_may_command(uid: int, own: int, allowed: bool) -> None:
    assert is_allowed_user(uid, own=own) is allowed


async def test_a_live_socket_is_never_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, {control.Status: STATUS}):
        with pytest.raises(UserError) as caught, trio.fail_after(10):
            await ControlServer(path=tmp_path / SOCKET_NAME, answerer=Script({})).run()
        assert caught.value.code is Code.ALREADY_RUNNING
        assert await status(tmp_path) == STATUS


def test_a_socket_whose_owner_is_too_busy_to_accept_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(UserError) as caught:
            bind_control_socket(path)
    assert caught.value.code is Code.ALREADY_RUNNING


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(tmp_path, {control.Status: STATUS}):
        assert await status(tmp_path) == STATUS


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME
    path.write_text("precious")
    with pytest.raises(UserError) as caught:
        await ControlServer(path=path, answerer=Script({})).run()
    assert caught.value.code is Code.CONFIG
    assert path.read_text() == "precious"


def test_a_path_too_long_for_a_socket_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    with pytest.raises(UserError) as caught:
        bind_control_socket(folder / SOCKET_NAME)
    assert caught.value.code is Code.CONFIG
    assert list(folder.iterdir()) == []
