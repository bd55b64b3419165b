"""A scripted daemon: the real control server in front of answers that a test writes down.

Run as a program (`python -m tests.control_world DIR`) it serves `status` and `stop` from a process
of its own.
"""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from node.control.server import ControlServer
from node.exchange import Exchange
from protocol.control import (
    SOCKET_NAME,
    AnyRequest,
    Document,
    Status,
    StatusResult,
    Stop,
    StopResult,
)

Answer = Callable[[Any, Exchange], Awaitable[Document]]

STATUS = StatusResult(
    role="clinic",
    id="02" * 33,
    name="clinic-a",
    network="ab" * 32,
    epoch=7,
    height=12,
    final_age_s=12.4,
    members=10,
    reachable=9,
    quorum=7,
    fresh=True,
    peers=14,
    mempool=0,
    disk_bytes=3 * 1024**3,
    running_s=3 * 86400 + 4 * 3600,
)


class Script:
    """An answerer that knows an answer for each type of request, and keeps what it was asked."""

    def __init__(self, answers: dict[type, Answer | Document]) -> None:
        self.answers = answers
        self.asked: list[AnyRequest] = []

    async def answer(self, request: AnyRequest, exchange: Exchange) -> Document:
        self.asked.append(request)
        answer = self.answers[type(request)]
        return answer if isinstance(answer, Document) else await answer(request, exchange)


@asynccontextmanager
async def serving(folder: Path, answers: dict[type, Answer | Document]) -> AsyncIterator[Script]:
    """A scripted daemon in `folder` for as long as the block runs."""
    script = Script(answers)
    server = ControlServer(path=folder / SOCKET_NAME, answerer=script)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield script
        nursery.cancel_scope.cancel()


async def _main(folder: Path) -> None:
    stopping = trio.Event()

    async def stop(_: Stop, __: Exchange) -> Document:
        stopping.set()
        return StopResult()

    server = ControlServer(path=folder / SOCKET_NAME, answerer=Script({Status: STATUS, Stop: stop}))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            nursery.start_soon(_stop_at_signal, signals, stopping)
            await stopping.wait()
        server.drain()
        nursery.cancel_scope.deadline = trio.current_time() + 1


async def _stop_at_signal(signals: AsyncIterator[int], stopping: trio.Event) -> None:
    async for _ in signals:
        stopping.set()
        return


if __name__ == "__main__":
    trio.run(_main, Path(sys.argv[1]))
    (Path(sys.argv[1]) / "last-act").touch()
