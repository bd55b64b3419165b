"""What clinics gossip, and to whom."""

import trio

from node.chain.gossip import BLOCKS
from protocol.codec import digest
from protocol.keys import PublicKey, SigningKey
from tests.sim.light_world import LedgerClinic, Someone, issue, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.transport import SimTransport
from tests.sim.world import World, simulate


def listener(cluster: Cluster, network: SimNetwork) -> SimTransport:
    """One who knows the clinics and takes part in gossip, without a vote."""
    identity = SigningKey(digest("sim-listener", b"")).public
    network.name(identity, "listener")
    members = [node.identity for node in cluster.nodes]
    transport = SimTransport(network, identity, members=members, dials=members)
    transport.subscribe(BLOCKS)
    return transport


def test_final_blocks_are_gossiped_only_where_others_than_validators_listen() -> None:
    authors: list[PublicKey] = []

    def watch(author: PublicKey, topic: str, payload: bytes) -> None:
        if topic == BLOCKS:
            authors.append(author)

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        network.gossip_watches.append(watch)
        await issue(someone, cluster.nodes[0], "Letter")
        assert authors == []
        async with trio.open_nursery() as nursery:
            await nursery.start(listener(cluster, network).run)
            await trio.sleep(3)
            await issue(someone, cluster.nodes[0], "Second letter")
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert authors

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world)
            cluster = Cluster(world, network, nursery, LedgerClinic, size=4)
            cluster.start()
            someone = someone_new(cluster, network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            await story(cluster, someone, network)
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(tell, 1)
