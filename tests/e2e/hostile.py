"""Attackers: what a stranger, or a member gone bad, throws at a node from outside.

Each attack is a coroutine over a `Target` and returns when the node has had it all: it was cut off, or it
has answered something sent afterwards. Whoever calls then checks that the node still serves the honest.
Frames and lines are made by hand, so that they can be wrong.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import trio

from tests.e2e.attacker import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    GONE,
    MESHSUB,
    PATIENCE_S,
    PING,
    PINGING,
    RST,
    SYN,
    WINDOW,
    YAMUX,
    Attacker,
    Target,
    attack_as,
)
from tests.e2e.payloads import (
    BARE_BYTES,
    FRAMES,
    HELLO,
    PEER_ID_PREFIX,
    PROPOSALS,
    fake_subscriptions,
    gossip_in,
    gossip_with_garbage_key,
    line,
    malformed_gossip,
    signed_gossip,
    subscription,
    unsigned_gossip,
    varint,
)

__all__ = [
    "ACK",
    "BARE_BYTES",
    "DATA",
    "FIN",
    "FRAMES",
    "GONE",
    "GO_AWAY",
    "HELLO",
    "MESHSUB",
    "PATIENCE_S",
    "PEER_ID_PREFIX",
    "PING",
    "PINGING",
    "PROPOSALS",
    "RST",
    "SYN",
    "WINDOW",
    "YAMUX",
    "Attacker",
    "Target",
    "attack_as",
    "fake_subscriptions",
    "gossip_in",
    "gossip_with_garbage_key",
    "line",
    "malformed_gossip",
    "signed_gossip",
    "subscription",
    "unsigned_gossip",
    "varint",
]


# Before authentication.


async def drip_bytes(target: Target, *, pause_s: float) -> None:
    """Begins a handshake a byte at a time, until the node has cut the connection."""
    socket = await target.connect()
    async with socket:
        try:
            while True:
                await socket.send_all(b"\x13")
                with trio.move_on_after(pause_s):
                    if not await socket.receive_some():
                        return
        except trio.BrokenResourceError:
            return


async def send_bytes(target: Target, octets: bytes) -> bool:
    """Sends `octets` on a bare socket; True once the node has cut the connection."""
    socket = await target.connect()
    with trio.fail_after(PATIENCE_S):
        async with socket:
            try:
                await socket.send_all(octets)
                await socket.send_eof()
                while await socket.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
            return True


async def is_offer_taken(target: Target, protocol: str) -> bool:
    """Whether the node agrees to another way of securing a connection than Noise."""
    socket = await target.connect()
    with trio.fail_after(PATIENCE_S):
        async with socket:
            await socket.send_all(line(HELLO) + line(protocol.encode()))
            heard = b""
            while b"na\n" not in heard and protocol.encode() not in heard:
                piece = await socket.receive_some()
                if not piece:
                    return False
                heard += piece
            return protocol.encode() in heard


async def stream_endless_line(target: Target, *, pieces: int) -> int:
    """Announces a line of 1 GiB and sends up to so many pieces of it; how many went out before the cut."""
    socket = await target.connect()
    sent = 0
    with trio.fail_after(PATIENCE_S):
        async with socket:
            try:
                await socket.send_all(line(HELLO) + varint(1 << 30))
                while sent < pieces:
                    await socket.send_all(bytes(65_536))
                    sent += 1
                    await trio.sleep(0.002)
            except trio.BrokenResourceError:
                pass
    return sent


@asynccontextmanager
async def idle_sockets(target: Target, count: int) -> AsyncIterator[None]:
    """Holds `count` connections that never say anything."""
    sockets: list[trio.SocketStream] = []
    try:
        for _ in range(count):
            sockets.append(await target.connect())
        yield
    finally:
        with trio.CancelScope(shield=True):
            for socket in sockets:
                await trio.aclose_forcefully(socket)


# After authentication.


async def connect_and_leave(target: Target, seed: bytes) -> None:
    """One whole connection, opened and closed again; returns when the node has closed it too."""
    async with attack_as(target, seed) as attacker:
        await attacker.frame(GO_AWAY, 0, 0)
        await attacker.is_cut()


async def negotiate_badly(target: Target, seed: bytes, octets: bytes) -> None:
    """Opens a stream and sends `octets` where a protocol should be named."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open()
        await attacker.frame(DATA, FIN, stream, line(HELLO) + octets)
        await _until_stream_ends(attacker, stream)


