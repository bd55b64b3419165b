"""A libp2p node with an honest member connected to it, for attackers to try."""

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from node.net.libp2p_host import Libp2pTransport
from node.ports import PeerAddress, Stream
from protocol import limits
from protocol.keys import PublicKey, SigningKey
from tests.contract.transports import (
    LOOPBACK,
    NETWORK,
    PATIENCE_S,
    address_of,
    libp2p_transport,
    seed,
    until,
)
from tests.e2e.hostile import Target

HONEST, ROGUE, STRANGER = seed("honest"), seed("rogue member"), seed("stranger")
PREFIX = f"/chartmesh/{NETWORK.hex()[:16]}/"
MEMORY_BYTES_MAX = 64 * limits.MIB


@dataclass
class Scene:
    """A node, an honest member connected to it, and the node as attackers see it."""

    node: Libp2pTransport
    honest: Libp2pTransport
    target: Target

    async def check(self) -> None:
        """An honest request is answered, on a new stream, over the connection that was there before."""
        assert self.honest.identity in self.node.connected()
        with trio.fail_after(PATIENCE_S):
            stream = await self.honest.open_stream(self.node.identity, "echo")
            await stream.send(b"how are you?")
            assert await stream.receive(100) == b"how are you?"
            await stream.aclose()


async def echo(stream: Stream) -> None:
    while (frame := await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)) is not None:
        await stream.send(frame)


async def count(stream: Stream) -> None:
    """Says how many bytes came before an empty frame."""
    total = 0
    while frame := await stream.receive(limits.CHUNK_FRAME_BYTES_MAX):
        total += len(frame)
    await stream.send(b"%d" % total)


async def pour(stream: Stream) -> None:
    """Sends without end."""
    while True:
        await stream.send(bytes(limits.CHUNK_BYTES))


async def sulk(stream: Stream) -> None:
    """Never reads."""
    await trio.sleep_forever()


def key(of: bytes) -> PublicKey:
    return SigningKey(of).public


def target_of(node: Libp2pTransport) -> Target:
    return Target("127.0.0.1", int(node.listening[0].rpartition("/")[2]), node.identity)


@asynccontextmanager
async def open_scene(
    prepare: Callable[[Libp2pTransport], object] = lambda node: None,
    *,
    connections_max: int = limits.CONNECTIONS_MAX,
) -> AsyncIterator[Scene]:
    members = [PeerAddress(key(HONEST)), PeerAddress(key(ROGUE))]
    node = libp2p_transport("node", listen=[LOOPBACK], members=members, connections_max=connections_max)
    honest = libp2p_transport("honest")
    node.serve("echo", echo)
    node.serve("public", echo, strangers=True)
    node.subscribe("blocks")
    honest.subscribe("blocks")
    for transport in (node, honest):
        transport.serve("count", count)
    prepare(node)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        honest.set_members([address_of(node)])
        await nursery.start(honest.run)
        await until(lambda: honest.identity in node.connected())
        yield Scene(node, honest, target_of(node))
        nursery.cancel_scope.cancel()


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
