"""The control door: a Unix socket for the administrator or the patient on this machine.

`ControlServer` knows the socket, who may use it and the framing; an `Answerer` knows the node. One
connection is one exchange (see `protocol.control`). The socket is 0600 and the client's user must
be ours or root. Unlike a peer, a local client is trusted with the daemon's life but not with its
correctness: whatever it sends, or however answering fails, costs that client its answer only.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trio
from msgspec.structs import replace

from node.control.bind import bind_control_socket, is_allowed_peer, unlink_if_same
from node.exchange import Answerer, sole_cause
from node.records.fetch_run import FetchRefused
from protocol import limits
from protocol.control import (
    AnyRequest,
    Document,
    ErrorReply,
    Frame,
    FrameDecoder,
    Kind,
    MyRecord,
    Progress,
    RecordAdd,
    RecordGet,
    RefusalItem,
    data_frames,
    decode_request,
    encode_document,
    frame,
)
from protocol.errors import ChartmeshError, Code, Malformed, UserError

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # the stubs that come with libp2p hide trio's own

_log = logging.getLogger(__name__)


class ControlServer:
    """Serves the control socket at `path` until drained or cancelled."""

    def __init__(self, *, path: Path, answerer: Answerer) -> None:
        self._path = path
        self._answerer = answerer
        self._accepting = trio.CancelScope()
        self._connections = 0

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Binds, accepts and, once drained, returns when the running exchanges have ended.

        Raises:
            UserError: ALREADY_RUNNING, where a live daemon holds the socket; CONFIG, where the path
                cannot be a socket.
        """
        listener = bind_control_socket(self._path)
        bound = self._path.lstat()
        async with trio.open_nursery() as exchanges:
            try:
                with self._accepting:
                    task_status.started()
                    await trio.serve_listeners(
                        self._serve,
                        [trio.SocketListener(trio.socket.from_stdlib_socket(listener))],
                        handler_nursery=exchanges,
                    )
            finally:
                unlink_if_same(self._path, bound)

    def drain(self) -> None:
        """Stops accepting and removes the socket; running exchanges go on."""
        self._accepting.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                if is_allowed_peer(stream.socket):
                    await self._converse(_Connection(stream))
        except trio.BrokenResourceError:
            _log.debug("a control client left before its answer")
        finally:
            self._connections -= 1

    async def _converse(self, connection: "_Connection") -> None:
        if self._connections > limits.CONTROL_CONNECTIONS_MAX:
            busy = UserError("too many commands at once", "try again in a moment", code=Code.LIMIT)
            await connection.send_document(_error_reply(busy))
            return
        try:
            request = await _receive_request(connection)
        except ChartmeshError as error:
            await connection.send_document(_error_reply(error))
            return
        if request is None:
            return
        reply: Document | None = None
        with _SocketExchange(connection, request) as exchange:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange.watch)
                with exchange.answering:
                    reply = await self._answer(request, exchange)
                nursery.cancel_scope.cancel()
        if exchange.fault is not None:
            reply = _error_reply(exchange.fault)
        if reply is not None:
            await connection.send_document(reply)

    async def _answer(self, request: AnyRequest, exchange: "_SocketExchange") -> Document:
        try:
            result = await self._answerer.answer(request, exchange)
            await exchange.end_data()
            return result
        except Exception as error:  # the one guard of a control connection
            expected = sole_cause(error)
            if expected is not None:
                return _error_reply(expected)
            _log.exception("answering %s failed", type(request).__name__)
            return ErrorReply(
                code=Code.INTERNAL,
                error="the daemon failed to answer: this is a fault of chartmesh",
                hint="look at the daemon's log",
            )


