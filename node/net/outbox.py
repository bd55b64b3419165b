"""Datagrams on their way to one member: a bounded queue before one kept stream."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from protocol import limits
from protocol.errors import TransportError

BATCH_BYTES_MAX = 256 * limits.KIB


class Sink(Protocol):
    """The stream that an outbox keeps."""

    async def send_all(self, bodies: list[bytes]) -> None: ...

    async def aclose(self) -> None: ...


class Outbox:
    """Queues frames and writes them, several at a time, to a stream opened when it is first needed.

    At the bound the oldest frames go. A frame is lost, and counted, where the member cannot be reached; a
    stream that fails is replaced once for the same frames, which may so arrive twice.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[Sink]]) -> None:
        self._open_stream = open_stream
        self._stream: Sink | None = None
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._filled = trio.Event()
        self.dropped = 0

    def put(self, body: bytes) -> None:
        self._queue.append(body)
        self._bytes += len(body)
        while self._bytes > limits.DATAGRAM_QUEUE_BYTES_MAX:
            self._bytes -= len(self._queue.popleft())
            self.dropped += 1
        self._filled.set()

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            batch = self._take()
            if batch and not await self._deliver(batch):
                self.dropped += len(batch)

    def _take(self) -> list[bytes]:
        """The oldest frames, as many as make one good write, and one at least."""
        batch: list[bytes] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0]) <= BATCH_BYTES_MAX):
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        self._bytes -= size
        if not self._queue:
            self._filled = trio.Event()
        return batch

    async def _deliver(self, batch: list[bytes]) -> bool:
        kept = self._stream is not None
        if await self._write(batch):
            return True
        return kept and await self._write(batch)

    async def _write(self, batch: list[bytes]) -> bool:
        try:
            if self._stream is None:
                self._stream = await self._open_stream()
            await self._stream.send_all(batch)
        except TransportError:
            stream, self._stream = self._stream, None
            if stream is not None:
                await stream.aclose()
            return False
        return True
