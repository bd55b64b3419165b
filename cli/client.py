"""One exchange with the daemon over its control socket: blocking, standard library only."""

import select
import socket
from collections.abc import Callable, Iterable
from typing import TypeVar

from cli.settings import Place
from protocol import limits
from protocol.control import (
    Ask,
    Document,
    ErrorReply,
    Frame,
    FrameDecoder,
    Kind,
    Progress,
    decode_reply,
    encode_request,
    frame,
)
from protocol.errors import ChartmeshError, Code, UserError

R = TypeVar("R", bound=Document)
_RECEIVE_BYTES = 128 * limits.KIB


def ignore_progress(_: Progress) -> None:
    """For requests that are answered at once."""


def refuse_content(_: bytes) -> None:
    """For requests that are answered without content."""
    raise UserError(
        "the daemon sent content that was not asked for", "restart the daemon", code=Code.MALFORMED
    )


def connect(place: Place) -> socket.socket:
    """A connection to the daemon of this directory.

    Raises:
        UserError: NOT_INITIALISED where there is no such directory, NOT_RUNNING where nothing
            listens, CONFIG where the socket cannot be used.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(str(place.socket))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        line.close()
        if not place.data_dir.is_dir():
            raise UserError(
                f"there is no node in {place.data_dir}",
                f"make one first: chartmesh init{place.flags}",
                code=Code.NOT_INITIALISED,
            ) from error
        raise UserError(
            f"the node in {place.data_dir} is not running",
            f"start it first: chartmesh start{place.flags}",
            code=Code.NOT_RUNNING,
        ) from error
    except OSError as error:
        line.close()
        raise UserError(
            f"cannot use the control socket {place.socket}: {error}",
            "run this as the user that runs the node, with a shorter path if it is too long",
            code=Code.CONFIG,
        ) from error
    return line


def call(
    place: Place,
    request: Ask[R],
    *,
    content: Iterable[bytes] = (),
    sink: Callable[[bytes], object] = refuse_content,
    report: Callable[[Progress], None] = ignore_progress,
    timeout_s: float | None = None,
) -> R:
    """Sends a request and, if it takes any, its content in pieces of at most 64 KiB; the result.

    Content that comes back goes to `sink`, progress to `report`. `timeout_s` bounds each wait for
    the daemon.

    Raises:
        ChartmeshError: the daemon's own error, with its code.
        UserError: as `connect`; NOT_RUNNING where the daemon stopped before it answered,
            UNREACHABLE where it did not answer in time.
        Malformed: the answer is not one to this request.
    """
    payload = encode_request(request)
    with connect(place) as raw:
        raw.settimeout(timeout_s)
        line = _Line(raw)
        is_open = line.send(Kind.JSON, payload)
        is_upload = False
        for piece in content:
            is_upload = True
            is_open = is_open and line.send(Kind.DATA, piece)
            # An answer that comes before all is sent is an error or news of progress.
            while not is_open or line.has_input():
                result = _take(line.receive(), type(request), sink, report)
                if result is not None:
                    return result
        if is_upload and is_open:
            line.send(Kind.END)
        while True:
            result = _take(line.receive(), type(request), sink, report)
            if result is not None:
                return result


class _Line:
    """Frames over a connected socket. Every failure of the socket is told as the daemon's."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._decoder = FrameDecoder(json_limit=limits.CONTROL_REPLY_BYTES_MAX)
        self._ready: Frame | None = None

    def send(self, kind: Kind, payload: bytes = b"") -> bool:
        """False where the daemon has hung up: its answer, still to be read, says why."""
        try:
            self._raw.sendall(frame(kind, payload))
        except TimeoutError as error:
            raise _silent() from error
        except ConnectionError:
            return False
        return True

    def has_input(self) -> bool:
        """Whether a whole frame is there, without waiting."""
        self._ready = self._ready or self._decoder.next()
        if self._ready is None and select.select([self._raw], [], [], 0)[0]:
            self._ready = self._fill()
        return self._ready is not None

    def receive(self) -> Frame:
        """The next frame. Raises UserError where the daemon is gone or silent."""
        ready, self._ready = self._ready or self._decoder.next(), None
        while ready is None:
            ready = self._fill()
        return ready

    def _fill(self) -> Frame | None:
        try:
            chunk = self._raw.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise _silent() from error
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise UserError(
                "the node stopped before it answered",
                "see whether it runs: chartmesh status; then run this command again",
                code=Code.NOT_RUNNING,
            )
        self._decoder.feed(chunk)
        return self._decoder.next()


class AnsweredError(ChartmeshError):
    """The daemon's error, with all that it said."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.error, reply.hint, code=_known(reply.code))
        self.reply = reply


def _take(
    got: Frame, request: type[Ask[R]], sink: Callable[[bytes], object], report: Callable[[Progress], None]
) -> R | None:
    if got.kind is Kind.DATA:
        sink(got.payload)
    if got.kind is not Kind.JSON:
        return None
    reply = decode_reply(request, got.payload)
    if isinstance(reply, ErrorReply):
        raise AnsweredError(reply)
    if isinstance(reply, Progress):
        report(reply)
        return None
    return reply


def _silent() -> UserError:
    return UserError(
        "the node does not answer", "look at its log, or stop it and start it again", code=Code.UNREACHABLE
    )


def _known(code: str) -> Code:
    try:
        return Code(code)
    except ValueError:  # of a later version
        return Code.INTERNAL
