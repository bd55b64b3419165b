"""One connection's muxer on a connection that blocks, fails or ends, in virtual time."""

import struct

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamError

from node.net.libp2p_guards import install, peer_id
from node.net.libp2p_muxer import ANSWERS_MAX, PING_EVERY_S, PONG_S, CalmStream, GuardedYamux
from protocol import limits
from protocol.errors import RemoteProtocolError
from protocol.keys import SigningKey

PEER = peer_id(SigningKey(b"p" * 32).public)
DATA, WINDOW, PING = 0, 1, 2
SYN, ACK, RST = 1, 2, 8


def frame(kind: int, flags: int, stream: int, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream, len(body) if length is None else length) + body


class Wire:
    """A secured connection: brings `incoming`, then nothing; takes what is written, blocks, or raises."""

    is_initiator = False

    def __init__(self, incoming: bytes = b"") -> None:
        self.incoming = incoming
        self.written = b""
        self.is_closed = False
        self.error: Exception | None = None
        self._may_write = trio.Event()
        self._may_write.set()
        self._ended = trio.Event()

    def block(self) -> None:
        self._may_write = trio.Event()

    def unblock(self) -> None:
        self._may_write.set()

    async def read(self, count: int) -> bytes:
        if not self.incoming:
            await self._ended.wait()
            return b""
        octets, self.incoming = self.incoming[:count], self.incoming[count:]
        await trio.lowlevel.checkpoint()
        return octets

    async def write(self, octets: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        await self._may_write.wait()
        self.written += octets

    async def close(self) -> None:
        self.is_closed = True
        self._ended.set()
        self._may_write.set()
        await trio.lowlevel.checkpoint()


class LivingWire(Wire):
    """Answers each ping."""

    def __init__(self) -> None:
        super().__init__()
        self._came = trio.Event()
        self.pings = 0

    async def read(self, count: int) -> bytes:
        if not self.incoming:
            self._came = trio.Event()
            await self._came.wait()
        return await super().read(count)

    async def write(self, octets: bytes) -> None:
        await super().write(octets)
        _, kind, flags, _, value = struct.unpack("!BBHII", octets[:12])
        if (kind, flags) == (PING, SYN):
            self.pings += 1
            self.incoming += frame(PING, ACK, 0, length=value)
            self._came.set()

    async def close(self) -> None:
        await super().close()
        self._came.set()


@pytest.fixture(autouse=True)
def guards() -> None:
    install()


def muxer_on(wire: Wire, reported: list[Exception]) -> GuardedYamux:
    return GuardedYamux(wire, PEER, reported.append)  # type: ignore[arg-type]


async def test_a_muxer_that_cannot_write_goes_on_reading(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Or two that send much to each other would wait for each other."""
    wire = Wire(frame(WINDOW, SYN, 1) + frame(PING, SYN, 0, length=7) + frame(DATA, 0, 1, b"hello"))
    wire.block()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    await trio.sleep(limits.WRITE_S / 2)
    assert muxer.stream_buffers[1] == b"hello"
    nursery.cancel_scope.cancel()


async def test_a_peer_that_asks_and_never_reads_is_cut_off(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wire, reported = Wire(frame(PING, SYN, 0) * (ANSWERS_MAX + 2)), list[Exception]()
    wire.block()
    await muxer_on(wire, reported).start()
    assert [type(error) for error in reported] == [RemoteProtocolError]
    assert wire.is_closed


async def test_closing_does_not_wait_for_a_peer_that_takes_no_bytes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wire = Wire()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.open_stream()
    wire.block()
    nursery.start_soon(stream.write, b"x")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(limits.WRITE_S / 2):
        await muxer.close()
    assert wire.is_closed


async def test_a_write_that_takes_too_long_ends_the_connection(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wire = Wire()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.open_stream()
    wire.block()
    began = trio.current_time()
    with pytest.raises(ConnectionClosedError):
        await stream.write(b"x")
    assert trio.current_time() == began + limits.WRITE_S
    assert wire.is_closed


async def test_a_cancelled_writer_still_writes_its_frame_whole(nursery: trio.Nursery) -> None:
    """Half a frame would garble what all other streams send after it."""
    wire = Wire()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.open_stream()
    wire.block()
    async with trio.open_nursery() as writing:
        writing.start_soon(stream.write, b"whole")
        await trio.testing.wait_all_tasks_blocked()
        writing.cancel_scope.cancel()
        wire.unblock()
    assert wire.written.endswith(frame(DATA, 0, stream.stream_id, b"whole"))
    nursery.cancel_scope.cancel()


async def test_a_muxer_that_fails_is_reported_and_closed() -> None:
    wire, reported = Wire(frame(PING, SYN, 0)), list[Exception]()
    wire.error = ArithmeticError("nonces are used up")
    await muxer_on(wire, reported).start()
    assert len(reported) == 1
    assert wire.is_closed


async def test_a_reader_of_small_pieces_gives_credit_by_the_half_window(nursery: trio.Nursery) -> None:
    wire = Wire(frame(WINDOW, SYN, 1) + frame(DATA, 0, 1, bytes(65_000)) * 4)
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.accept_stream()
    await trio.testing.wait_all_tasks_blocked()
    before, read = len(wire.written), 0
    while read < 250_000:
        read += len(await stream.read(100))
    # One update in all, at the first read past half of the window: what was read, and the larger window.
    assert len(wire.written) - before == 12
    credit = int.from_bytes(wire.written[-4:], "big")
    assert credit == 131_100 + limits.RECEIVE_WINDOW_BYTES - 256 * limits.KIB
    nursery.cancel_scope.cancel()


async def test_a_writer_without_credit_writes_on_as_soon_as_there_is_some(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wire = Wire()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.open_stream()
    assert isinstance(stream, CalmStream)
    nursery.start_soon(stream.write, bytes(300_000))
    await trio.testing.wait_all_tasks_blocked()
    assert stream.send_window == 0
    began = trio.current_time()
    stream.send_window += 100_000
    await trio.testing.wait_all_tasks_blocked()
    assert stream.send_window == 256 * limits.KIB + 100_000 - 300_000
    assert trio.current_time() == began
    nursery.cancel_scope.cancel()


async def test_a_connection_without_a_sign_of_life_is_ended_and_nobody_is_blamed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire, reported = Wire(), list[Exception]()
    began_s = trio.current_time()
    await muxer_on(wire, reported).start()
    assert wire.is_closed
    assert reported == []
    assert PONG_S < trio.current_time() - began_s < PONG_S + PING_EVERY_S


async def test_a_connection_with_signs_of_life_stays(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    wire, reported = LivingWire(), list[Exception]()
    muxer = muxer_on(wire, reported)
    nursery.start_soon(muxer.start)
    await trio.sleep(10 * PING_EVERY_S + 1)
    assert not wire.is_closed
    assert wire.pings == 11
    assert reported == []
    nursery.cancel_scope.cancel()


async def test_a_connection_that_fails_and_is_closed_at_once_leaves_no_reader_waiting(
    nursery: trio.Nursery,
) -> None:
    wire, ended = Wire(frame(WINDOW, SYN, 1)), trio.Event()
    muxer = muxer_on(wire, [])
    nursery.start_soon(muxer.start)
    stream = await muxer.accept_stream()

    async def read() -> None:
        with pytest.raises(MuxedStreamError):
            await stream.read(10)
        ended.set()

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    muxer.fail(RemoteProtocolError("a rule was broken"))
    await muxer.close()
    await stream.reset()  # as the library's swarm does with each stream of a closed connection
    await trio.testing.wait_all_tasks_blocked()
    assert ended.is_set()


async def test_what_a_failed_connection_has_sent_is_dropped_at_once(nursery: trio.Nursery) -> None:
    muxer = muxer_on(Wire(frame(WINDOW, SYN, 1) + frame(DATA, 0, 1, bytes(1_000))), [])
    nursery.start_soon(muxer.start)
    await muxer.accept_stream()
    await trio.testing.wait_all_tasks_blocked()
    assert muxer.unread_bytes() == 1_000
    muxer.fail(RemoteProtocolError("a rule was broken"))
    assert muxer.unread_bytes() == 0