class _Connection:
    """Frames over one accepted socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._decoder = FrameDecoder(json_limit=limits.CONTROL_REQUEST_BYTES_MAX)
        self._sending = trio.Lock()

    async def receive(self) -> Frame | None:
        """The next frame; None where the client has closed its end. Raises Malformed."""
        while (got := self._decoder.next()) is None:
            chunk = await self._stream.receive_some(limits.CONTROL_FRAME_BYTES_MAX)
            if not chunk:
                return None
            self._decoder.feed(chunk)
        return got

    async def send(self, kind: Kind, payload: bytes = b"") -> None:
        await self.send_frames(frame(kind, payload))

    async def send_frames(self, octets: bytes) -> None:
        """Whole frames, one or several behind each other."""
        async with self._sending:
            await self._stream.send_all(octets)

    async def send_document(self, document: Document) -> None:
        payload = encode_document(document)
        if len(payload) > limits.CONTROL_REPLY_BYTES_MAX:
            long = UserError(
                "the answer is too long", "narrow the question or ask for fewer rows", code=Code.LIMIT
            )
            payload = encode_document(_error_reply(long))
        await self.send(Kind.JSON, payload)


class _SocketExchange:
    """One request in progress. `answering` is cancelled when the client leaves or breaks the framing.

    `fault` is that breach, if there was one.
    """

    def __init__(self, connection: _Connection, request: AnyRequest) -> None:
        self.answering = trio.CancelScope()
        self.fault: Malformed | None = None
        self._connection = connection
        self._remaining = _content_bytes(request)
        self._feed, self._content = trio.open_memory_channel[bytes](1)
        self._has_written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.close()
        self._content.close()

    async def progress(
        self, step: str, *, done: int = 0, total: int | None = None, unit: str = "bytes"
    ) -> None:
        document = Progress(step=step, done=done, total=total, unit=unit)
        await self._send_frames(frame(Kind.JSON, encode_document(document)))

    def read_data(self) -> AsyncIterator[bytes]:
        return self._content

    async def write_data(self, chunk: bytes) -> None:
        self._has_written = True
        await self._send_frames(data_frames(chunk))

    async def end_data(self) -> None:
        """Closes the content sent, if any was."""
        if self._has_written:
            await self._send_frames(frame(Kind.END))

    async def watch(self) -> None:
        """Takes the client's content in until the client leaves or errs."""
        try:
            while (got := await self._connection.receive()) is not None:
                await self._take(got)
        except Malformed as error:
            self.fault = error
        except trio.BrokenResourceError:
            _log.debug("a control client left before its answer")
        self.answering.cancel()

    async def _take(self, got: Frame) -> None:
        match got.kind:
            case Kind.DATA if self._remaining is not None and len(got.payload) <= self._remaining:
                self._remaining -= len(got.payload)
                await self._feed.send(got.payload)
            case Kind.END if self._remaining == 0:
                self._remaining = None
                self._feed.close()
            case _:
                raise Malformed("the content is not as long as the request says, or was not asked for")

    async def _send_frames(self, octets: bytes) -> None:
        try:
            await self._connection.send_frames(octets)
        except trio.BrokenResourceError:
            # The client left. Answering ends in one way only, by being cancelled.
            self.answering.cancel()
            await trio.lowlevel.checkpoint()


def _content_bytes(request: AnyRequest) -> int | None:
    """How much content follows a request; None where none may."""
    match request:
        case RecordAdd(size=size):
            return size
        case RecordGet(earlier_bytes=earlier) | MyRecord(earlier_bytes=earlier) if earlier:
            return earlier
        case _:
            return None


async def _receive_request(connection: _Connection) -> AnyRequest | None:
    with trio.move_on_after(limits.REQUEST_S):
        first = await connection.receive()
        if first is None:
            return None
        if first.kind is not Kind.JSON:
            raise Malformed("the first control frame must be a request")
        return decode_request(first.payload)
    return None


def _error_reply(error: ChartmeshError) -> ErrorReply:
    reply = ErrorReply(code=error.code, error=error.message, hint=error.hint)
    if not isinstance(error, FetchRefused):
        return reply
    seen = [RefusalItem(member=one.member.hex(), sha256=one.sha256.hex()) for one in error.refusals]
    return replace(reply, refusals=tuple(seen))
