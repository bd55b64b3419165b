"""Chunks on a stream in runs, so that neither the network waits for the disk nor the event loop for either.

One task reads or writes the stream, another hands runs of chunks to a thread, and between them waits at
most one run. A stream's reader that pauses for seconds is reset by the far end.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from node.ports import Offload, Stream
from protocol import limits
from protocol.errors import ChartmeshError, ProtocolError, TransportError

FULL_RUN_S = 0.02

Produce = Callable[[int, int], list[bytes]]
"""Consecutive frames from an index on, and how many of them. Runs in a thread."""


async def send_runs(
    stream: Stream,
    first: int,
    count: int,
    produce: Produce,
    *,
    offload: Offload,
    before: Callable[[int], None] = lambda index: None,
) -> None:
    """Sends frames `first` to `first + count`. `before` is called with the index of each, and stops it by
    raising. Raises what `produce`, `before` or the stream do, not in a group.
    """
    runs, receive = trio.open_memory_channel[list[bytes]](0)
    failures: list[ChartmeshError] = []

    async def read() -> None:
        async with runs:
            for start in range(first, first + count, limits.RUN_CHUNKS):
                size = min(limits.RUN_CHUNKS, first + count - start)
                try:
                    await runs.send(await offload.run(lambda start=start, size=size: produce(start, size)))  # type: ignore[misc]
                except ChartmeshError as error:
                    failures.append(error)
                    return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            index = first
            async for run in receive:
                for frame in run:
                    before(index)
                    await stream.send(frame)
                    index += 1
        except ChartmeshError as error:
            failures.insert(0, error)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def receive_runs(
    stream: Stream,
    count: int,
    take: Callable[[Sequence[bytes]], Awaitable[None]],
) -> None:
    """Passes the next `count` frames to `take`, a run at a time, while those after them are read.

    What arrived before the stream failed is taken before that is raised.

    Raises:
        TransportError: the stream ended early or failed.
        Malformed: a frame over its limit.
        ChartmeshError: what `take` raises, not in a group.
    """
    frames, receive = trio.open_memory_channel[bytes](limits.RUN_CHUNKS)
    failures: list[ChartmeshError] = []

    async def read() -> None:
        async with frames:
            try:
                for _ in range(count):
                    frame = await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)
                    if frame is None:
                        raise TransportError("the peer ended the stream before the last chunk")
                    await frames.send(frame)
            except (TransportError, ProtocolError) as error:
                failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            while run := await _next_run(receive):
                await take(run)
        except ChartmeshError as error:
            failures.insert(0, error)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _next_run(frames: trio.MemoryReceiveChannel[bytes]) -> list[bytes]:
    """The next frames, none at the end: a run where they come fast, for a thread costs about as much as
    one chunk in it, and where they come slowly what there is."""
    run: list[bytes] = []
    try:
        run.append(await frames.receive())
        with trio.move_on_after(FULL_RUN_S):
            while len(run) < limits.RUN_CHUNKS:
                run.append(await frames.receive())
    except trio.EndOfChannel:
        return run
    return run
