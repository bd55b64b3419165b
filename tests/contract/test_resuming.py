"""A `record get` that was broken off goes on from where it was; one that went wrong begins anew."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from cli.client import call
from cli.files import Incoming
from cli.main import run
from cli.settings import Place
from node.exchange import Exchange
from protocol import control, limits
from protocol.errors import ChartmeshError, Malformed, Refused, TransportError
from tests.contract.test_cli import CONTENT, RESULT, TOKEN
from tests.control_world import serving

PIECES = 3
WHOLE = (CONTENT * 4)[: PIECES * limits.PIECE_BYTES + 5]
BROKEN_AT = 2 * limits.PIECE_BYTES + 7
GET = ("record", "get", "--purpose", "TREAT", "--as", "dr.b", TOKEN, "-o")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def in_folder(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class Node:
    """Answers with WHOLE, from where the request goes on, and breaks off after `most` bytes of the record.
    `earlier` is what came with each request."""

    def __init__(self, most: int = len(WHOLE), error: ChartmeshError | None = None) -> None:
        self.most, self.error = most, error
        self.earlier: list[bytes] = []

    async def get(self, request: control.RecordGet, exchange: Exchange) -> control.Document:
        came = b""
        if request.earlier_bytes:
            came = b"".join([piece async for piece in exchange.read_data()])
        self.earlier.append(came)
        await exchange.write_data(WHOLE[len(came) : self.most])
        if self.error is not None:
            raise self.error
        digest = hashlib.sha256(came + WHOLE[len(came) :]).hexdigest()
        return replace(RESULT, bytes=len(WHOLE), sha256=digest, name="scan")


async def get(tmp_path: Path, node: Node, target: Path) -> int:
    line = ["--data-dir", str(tmp_path), *GET, str(target)]
    async with serving(tmp_path, {control.RecordGet: node.get}):
        return await trio.to_thread.run_sync(run, line)


async def test_what_a_failed_network_left_is_not_fetched_again(tmp_path: Path, target: Path) -> None:
    assert await get(tmp_path, Node(BROKEN_AT, TransportError("nobody is there")), target) == 1
    (left,) = in_folder(target)
    assert left.read_bytes() == WHOLE[:BROKEN_AT]
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    node = Node()
    assert await get(tmp_path, node, target) == 0
    assert node.earlier == [WHOLE[: 2 * limits.PIECE_BYTES]]
    (saved,) = in_folder(target)
    assert saved.name.endswith("-scan")
    assert saved.read_bytes() == WHOLE


async def test_what_a_killed_run_left_is_gone_on_from(tmp_path: Path, target: Path) -> None:
    killed = Incoming(target, TOKEN)
    killed.write(WHOLE[:BROKEN_AT])
    killed._file.close()
    node = Node()
    assert await get(tmp_path, node, target / "mine") == 0
    assert node.earlier == [WHOLE[: 2 * limits.PIECE_BYTES]]
    assert (target / "mine").read_bytes() == WHOLE
    assert os.listdir(target) == ["mine"]


@pytest.mark.parametrize(
    "size", [1, limits.PIECE_BYTES, limits.PIECE_BYTES + 1, PIECES * limits.PIECE_BYTES]
)
async def test_at_least_the_last_byte_is_fetched(tmp_path: Path, target: Path, size: int) -> None:
    killed = Incoming(target, TOKEN)
    killed.write(WHOLE[:size])
    killed._file.close()
    node = Node()
    assert await get(tmp_path, node, target) == 0
    assert node.earlier == [WHOLE[: (size - 1) // limits.PIECE_BYTES * limits.PIECE_BYTES]]
    assert [path.read_bytes() for path in in_folder(target)] == [WHOLE]


async def test_what_follows_the_record_in_a_file_that_was_left_is_cut_off(
    tmp_path: Path, target: Path
) -> None:
    killed = Incoming(target, TOKEN)
    killed.write(WHOLE + bytes(99))
    killed._file.close()
    assert await get(tmp_path, Node(), target) == 0
    assert [path.read_bytes() for path in in_folder(target)] == [WHOLE]


async def test_nothing_is_made_where_a_link_points(tmp_path: Path, target: Path) -> None:
    await get(tmp_path, Node(BROKEN_AT, TransportError("nobody is there")), target)
    (left,) = in_folder(target)
    left.unlink()
    left.symlink_to(tmp_path / "elsewhere")
    assert await get(tmp_path, Node(), target / "mine") == 0
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("error", [Refused(), Malformed("not the one")], ids=["refused", "spoilt"])
async def test_what_is_refused_now_or_wrong_does_not_stay(
    tmp_path: Path, target: Path, error: ChartmeshError, capsys: pytest.CaptureFixture[str]
) -> None:
    await get(tmp_path, Node(BROKEN_AT, TransportError("nobody is there")), target)
    told = capsys.readouterr().err
    assert "the same command goes on from there" in told
    assert await get(tmp_path, Node(error=error), target) != 0
    assert os.listdir(target) == []
    told = capsys.readouterr().err
    assert ("begins anew" in told) == isinstance(error, Malformed)
    node = Node()
    assert await get(tmp_path, node, target) == 0
    assert node.earlier == [b""]


def _of_everyone(path: Path, elsewhere: Path) -> None:
    path.chmod(0o644)


def _link(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _second_name(path: Path, elsewhere: Path) -> None:
    os.link(path, elsewhere)


@pytest.mark.parametrize("change", [_of_everyone, _link, _second_name])
async def test_what_others_may_have_put_there_is_left_alone(
    tmp_path: Path, target: Path, change: Callable[[Path, Path], Any]
) -> None:
    await get(tmp_path, Node(BROKEN_AT, TransportError("nobody is there")), target)
    (left,) = in_folder(target)
    change(left, tmp_path / "elsewhere")
    node = Node()
    assert await get(tmp_path, node, target / "mine") == 0
    assert node.earlier == [b""]
    assert (target / "mine").read_bytes() == WHOLE
    assert left.read_bytes() == WHOLE[:BROKEN_AT]


def test_two_runs_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    with Incoming(tmp_path, TOKEN) as one, Incoming(tmp_path, TOKEN) as other:
        one.write(b"one")
        other.write(b"other")
        one.keep(tmp_path / "one")
        other.keep(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == b"one"
    assert (tmp_path / "other").read_bytes() == b"other"


async def test_content_is_refused_where_none_was_announced(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / control.SOCKET_NAME)
    request = control.RecordGet(id=TOKEN, purpose="TREAT", user="u")
    node = Node()
    async with serving(tmp_path, {control.RecordGet: node.get}):
        with pytest.raises(ChartmeshError):
            await trio.to_thread.run_sync(
                lambda: call(place, request, content=iter([b"more"]), sink=lambda _: None)
            )
