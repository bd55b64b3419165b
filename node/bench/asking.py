"""Requests of a bench to a daemon, over its control socket as the CLI's."""

from collections.abc import Callable
from pathlib import Path

import trio

from node import paths
from protocol.control import (
    Ask,
    ErrorReply,
    FrameDecoder,
    Kind,
    Progress,
    data_frames,
    decode_reply,
    encode_request,
    frame,
)
from protocol.control.asking import R
from protocol.errors import Code, UserError
from protocol.limits import CONTROL_REPLY_BYTES_MAX, MIB


async def ask(
    data_dir: Path,
    request: Ask[R],
    content: bytes = b"",
    *,
    sink: Callable[[bytes], object] = lambda _: None,
) -> R:
    """One exchange with the daemon of `data_dir`, on a connection of its own; content that comes back goes
    to `sink`. Raises UserError: the daemon's own error."""
    sent = frame(Kind.JSON, encode_request(request))
    if content:
        sent += data_frames(content) + frame(Kind.END)
    decoder = FrameDecoder(json_limit=CONTROL_REPLY_BYTES_MAX)
    async with await trio.open_unix_socket(str(paths.socket(data_dir))) as line:
        await line.send_all(sent)
        while True:
            while (got := decoder.next()) is None:
                decoder.feed(await line.receive_some(MIB))
            if got.kind is Kind.DATA:
                sink(got.payload)
            if got.kind is not Kind.JSON:
                continue
            reply = decode_reply(type(request), got.payload)
            if isinstance(reply, ErrorReply):
                raise UserError(f"the bench's request failed: {reply.error}", reply.hint, code=Code.PARTIAL)
            if not isinstance(reply, Progress):
                return reply
