"""The muxer of a connection, mended: py-libp2p's Yamux polls, and lets two busy ends block each other."""

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import trio
from libp2p.abc import ISecureConn
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_ACK,
    FLAG_RST,
    FLAG_SYN,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from node.net.budget import TokenBucket
from protocol import limits
from protocol.errors import RemoteProtocolError

logger = logging.getLogger(__name__)

CLOSE_S: Final = 1.0
CLOSED_CHECK_S: Final = 0.05
PING_FIRST_S: Final = 0.5
PING_EVERY_S: Final = 3.0
# A busy clinic answers late, and to come back costs it more than to be waited for.
PONG_S: Final = 8.0
FLAGS_AT: Final = slice(2, 4)  # in the header of a frame
ANSWERS_MAX: Final = 4096
# A full frame fills one Noise message; the library's overflow it by 17 bytes.
FRAME_BYTES_MAX: Final = MAX_PLAINTEXT_LENGTH - HEADER_SIZE
# So much may arrive before what is unread is counted again: to count it costs a look at every stream.
COUNT_BYTES: Final = 16 * limits.KIB
TYPE_AT: Final = 1


@dataclass(frozen=True, slots=True)
class MuxerRules:
    """What a peer is held to: the window of each stream, and whether so much of it may wait unread."""

    window_bytes: int
    may_hold: Callable[["GuardedYamux", int], bool]


FREE: Final = MuxerRules(limits.RECEIVE_WINDOW_BYTES, lambda _muxer, _count: True)


class CalmStream(YamuxStream):
    """A stream that sends credit by the half window and waits for credit without polling.

    The library answers each read, even of one byte, with an update, lets the window grow to 16 MiB after a
    few of them, and looks for credit every 10 ms. Here the window is 256 KiB, as the protocol has it, and
    what the peer's rules say once half of that was read. A peer that overruns it is cut off: the library
    only writes a line to its log. `unframed_bytes` were read here and are not yet a whole frame.
    """

    _send_window = 0
    _recv_window = 0
    _credit: trio.Event | None = None
    unframed_bytes = 0

    @property
    def recv_window(self) -> int:
        """Bytes that the peer may send."""
        return self._recv_window

    @recv_window.setter
    def recv_window(self, count: int) -> None:
        self._recv_window = count
        if count < 0:
            cast(GuardedYamux, self.conn).fail(RemoteProtocolError("the peer overran its window"))

    @property
    def send_window(self) -> int:
        """Bytes that we may send."""
        return self._send_window

    @send_window.setter
    def send_window(self, count: int) -> None:
        self._send_window = count
        if count > 0 and self._credit is not None:
            self._credit.set()

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self.send_window <= 0:
                await self._wait_for_credit()
            if self.send_closed or self.closed:
                raise MuxedStreamError("stream is closed for sending")
            count = min(len(rest), self.send_window, FRAME_BYTES_MAX)
            self.send_window -= count
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, count)
            await self.conn._write_frame(header + rest[:count])
            rest = rest[count:]

    async def _wait_for_credit(self) -> None:
        """Until there is credit or the stream is closed, of which nothing tells us."""
        deadline = trio.current_time() + limits.WRITE_S
        while self.send_window <= 0 and not self.closed:
            if trio.current_time() > deadline:
                raise MuxedStreamError("the peer reads nothing")
            self._credit = trio.Event()
            with trio.move_on_after(CLOSED_CHECK_S):
                await self._credit.wait()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        waiting = len(self.conn.stream_buffers.get(self.stream_id, b""))
        credit = self.target_recv_window - self.recv_window - waiting
        if credit < self.target_recv_window // 2 or self.recv_closed:
            return
        window_bytes = cast(GuardedYamux, self.conn).rules.window_bytes
        credit += window_bytes - self.target_recv_window
        self.target_recv_window = window_bytes
        self.recv_window += credit
        # The bytes are out of the buffer already: a cancelled update would lose them.
        with trio.CancelScope() as scope:
            scope.shield = True
            await self.send_window_update(credit)


