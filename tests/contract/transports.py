"""The adapters of `ports.Transport` as the contract tests open them.

`open_members(prepare)` yields two members connected to each other; `open_stranger(prepare)` yields a node
and a connected stranger that knows it. Both call `prepare` on the two transports before they run, which is
when services register. To join the contract, append an adapter to `ADAPTERS`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import trio

from node.adapters import SystemClock
from node.net.libp2p_host import Libp2pTransport
from node.ports import PeerAddress, Transport
from protocol.blocks import NetworkId
from protocol.keys import SigningKey
from tests.sim.links import Weather
from tests.sim.network import SimNetwork
from tests.sim.transport import SimTransport
from tests.sim.world import World

NETWORK = NetworkId(b"n" * 32)
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
PATIENCE_S = 10.0

Prepare = Callable[[Transport, Transport], None]
Pair = AbstractAsyncContextManager[tuple[Transport, Transport]]


@dataclass(frozen=True)
class Adapter:
    name: str
    open_members: Callable[[Prepare], Pair]
    open_stranger: Callable[[Prepare], Pair]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for `condition`, and fails after a generous while."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


def seed(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def address_of(transport: Libp2pTransport) -> PeerAddress:
    return PeerAddress(transport.identity, transport.listening)


def libp2p_transport(name: str, **options: object) -> Libp2pTransport:
    """A transport on the test network with the identity of `name`."""
    return Libp2pTransport(seed=seed(name), network=NETWORK, clock=SystemClock(), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def _open_libp2p(prepare: Prepare, *, members: bool) -> AsyncIterator[tuple[Transport, Transport]]:
    key = SigningKey(seed("second")).public
    first = libp2p_transport("first", listen=[LOOPBACK], members=[PeerAddress(key)] if members else [])
    second = libp2p_transport("second")
    prepare(first, second)
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        second.set_members([address_of(first)])
        await nursery.start(second.run)
        await until(lambda: second.identity in first.connected() and first.identity in second.connected())
        yield first, second
        nursery.cancel_scope.cancel()


LIBP2P = Adapter(
    "libp2p",
    open_members=lambda prepare: _open_libp2p(prepare, members=True),
    open_stranger=lambda prepare: _open_libp2p(prepare, members=False),
)

ADAPTERS = [LIBP2P]


@asynccontextmanager
async def _open_simulated(prepare: Prepare, *, members: bool) -> AsyncIterator[tuple[Transport, Transport]]:
    one, two = SigningKey(seed("first")).public, SigningKey(seed("second")).public
    world = World(0)
    network = SimNetwork(world, Weather(latency_ms=1, doubled=0.0, fixed=True))
    first = SimTransport(network, one, members=[two] if members else [], dials=[])
    second = SimTransport(network, two, members=[one], dials=[one])
    prepare(first, second)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.timeline.run)
        await nursery.start(first.run)
        await nursery.start(second.run)
        await until(lambda: second.identity in first.connected() and first.identity in second.connected())
        yield first, second
        nursery.cancel_scope.cancel()


SIMULATED = Adapter(
    "simulated",
    open_members=lambda prepare: _open_simulated(prepare, members=True),
    open_stranger=lambda prepare: _open_simulated(prepare, members=False),
)

ADAPTERS.append(SIMULATED)