async def send_on(target: Target, seed: bytes, protocol: str, octets: bytes) -> bool:
    """Sends `octets` on a stream of `protocol`, then ends it; False where the node did not agree to it."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open_protocol(protocol)
        if stream is None:
            return False
        await attacker.frame(DATA, FIN, stream, octets)
        await _until_stream_ends(attacker, stream)
        return True


async def throw(target: Target, seed: bytes, protocol: str, messages: Iterator[bytes]) -> int | None:
    """One connection on which one message after the other is thrown, each on a stream of its own, until the
    node has cut it or there is none left: how many. None where the node takes no connection at all."""
    thrown, is_in = 0, False
    try:
        async with attack_as(target, seed) as attacker:
            is_in = True
            for octets in messages:
                thrown += 1
                stream = await attacker.open_protocol(protocol)
                if stream is not None:
                    await attacker.frame(DATA, FIN, stream, octets)
                    await attacker.settle()
    except GONE:
        pass
    return thrown if is_in else None


async def send_frames(
    target: Target,
    seed: bytes,
    protocol: str,
    frames: Iterable[bytes],
    *,
    per_s: float,
    patience_s: float = PATIENCE_S,
) -> int:
    """Sends frames on one stream of `protocol` at a steady rate, within its window; how many went out
    before the end or the cut."""
    sent = 0
    async with attack_as(target, seed, patience_s=patience_s) as attacker:
        stream = await attacker.open_protocol(protocol)
        assert stream is not None
        start_s = trio.current_time()
        try:
            for octets in frames:
                await attacker.send(stream, octets)
                sent += 1
                await trio.sleep_until(start_s + sent / per_s)
            await attacker.settle()
        except GONE:
            pass
    return sent


async def is_heard(target: Target, seed: bytes, protocol: str, octets: bytes) -> bool:
    """Whether the node says anything but no to whoever proposes `protocol` and goes on regardless."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open()
        await attacker.frame(DATA, 0, stream, line(HELLO) + line(protocol.encode()) + octets)
        heard = b""
        try:
            while True:
                kind, flags, which, body = await attacker.read_frame()
                if which == stream and kind == DATA:
                    heard += body
                if which == stream and flags & (FIN | RST):
                    break
        except GONE:
            pass
        return heard.replace(line(HELLO), b"").replace(line(b"na"), b"") != b""


async def flood_with_streams(attacker: Attacker, count: int) -> None:
    """Opens `count` streams at once and says nothing on them."""
    try:
        for _ in range(count):
            await attacker.open()
    except GONE:
        return
    await attacker.settle()


async def overrun_window(target: Target, seed: bytes, protocol: str, octets: int) -> bool:
    """Sends `octets` on one stream with no regard for its window; True once the node has cut us off."""
    async with attack_as(target, seed) as attacker:
        stream = await attacker.open_protocol(protocol)
        assert stream is not None
        piece = bytes(60_000)
        try:
            for _ in range(octets // len(piece)):
                await attacker.frame(DATA, 0, stream, piece)
        except GONE:
            return True
        return await attacker.is_cut()


async def garble_muxer(target: Target, seed: bytes) -> None:
    """Frames of no known kind, for streams that do not exist, and one much longer than what follows."""
    async with attack_as(target, seed) as attacker:
        await attacker.frame(9, 0xFFFF, 7, length=3, version=5)
        await attacker.frame(DATA, 0, 4711, b"nobody's")
        await attacker.frame(WINDOW, RST | FIN, 4711)
        for number in range(500):
            await attacker.frame(PINGING, SYN, 0, length=number)
        await attacker.settle()
        await attacker.frame(DATA, SYN, 99, bytes(100), length=5_000_000)


async def _until_stream_ends(attacker: Attacker, stream: int) -> None:
    """Reads until the node ends `stream`, in whatever way, or the connection."""
    try:
        while True:
            _, flags, which, _ = await attacker.read_frame()
            if which == stream and flags & (FIN | RST):
                return
    except GONE:
        return