class GuardedYamux(Yamux):
    """One connection's muxer. Its failures, and writes that block, cost that connection only.

    What it must answer to the peer, such as the opening of a stream, has a queue and a writer of its own.
    The library writes it from the loop that reads; two ends that both send much then wait for each other.
    """

    def __init__(
        self,
        secured: ISecureConn,
        peer: ID,
        report: Callable[[Exception], None],
        rules: MuxerRules = FREE,
    ) -> None:
        super().__init__(secured, peer)
        self.rules = rules
        self._report = report
        self._answers: list[bytes] = []
        self._has_answers = trio.Event()
        self._uncounted = 0
        self._pings = TokenBucket(limits.MUXER_PINGS_PER_S, limits.MUXER_PINGS_BURST, _now_ms())

    async def start(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_answers)
                await super().start()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self._report(error)
        # After a failure the loop that reads has only stopped.
        if not self.event_closed.is_set():
            await self._cut()

    def fail(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule: nothing more of it is read, and the connection ends."""
        if not self.event_shutting_down.is_set():
            self._report(error)
            self._end()

    def _end(self) -> None:
        self.event_shutting_down.set()
        self._let_go()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _let_go(self) -> None:
        """Drops what nobody has read and wakes whoever waits to read: the connection is at its end. The
        library wakes nobody where a connection that has failed is closed; they would wait for ever, and
        hold what they have read so far."""
        for buffer in self.stream_buffers.values():
            buffer.clear()
        for event in self.stream_events.values():
            event.set()

    async def _measure_rtt_loop(self) -> None:
        """Asks the other end for a sign of life, again and again, and ends the connection that gives none.

        The library's own watch opens a stream for each question, at ten times the cost, and asks its peers
        one after the other.
        """
        await trio.sleep(PING_FIRST_S)
        while not self.event_shutting_down.is_set():
            self._ping_id += 1
            self._ping_event = trio.Event()
            ping = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id)
            self._ping_sent_time = trio.current_time()
            try:
                await self._write_whole(ping)
            except IOException:
                return  # the connection is over, as the loop that reads has seen too
            with trio.move_on_after(PONG_S) as patience:
                await self._ping_event.wait()
            if patience.cancelled_caught:
                logger.info("a connection is lost: no sign of life for %g s", PONG_S)
                self._end()
            await trio.sleep(PING_EVERY_S)

    def unread_bytes(self) -> int:
        """What has arrived and was not yet read, or is not yet a whole frame."""
        unframed = sum(stream.unframed_bytes for stream in self.streams.values())  # type: ignore[attr-defined]
        return unframed + sum(map(len, self.stream_buffers.values()))

    async def _read_data_body(self, length: int) -> bytes:
        """The body of a frame, if the peer may send so much: judged before any of it is held."""
        self._uncounted += length
        if self._uncounted >= COUNT_BYTES:
            self._uncounted = 0
            if not self.rules.may_hold(self, self.unread_bytes() + length):
                self.fail(RemoteProtocolError("the peer sends more than is read"))
        try:
            with trio.fail_after(limits.MUXER_FRAME_S):
                return await super()._read_data_body(length)
        except trio.TooSlowError:
            self.fail(RemoteProtocolError("the peer holds up a frame"))
            raise

    async def _write_frame(self, data: bytes) -> None:
        flags = int.from_bytes(data[FLAGS_AT], "big")
        if not flags & (FLAG_ACK | FLAG_RST):
            await self._write_whole(data)
        elif data[TYPE_AT] == TYPE_PING and not self._pings.take(_now_ms()):
            self.fail(RemoteProtocolError("the peer pings too often"))
            await trio.lowlevel.checkpoint()
        elif len(self._answers) < ANSWERS_MAX:
            self._answers.append(data)
            self._has_answers.set()
            await trio.lowlevel.checkpoint()
        else:
            self.fail(RemoteProtocolError("the peer asks much and reads nothing"))
            await trio.lowlevel.checkpoint()

    async def _write_answers(self) -> None:
        try:
            while True:
                await self._has_answers.wait()
                self._has_answers = trio.Event()
                answers, self._answers = self._answers, []
                await self._write_whole(b"".join(answers))
        except IOException:
            pass  # the connection is over, as the loop that reads has seen too

    async def _write_whole(self, data: bytes) -> None:
        """Writes all of `data`, or ends the connection: half a frame would garble all that follows."""
        async with self._write_lock:
            if self.event_closed.is_set():
                raise ConnectionClosedError("connection is closed")
            with trio.move_on_after(limits.WRITE_S) as scope:
                scope.shield = True
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            await self._cut()
            raise ConnectionClosedError("connection closed: the peer takes no bytes")

    async def close(self, error_code: int = 0) -> None:
        with trio.move_on_after(CLOSE_S) as scope:
            scope.shield = True
            await super().close(error_code)
        if scope.cancelled_caught:
            await self._cut()
        self._let_go()

    async def _cut(self) -> None:
        """Ends the connection without a word to the peer."""
        with trio.CancelScope(shield=True):
            await self.secured_conn.close()
            await self._cleanup_on_error()


def _now_ms() -> int:
    return round(1000 * trio.current_time())
