"""One request of a local client while it is being answered."""

from collections.abc import AsyncIterator
from typing import Protocol


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
