"""Malformed clients at the page's door: each costs itself its connection, and the page goes on.

The payloads are those that end a bare hypercorn, and their kin; each is sent with several endings.
"""

import hashlib
import socket
import struct
from typing import Final

import pytest
import trio

from node.web.statics import FOLDER
from protocol import limits
from tests.page_world import World, open_world

HTMX_SHA256: Final = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
HOST: Final = "127.0.0.1"
ELSEWHERE: Final = b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n"
AGAIN: Final = 4
ENDINGS: Final = ("plain", "half", "reset", "split")
_UPGRADE: Final = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PAYLOADS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 60,
    "h2c": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + b"\xff" * 50,
    "websocket": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\n" + _UPGRADE,
    "websocket and noise": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\n" + _UPGRADE + b"\xff\x00" * 25,
    "half a websocket": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\n\r\n" + b"\x81" * 50,
    "bad chunk": b"POST BASE/leave HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk\r\n",
    "bad length": b"POST BASE/leave HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST BASE/leave HTTP/1.1\r\nHost: HOST\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST BASE/leave HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "more after the end": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n" + b"x" * 500,
    "no host": b"GET BASE/ HTTP/1.1\r\n\r\n",
    "two hosts": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    "long head": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nX: " + b"x" * (2 * limits.PAGE_HEAD_BYTES_MAX),
    "many requests": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\n\r\n" * 50,
    "expects": b"POST BASE/leave HTTP/1.1\r\nHost: HOST\r\n"
    b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    "connect": b"CONNECT other:443 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "absolute": b"GET http://other/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "odd path": b"GET BASE/%00%ff/../../x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "odd cookie": b"GET BASE/ HTTP/1.1\r\nHost: HOST\r\nCookie: session=\xff;;=\r\n\r\n",
}


@pytest.mark.parametrize("name", PAYLOADS)
async def test_a_malformed_client_costs_itself_its_connection(name: str) -> None:
    async with open_world() as world:
        await world.enter()
        host = world.origin.removeprefix("http://").encode()
        payload = PAYLOADS[name].replace(b"HOST", host).replace(b"BASE", world.root.encode())
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for ending in ENDINGS * AGAIN:
                    nursery.start_soon(_misbehave, world.port, payload, ending)
            assert (await world.get("/")).status_code == 200


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_LET_IN_S", 0.1)
    async with open_world() as world:
        with trio.fail_after(30):
            async with await trio.open_tcp_stream(HOST, world.port) as stream:
                assert await _until_gone(stream) == b""


async def test_connections_are_bounded_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_CONNECTIONS_MAX", 2)
    async with open_world() as world:
        with trio.fail_after(30):
            async with (
                await trio.open_tcp_stream(HOST, world.port) as first,
                await trio.open_tcp_stream(HOST, world.port),
                await trio.open_tcp_stream(HOST, world.port) as last,
            ):
                assert await _until_gone(last) == b""
                await first.send_all(ELSEWHERE)
                assert b" 421 " in await _until_gone(first)
                while not await _is_answered(world):
                    await trio.lowlevel.checkpoint()


def test_htmx_is_the_file_that_was_looked_at() -> None:
    assert hashlib.sha256((FOLDER / "htmx.min.js").read_bytes()).hexdigest() == HTMX_SHA256


async def _is_answered(world: World) -> bool:
    async with await trio.open_tcp_stream(HOST, world.port) as stream:
        try:
            await stream.send_all(ELSEWHERE)
        except trio.BrokenResourceError:
            return False
        return bool(await _until_gone(stream))


async def _until_gone(stream: trio.SocketStream) -> bytes:
    heard = b""
    try:
        while chunk := await stream.receive_some():
            heard += chunk
    except trio.BrokenResourceError:
        pass  # reset, where what was sent was not read
    return heard


async def _misbehave(port: int, payload: bytes, ending: str) -> None:
    stream = await trio.open_tcp_stream(HOST, port)
    try:
        if ending == "split":
            for part in (payload[: len(payload) // 2], payload[len(payload) // 2 :]):
                await stream.send_all(part)
                await trio.lowlevel.checkpoint()
        else:
            await stream.send_all(payload)
        if ending == "half":
            await stream.send_eof()
        if ending == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with trio.move_on_after(0.2):
                await _until_gone(stream)
    except (trio.BrokenResourceError, OSError):
        pass  # it was sent away already
    finally:
        await trio.aclose_forcefully(stream)
