"""Requests of the page to the node: those of the control contract, answered as on the control socket."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from node.exchange import Answerer, sole_cause
from protocol.control import Ask, Document, decode_request, encode_request, result_of
from protocol.errors import LocalProtocolError

R = TypeVar("R", bound=Document)
Write = Callable[[bytes], Awaitable[None]]


class Asking:
    """Asks the node in this process."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer

    async def __call__(self, request: Ask[R], write: Write | None = None) -> R:
        """The result; the content that comes before it goes to `write`.

        Raises:
            ChartmeshError: the node's own, with its code and hint.
            Malformed: the request is out of its limits.
        """
        # What a form said is held to the limits of the contract, as what comes over the socket is.
        checked = decode_request(encode_request(request))
        try:
            result = await self._answerer.answer(checked, _Exchange(write))
        except Exception as error:
            cause = sole_cause(error)
            if cause is None or cause is error:
                raise
            raise cause from error
        assert isinstance(result, result_of(type(request)))
        return result


class _Exchange:
    """A `node.exchange.Exchange` that shows no progress and brings no content."""

    def __init__(self, write: Write | None) -> None:
        self._write = write

    async def progress(
        self, step: str, *, done: int = 0, total: int | None = None, unit: str = "bytes"
    ) -> None:
        pass

    def read_data(self) -> AsyncIterator[bytes]:
        raise LocalProtocolError("the page brings no content")

    async def write_data(self, chunk: bytes) -> None:
        if self._write is None:
            raise LocalProtocolError("this request yields no content")
        await self._write(chunk)
