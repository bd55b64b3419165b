"""A record's original bytes on their way to the browser: always as a file to save, never as a page."""

from collections.abc import Callable
from urllib.parse import quote

import trio
from starlette.responses import Response

from node.web.asking import Asking
from node.web.gate import SEALED_POLICY
from node.web.listening import Receive, Scope, Send
from node.web.live import wait_gone
from protocol.control import Ask, RecordGetResult
from protocol.errors import ChartmeshError
from protocol.limits import FILE_NAME_CHARS_MAX


class Download(Response):
    """Streams the content that answers `request`, under the name `name`.

    What fails before the first byte is told by the page `tell` makes; what fails later ends the
    connection, and the browser says that the file is not whole.
    """

    def __init__(
        self,
        asking: Asking,
        request: Ask[RecordGetResult],
        name: str,
        tell: Callable[[ChartmeshError], Response],
    ) -> None:
        super().__init__(media_type="application/octet-stream")
        del self.headers["content-length"]
        self.headers["content-disposition"] = disposition(name)
        self.headers["content-security-policy"] = SEALED_POLICY
        self._asking, self._request, self._tell = asking, request, tell
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(chunk: bytes) -> None:
            await self._begin(send)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_gone, receive, nursery.cancel_scope)
            try:
                await self._asking(self._request, write)
            except ChartmeshError as error:
                if self._has_begun:
                    raise
                await self._tell(error)(scope, receive, send)
            else:
                await self._begin(send)
                await send({"type": "http.response.body", "body": b""})
            nursery.cancel_scope.cancel()

    async def _begin(self, send: Send) -> None:
        if not self._has_begun:
            self._has_begun = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})


def disposition(name: str) -> str:
    """The header that has a browser save what follows under `name`, whatever its issuer called it."""
    kept = "".join(char if char.isprintable() and char not in '/\\"%:' else "_" for char in name)
    kept = kept.strip(". ")[:FILE_NAME_CHARS_MAX] or "record"
    plain = "".join(char if char.isascii() else "_" for char in kept)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(kept, safe='')}"
