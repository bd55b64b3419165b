"""Catch-up in the simulated world: gossip lost for long, and peers that lie, drip or say nothing."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
import trio
from msgspec.structs import replace

from node.chain.blocks_door import BlocksDoor
from node.chain.services import LedgerServices
from node.ports import Ports
from protocol.blocks import Genesis
from protocol.keys import PublicKey
from protocol.limits import NetworkLimits
from protocol.messages.blocks import BlocksReply
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, Seat, SimNode
from tests.sim.transport import SimTransport
from tests.sim.world import World, simulate

Story = Callable[[Cluster], Awaitable[None]]
QUICK = NetworkLimits(heartbeat_ms=5_000)
AWAY_S = 600.0
CONVERGED_S = 60.0


class SilentDoor(BlocksDoor):
    async def _range(self, height: int, last: int) -> BlocksReply:
        await trio.sleep_forever()
        raise AssertionError


class DrippingDoor(BlocksDoor):
    """Valid, one block at a time, as slowly as it may without being cut off."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, height)
        await trio.sleep(9)
        return reply


class OtherTimeDoor(BlocksDoor):
    """Blocks that are not those of the chain."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, last)
        first, *rest = reply.blocks
        header = replace(first.header, time_ms=first.header.time_ms + 1)
        return BlocksReply((replace(first, header=header), *rest), reply.finality, reply.head)


class NoContentsDoor(BlocksDoor):
    """The right headers, and a transaction that none of them commits to."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, last)
        blocks = tuple(replace(block, transactions=(b"x",), sealed=(b"",)) for block in reply.blocks)
        return BlocksReply(blocks, reply.finality, reply.head)


class BoastingDoor(BlocksDoor):
    """Says that it holds far more than there is."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, last)
        return BlocksReply(reply.blocks, reply.finality, 10**12)


class BusyDoor(BlocksDoor):
    """Has nothing to give for as long as all such are busy."""

    are_busy = False

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, last)
        return BlocksReply((), None, reply.head) if self.are_busy else reply


def play(
    story: Story,
    *,
    size: int = 4,
    doors: Mapping[int, type[BlocksDoor]] | None = None,
    network_type: type[SimNetwork] = SimNetwork,
    seed: int = 1,
) -> None:
    """`story` with clinics of which some serve blocks through another door."""

    def build(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
        services = LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)
        if doors and seat.index in doors:
            services.door = doors[seat.index](
                transport=ports.transport, ledger=services.ledger, wall_ms=ports.clock.wall_ms
            )
        return services

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, network_type(world), nursery, build, size=size, limits=QUICK)
            cluster.start()
            await trio.sleep(3)
            await story(cluster)
            cluster.stop()

    simulate(tell, seed)


def services(node: SimNode) -> LedgerServices:
    assert node.life is not None
    assert isinstance(node.life.service, LedgerServices)
    return node.life.service


def isolate(cluster: Cluster, *victims: SimNode) -> None:
    """Cuts these off from all others, and not from each other."""
    others = [node.identity for node in cluster.nodes if node not in victims]
    cluster.network.cut_off([node.identity for node in victims], others)


async def seconds_to_converge(cluster: Cluster, victim: SimNode) -> float:
    """Seconds until the victim holds what the others held at the start."""
    goal = max(services(node).ledger.height for node in cluster.nodes)
    begun = trio.current_time()
    with trio.move_on_after(2 * CONVERGED_S):
        while services(victim).ledger.height < goal:  # noqa: ASYNC110
            await trio.sleep(0.1)
    return trio.current_time() - begun


class DeafNetwork(SimNetwork):
    """Streams alone work: gossip is lost entirely, and datagrams to one node."""

    deaf: PublicKey | None = None

    def gossip(self, origin: SimTransport, topic: str, payload: bytes) -> None:
        return

    def datagram(self, sender: SimTransport, receiver: PublicKey, protocol: str, payload: bytes) -> None:
        if receiver != self.deaf:
            super().datagram(sender, receiver, protocol, payload)


def test_without_gossip_for_ten_minutes_a_node_keeps_up_by_streams_alone() -> None:
    async def story(cluster: Cluster) -> None:
        victim = cluster.nodes[3]
        assert isinstance(cluster.network, DeafNetwork)
        cluster.network.deaf = victim.identity
        for _ in range(10):
            await trio.sleep(AWAY_S / 10)
            assert await seconds_to_converge(cluster, victim) <= CONVERGED_S
        assert services(victim).ledger.height > 100

    play(story, network_type=DeafNetwork)


def test_after_ten_minutes_away_a_node_converges_within_a_minute_of_streams_being_possible() -> None:
    async def story(cluster: Cluster) -> None:
        victim = cluster.nodes[3]
        isolate(cluster, victim)
        await trio.sleep(AWAY_S)
        before = services(victim).ledger.height
        assert services(cluster.nodes[0]).ledger.height > before + 100
        cluster.network.heal()
        assert await seconds_to_converge(cluster, victim) <= CONVERGED_S
        assert services(victim).sync.progress.blocks_per_s is None

    play(story)


@pytest.mark.parametrize(
    ("door", "bound_s"),
    [
        (SilentDoor, 10.0),
        (DrippingDoor, 10.0),
        (OtherTimeDoor, 10.0),
        (NoContentsDoor, 10.0),
        (BoastingDoor, 10.0),
    ],
)
def test_a_bad_peer_is_left_and_the_rest_comes_from_others(door: type[BlocksDoor], bound_s: float) -> None:
    """Two of seven clinics are bad, as many as may be."""

    async def story(cluster: Cluster) -> None:
        victim = cluster.nodes[6]
        isolate(cluster, victim)
        await trio.sleep(AWAY_S / 4)
        cluster.network.heal()
        assert await seconds_to_converge(cluster, victim) <= bound_s

    play(story, size=7, doors={0: door, 1: door})


def test_two_that_are_behind_do_not_wait_for_each_other_once_all_others_failed_them() -> None:
    """Found by seed 108194026007562 in a cluster of ten with two newcomers."""

    async def story(cluster: Cluster) -> None:
        victims = cluster.nodes[5:]
        isolate(cluster, *victims)
        await trio.sleep(AWAY_S / 4)
        BusyDoor.are_busy = True
        cluster.network.heal()
        await trio.sleep(QUICK.heartbeat_ms / 1000)
        BusyDoor.are_busy = False
        for victim in victims:
            assert await seconds_to_converge(cluster, victim) <= 10

    play(story, size=7, doors=dict.fromkeys(range(5), BusyDoor))


def test_how_far_a_node_is_shows_while_it_catches_up() -> None:
    async def story(cluster: Cluster) -> None:
        victim = cluster.nodes[3]
        isolate(cluster, victim)
        await trio.sleep(AWAY_S)
        cluster.network.heal()
        goal = services(cluster.nodes[0]).ledger.height
        seen = []
        with trio.move_on_after(CONVERGED_S):
            while services(victim).ledger.height < goal:
                await services(victim).ledger.wait_advanced()
                seen.append(services(victim).sync.progress)
        shown = [item for item in seen if item.blocks_per_s is not None]
        assert shown
        assert all(item.height <= item.known_height <= goal + 50 for item in shown)
        assert all(item.left_s is not None for item in shown)

    play(story, doors=dict.fromkeys(range(3), OneBlockDoor))


class OneBlockDoor(BlocksDoor):
    async def _range(self, height: int, last: int) -> BlocksReply:
        return await super()._range(height, height)
