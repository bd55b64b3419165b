"""The queue of datagrams before a kept stream."""

import trio
import trio.testing

from node.net.outbox import BATCH_BYTES_MAX, Outbox
from protocol import limits
from protocol.errors import TransportError


class Line:
    """Streams of a peer that may be out of reach or lose its connection."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.writes = 0
        self.opened = 0
        self.is_up = True
        self.broken_writes = 0

    async def open(self) -> "Line":
        await trio.lowlevel.checkpoint()
        if not self.is_up:
            raise TransportError("not connected")
        self.opened += 1
        return self

    async def send_all(self, bodies: list[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken_writes:
            self.broken_writes -= 1
            raise TransportError("reset")
        self.writes += 1
        self.heard += bodies

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_waiting_frames_go_out_together_in_order(nursery: trio.Nursery) -> None:
    line = Line()
    outbox = Outbox(line.open)
    bodies = [b"%d" % number for number in range(100)]
    for body in bodies:
        outbox.put(body)
    nursery.start_soon(outbox.run)
    await trio.testing.wait_all_tasks_blocked()
    assert line.heard == bodies
    assert (line.opened, line.writes, outbox.dropped) == (1, 1, 0)


async def test_one_write_stays_within_its_size(nursery: trio.Nursery) -> None:
    line = Line()
    outbox = Outbox(line.open)
    for _ in range(4):
        outbox.put(bytes(BATCH_BYTES_MAX // 2))
    outbox.put(bytes(BATCH_BYTES_MAX + 1))
    nursery.start_soon(outbox.run)
    await trio.testing.wait_all_tasks_blocked()
    assert (line.writes, len(line.heard)) == (3, 5)


async def test_a_broken_stream_is_replaced_and_the_frames_sent_again(nursery: trio.Nursery) -> None:
    line = Line()
    outbox = Outbox(line.open)
    nursery.start_soon(outbox.run)
    outbox.put(b"before")
    await trio.testing.wait_all_tasks_blocked()
    line.broken_writes = 1
    outbox.put(b"after")
    await trio.testing.wait_all_tasks_blocked()
    assert line.heard == [b"before", b"after"]
    assert (line.opened, outbox.dropped) == (2, 0)


async def test_frames_for_a_peer_out_of_reach_are_lost_and_counted(nursery: trio.Nursery) -> None:
    line = Line()
    line.is_up = False
    outbox = Outbox(line.open)
    nursery.start_soon(outbox.run)
    outbox.put(b"one")
    outbox.put(b"two")
    await trio.testing.wait_all_tasks_blocked()
    assert outbox.dropped == 2
    line.is_up = True
    outbox.put(b"three")
    await trio.testing.wait_all_tasks_blocked()
    assert line.heard == [b"three"]


async def test_at_the_bound_the_oldest_frames_go(nursery: trio.Nursery) -> None:
    line = Line()
    outbox = Outbox(line.open)
    body = bytes(limits.MIB)
    for number in range(20):
        outbox.put(bytes((number,)) + body[1:])
    kept = limits.DATAGRAM_QUEUE_BYTES_MAX // limits.MIB
    nursery.start_soon(outbox.run)
    await trio.testing.wait_all_tasks_blocked()
    assert [heard[0] for heard in line.heard] == list(range(20 - kept, 20))
    assert outbox.dropped == 20 - kept
