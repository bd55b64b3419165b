"""One request of a local client while it is being answered."""

from collections.abc import AsyncIterator
from typing import Protocol

from protocol.control import AnyRequest, Document
from protocol.errors import ChartmeshError


class Exchange(Protocol):
    """What answering a request may do besides returning its result. Cancelled when the client leaves."""

    async def progress(
        self, step: str, *, done: int = 0, total: int | None = None, unit: str = "bytes"
    ) -> None:
        """Tells the client how far a long run is."""
        ...

    def read_data(self) -> AsyncIterator[bytes]:
        """The content that follows the request, in pieces: exactly as long as the request says."""
        ...

    async def write_data(self, chunk: bytes) -> None:
        """Sends content of any length, before the result."""
        ...


class Answerer(Protocol):
    """The node as its doors see it: the control socket, and the page."""

    async def answer(self, request: AnyRequest, exchange: Exchange) -> Document:
        """The result of a request, of the type that the request names.

        Raises:
            ChartmeshError: told to the client with its code and hint.
        """
        ...


def sole_cause(error: Exception) -> ChartmeshError | None:
    """The expected error inside, unwrapped of the groups that nurseries put around one."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, ChartmeshError) else None
