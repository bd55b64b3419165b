"""Framing of the control socket and the JSON inside: `u32 length, u8 kind`, big-endian, then payload.

Pure: bytes in, frames out. The CLI and the daemon use the same code over a socket of their own.
"""

import struct
from datetime import UTC, datetime
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from protocol import limits
from protocol.control.asking import Ask
from protocol.control.requests import AnyRequest, result_of
from protocol.control.results import Document, ErrorReply, Progress
from protocol.errors import Code, Malformed, UserError

R = TypeVar("R", bound=Document)

SOCKET_NAME = "control.sock"  # in the data directory
_HEADER = struct.Struct(">IB")
HEADER_BYTES = _HEADER.size
_UTC_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999


class Kind(IntEnum):
    """What a frame carries. END closes the DATA of one direction and is empty."""

    JSON = 0
    DATA = 1
    END = 2


class Frame(NamedTuple):
    kind: Kind
    payload: bytes


class FrameDecoder:
    """Cuts a stream of bytes into frames. `json_limit` is the most bytes that one JSON frame may hold."""

    def __init__(self, *, json_limit: int) -> None:
        self._limits = {Kind.JSON: json_limit, Kind.DATA: limits.CONTROL_FRAME_BYTES_MAX, Kind.END: 0}
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk

    def next(self) -> Frame | None:
        """The next whole frame, or None until more bytes are fed.

        Raises:
            Malformed: an unknown kind, or a length over the limit of its kind.
        """
        if len(self._buffer) < HEADER_BYTES:
            return None
        length, number = _HEADER.unpack_from(self._buffer)
        if number not in self._limits:
            raise Malformed(f"control frame of unknown kind {number}")
        kind = Kind(number)
        if length > self._limits[kind]:
            raise Malformed(f"control frame of {length} bytes is over its limit of {self._limits[kind]}")
        end = HEADER_BYTES + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
        del self._buffer[:end]
        return Frame(kind, payload)


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(payload), kind) + payload


def data_frames(content: bytes) -> bytes:
    """`content` in DATA frames behind each other, for one write."""
    view, step = memoryview(content), limits.CONTROL_FRAME_BYTES_MAX
    pieces = [view[start : start + step] for start in range(0, len(view), step)]
    return b"".join(part for piece in pieces for part in (_HEADER.pack(len(piece), Kind.DATA), piece))


_encoder = msgspec.json.Encoder()


def encode_document(document: Document) -> bytes:
    """The JSON of a reply, without a line end."""
    return _encoder.encode(document)


def encode_request(request: Ask[Any]) -> bytes:
    """The JSON of a request.

    Raises:
        UserError: USAGE, where a string is no Unicode text (a terminal can hand over any bytes).
    """
    try:
        return _encoder.encode(request)
    except UnicodeEncodeError as error:
        raise UserError("an argument is not valid text", "use UTF-8", code=Code.USAGE) from error


@cache  # not at import: the CLI decodes no request
def _request_decoder() -> msgspec.json.Decoder[AnyRequest]:
    return msgspec.json.Decoder(AnyRequest)


def decode_request(payload: bytes) -> AnyRequest:
    """The request of a JSON frame, every field within its limits.

    Raises:
        UserError: USAGE, with the field that is wrong.
    """
    try:
        return _request_decoder().decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(
            f"the request is not valid: {error}",
            "correct that value; after an upgrade, restart the daemon: chartmesh stop, chartmesh start",
            code=Code.USAGE,
        ) from error


def decode_reply(request: type[Ask[R]], payload: bytes) -> Progress | ErrorReply | R:
    """What the daemon said to a request of this type. Fields that are not known are ignored.

    Raises:
        Malformed: not a reply to this type of request.
    """
    kinds: type[Progress | ErrorReply | R] = Progress | ErrorReply | result_of(request)  # type: ignore[assignment]
    try:
        return msgspec.json.decode(payload, type=kinds)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the daemon's answer is not understood: {error}") from error


def utc(ms: int) -> str:
    """Unix milliseconds as text, e.g. `2026-01-31T12:00:00.000Z`; cut to the years 1970-9999."""
    moment = datetime.fromtimestamp(max(0, min(ms, _UTC_MS_MAX)) // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{max(0, min(ms, _UTC_MS_MAX)) % 1000:03d}Z"


def day_ms(day: str) -> int:
    """Unix milliseconds of the beginning of a day `2026-01-31`, UTC. Raises ValueError where it is none."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)


def plain(text: str) -> str:
    """`text` without control characters, which could drive the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
