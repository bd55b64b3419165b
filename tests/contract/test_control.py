"""The control door: the CLI's client and the daemon's server over a real Unix socket."""

import hashlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cli.client import call
from cli.settings import Place
from node.control.server import ControlServer
from node.exchange import Exchange
from protocol import control, limits
from protocol.control import SOCKET_NAME, FrameDecoder, Kind
from protocol.errors import ChartmeshError, Code, Refused, StorageError, UserError
from tests.control_world import STATUS, Script, serving

TOKEN = "ab" * 32
CONTENT = bytes(range(256)) * 4096 + b"an odd end"


async def ask(folder: Path, request: control.Ask[Any], **options: Any) -> Any:
    return await trio.to_thread.run_sync(
        lambda: call(Place(folder, folder / SOCKET_NAME), request, timeout_s=10, **options)
    )


async def error_of(folder: Path, request: control.Ask[Any], **options: Any) -> ChartmeshError:
    with pytest.raises(ChartmeshError) as caught:
        await ask(folder, request, **options)
    return caught.value


class RawClient:
    """A client that may send anything."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._decoder = FrameDecoder(json_limit=limits.CONTROL_REPLY_BYTES_MAX)

    async def reply(self) -> Any:
        """The last document before the server hangs up; None where there is none."""
        last = None
        with trio.fail_after(10):
            async for chunk in self.stream:
                self._decoder.feed(chunk)
        while (got := self._decoder.next()) is not None:
            last = control.decode_reply(control.Status, got.payload) if got.kind is Kind.JSON else last
        return last


@asynccontextmanager
async def raw_client(folder: Path) -> AsyncIterator[RawClient]:
    stream = await trio.open_unix_socket(str(folder / SOCKET_NAME))
    async with stream:
        yield RawClient(stream)


def status_frame() -> bytes:
    return control.frame(Kind.JSON, control.encode_request(control.Status()))


async def wait_for_ever(_: Any, __: Exchange) -> control.Document:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_request_is_answered_with_its_result(tmp_path: Path) -> None:
    async with serving(tmp_path, {control.Status: STATUS}) as script:
        assert await ask(tmp_path, control.Status()) == STATUS
        assert script.asked == [control.Status()]


@pytest.mark.parametrize(
    "error",
    [
        Refused(),
        StorageError("the disk is gone", "replace it"),
        UserError("two records begin so", "give more characters", code=Code.AMBIGUOUS_ID),
        ExceptionGroup("nursery", [ExceptionGroup("nursery", [Refused()])]),
    ],
    ids=["refused", "storage", "user", "in-groups"],
)
async def test_an_expected_error_reaches_the_client_with_its_code_and_hint(
    tmp_path: Path, error: Exception
) -> None:
    async def fail(_: Any, __: Exchange) -> control.Document:
        raise error

    expected = error if isinstance(error, ChartmeshError) else Refused()
    async with serving(tmp_path, {control.Status: fail}):
        told = await error_of(tmp_path, control.Status())
    assert (told.code, told.message, told.hint) == (expected.code, expected.message, expected.hint)


async def test_a_fault_of_ours_is_logged_and_the_daemon_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Any, __: Exchange) -> control.Document:
        raise ZeroDivisionError("a bug")

    async with serving(tmp_path, {control.Status: fail, control.Peers: control.PeersResult(peers=())}):
        with caplog.at_level(logging.ERROR):
            told = await error_of(tmp_path, control.Status())
        assert told.code is Code.INTERNAL
        assert "a bug" not in told.message
        assert any(record.exc_info for record in caplog.records)
        assert await ask(tmp_path, control.Peers()) == control.PeersResult(peers=())


async def test_content_and_progress_go_up_whole(tmp_path: Path) -> None:
    received = bytearray()

    async def add(request: control.RecordAdd, exchange: Exchange) -> control.Document:
        async for piece in exchange.read_data():
            received.extend(piece)
            await exchange.progress("reading", done=len(received), total=request.size)
        added = control.RecordAdded(
            file=request.name, token=TOKEN, size=len(received), type="fhir", copies=3, final=True, height=1
        )
        return control.RecordAddResult(records=(added,))

    step = limits.CONTROL_FRAME_BYTES_MAX
    pieces = [CONTENT[start : start + step] for start in range(0, len(CONTENT), step)]
    told: list[control.Progress] = []
    async with serving(tmp_path, {control.RecordAdd: add}):
        request = control.RecordAdd(name="f", size=len(CONTENT), code="C")
        result = await ask(tmp_path, request, content=pieces, report=told.append)
    assert bytes(received) == CONTENT
    assert result.records[0].size == len(CONTENT)
    assert told[-1].done == told[-1].total == len(CONTENT)


async def test_a_refusal_in_the_middle_of_sending_reaches_the_client(tmp_path: Path) -> None:
    async def add(_: Any, __: Exchange) -> control.Document:
        raise UserError("the code was used before", "ask for another", code=Code.RECEIVE_CODE)

    pieces = [bytes(limits.CONTROL_FRAME_BYTES_MAX)] * 512
    async with serving(tmp_path, {control.RecordAdd: add}):
        request = control.RecordAdd(name="f", size=sum(map(len, pieces)), code="C")
        told = await error_of(tmp_path, request, content=iter(pieces))
    assert told.code is Code.RECEIVE_CODE


@pytest.mark.parametrize("sent", [b"four", b"sixsix"], ids=["short", "long"])
async def test_content_of_another_length_than_announced_is_refused(tmp_path: Path, sent: bytes) -> None:
    finished = []
    received = bytearray()

    async def add(_: Any, exchange: Exchange) -> control.Document:
        async for piece in exchange.read_data():
            received.extend(piece)
        finished.append(True)
        await trio.sleep_forever()
        raise AssertionError

    async with serving(tmp_path, {control.RecordAdd: add}):
        told = await error_of(tmp_path, control.RecordAdd(name="f", size=5, code="C"), content=[sent])
    assert told.code is Code.MALFORMED
    assert not finished
    assert len(received) <= 5


async def test_content_after_a_request_that_takes_none_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, {control.Status: wait_for_ever}):
        told = await error_of(tmp_path, control.Status(), content=[b"x"])
    assert told.code is Code.MALFORMED


async def test_content_comes_down_whole(tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()

    async def get(request: control.RecordGet, exchange: Exchange) -> control.Document:
        await exchange.write_data(CONTENT)
        return control.RecordGetResult(token=TOKEN, bytes=len(CONTENT), sha256=digest, audit_id="1")

    received: list[bytes] = []
    async with serving(tmp_path, {control.RecordGet: get}):
        request = control.RecordGet(id=TOKEN, purpose="TREAT", user="u")
        result = await ask(tmp_path, request, sink=received.append)
    assert b"".join(received) == CONTENT
    assert result.sha256 == digest
    assert max(map(len, received)) <= limits.CONTROL_FRAME_BYTES_MAX


async def test_answering_is_cancelled_when_the_client_leaves(tmp_path: Path) -> None:
    asked, cancelled = trio.Event(), trio.Event()

    async def wait(_: Any, __: Exchange) -> control.Document:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    async with serving(tmp_path, {control.Status: wait}):
        with trio.fail_after(10):
            async with raw_client(tmp_path) as client:
                await client.stream.send_all(status_frame())
                await asked.wait()
                assert not cancelled.is_set()
            await cancelled.wait()


async def test_sending_content_to_a_client_that_left_is_cancelled_and_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()

    async def pour(_: Any, exchange: Exchange) -> control.Document:
        try:
            while True:
                await exchange.write_data(bytes(limits.CONTROL_FRAME_BYTES_MAX))
        finally:
            ended.set()

    async with serving(tmp_path, {control.Status: pour}):
        async with raw_client(tmp_path) as client:
            await client.stream.send_all(status_frame())
            await client.stream.receive_some(10)
        with trio.fail_after(10):
            await ended.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_leaves_while_its_content_waits_is_noticed(tmp_path: Path) -> None:
    started, ended = trio.Event(), trio.Event()

    async def chatter(_: Any, exchange: Exchange) -> control.Document:
        started.set()
        try:
            while True:
                await exchange.progress("still here")
        finally:
            ended.set()

    content = control.frame(Kind.DATA, bytes(limits.CONTROL_FRAME_BYTES_MAX))
    request = control.RecordAdd(name="f", size=10 * len(content), code="C")
    async with serving(tmp_path, {control.RecordAdd: chatter}):
        async with raw_client(tmp_path) as client:
            await client.stream.send_all(control.frame(Kind.JSON, control.encode_request(request)))
            await client.stream.send_all(content * 3)
            await started.wait()
        with trio.fail_after(10):
            await ended.wait()


@pytest.mark.parametrize(
    "raw",
    [
        (limits.CONTROL_REQUEST_BYTES_MAX + 1).to_bytes(4, "big") + b"\x00",
        b"\xff\xff\xff\xff\x01",
        b"\x00\x00\x00\x00\x09",
        control.frame(Kind.DATA, b"content before any request"),
    ],
    ids=["oversize-json", "oversize-data", "unknown-kind", "content-first"],
)
async def test_a_frame_that_breaks_the_rules_is_refused_and_the_daemon_stays(
    tmp_path: Path, raw: bytes
) -> None:
    async with serving(tmp_path, {control.Status: STATUS}) as script:
        async with raw_client(tmp_path) as client:
            await client.stream.send_all(raw)
            reply = await client.reply()
        assert isinstance(reply, control.ErrorReply)
        assert reply.code == Code.MALFORMED
        assert script.asked == []
        assert await ask(tmp_path, control.Status()) == STATUS


async def test_a_request_outside_its_limits_is_a_usage_error(tmp_path: Path) -> None:
    async with serving(tmp_path, {}) as script:
        told = await error_of(tmp_path, control.MyCode(clinic="c" * 1000))
        assert told.code is Code.USAGE
        assert "$.clinic" in told.message
        assert script.asked == []


async def test_an_answer_over_the_limit_is_an_error_and_not_a_flood(tmp_path: Path) -> None:
    huge = control.MyCodeResult(code="C" * limits.CONTROL_REPLY_BYTES_MAX)
    async with serving(tmp_path, {control.MyCode: huge}):
        assert (await error_of(tmp_path, control.MyCode(clinic="c"))).code is Code.LIMIT


async def test_more_connections_than_the_limit_are_told_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, {control.Status: wait_for_ever}), AsyncExitStack() as stack:
        for _ in range(limits.CONTROL_CONNECTIONS_MAX):
            client = await stack.enter_async_context(raw_client(tmp_path))
            await client.stream.send_all(status_frame())
        one_more = await stack.enter_async_context(raw_client(tmp_path))
        reply = await one_more.reply()
        assert isinstance(reply, control.ErrorReply)
        assert reply.code == Code.LIMIT


async def test_a_silent_client_is_dropped(tmp_path: Path, autojump_clock: Any) -> None:
    async with serving(tmp_path, {}), raw_client(tmp_path) as client:
        with trio.fail_after(10 * limits.REQUEST_S):
            assert await client.stream.receive_some(10) == b""


async def test_draining_lets_the_running_exchange_end_and_takes_no_other(tmp_path: Path) -> None:
    asked, release = trio.Event(), trio.Event()

    async def wait(_: Any, __: Exchange) -> control.Document:
        asked.set()
        await release.wait()
        return STATUS

    path = tmp_path / SOCKET_NAME
    server = ControlServer(path=path, answerer=Script({control.Status: wait}))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        async with raw_client(tmp_path) as client:
            await client.stream.send_all(status_frame())
            await asked.wait()
            server.drain()
            await wait_all_tasks_blocked()
            assert not path.exists()
            assert (await error_of(tmp_path, control.Status())).code is Code.NOT_RUNNING
            release.set()
            assert await client.reply() == STATUS


async def test_ctrl_c_in_the_middle_of_a_download_leaves_nothing(tmp_path: Path) -> None:
    node, target = tmp_path / "node", tmp_path / "target"
    node.mkdir()
    target.mkdir()
    sending, cancelled = trio.Event(), trio.Event()

    async def get(_: Any, exchange: Exchange) -> control.Document:
        await exchange.write_data(CONTENT)
        sending.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    program = [sys.executable, "-m", "cli.main", "--data-dir", str(node), "record", "get"]
    program += ["--purpose", "TREAT", "--as", "dr", "-o", str(target), "--json", TOKEN]
    with trio.fail_after(30):
        async with serving(node, {control.RecordGet: get}), trio.open_nursery() as nursery:
            running = await trio.lowlevel.open_process(program, stderr=-1)
            nursery.start_soon(running.wait)
            await sending.wait()
            assert len(list(target.iterdir())) == 1
            running.send_signal(signal.SIGINT)
            await cancelled.wait()
            assert running.stderr is not None
            told = b"".join([chunk async for chunk in running.stderr])
    assert running.returncode == 130
    assert b'"code":"interrupted"' in told
    assert list(target.iterdir()) == []
