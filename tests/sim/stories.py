"""Stories of toy nodes: a cluster, an adversary, and what must hold in the end."""

from collections.abc import Awaitable, Callable

import trio

from node.ports import Ports
from protocol.blocks import Genesis
from tests.sim.links import Weather
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, Seat
from tests.sim.profile import Profile
from tests.sim.toy import Bugs, ToyNode, ToyWatch, toys
from tests.sim.world import Violation, World

Story = Callable[[World], Awaitable[None]]
NO_BUGS = Bugs()


def toy_story(*, for_s: float, ties: bool = False, bugs: Bugs = NO_BUGS, torment: bool = True) -> Story:
    """`for_s` simulated seconds under the seed's adversary, then a heal, then all agree."""

    def build(ports: Ports, genesis: Genesis, seat: Seat) -> ToyNode:
        return ToyNode(ports, genesis, seat, bugs)

    async def story(world: World) -> None:
        weather = Weather(fixed=True, doubled=0, straggler=0) if ties else Weather()
        profile = Profile.of(world.dice("profile"))
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world, weather)
            cluster = Cluster(world, network, nursery, build, size=profile.size)
            ToyWatch(cluster)
            cluster.start()
            if torment:
                await Nemesis(cluster, profile).torment(for_s)
            else:
                await trio.sleep(for_s)
            await trio.sleep(20)
            _check_agreement(cluster)
            cluster.stop()

    return story


def _check_agreement(cluster: Cluster) -> None:
    """Each node knows of each other a count that was told within the last seconds."""
    running = toys(cluster)
    assert len(running) == len(cluster.nodes), "a node is not up after the heal"
    for index, teller in enumerate(running):
        own = teller.counts.newest[index].number
        for hearer in running:
            if own - hearer.counts.newest[index].number > 30:
                raise Violation("V1", f"{hearer} did not hear of {teller} for long")
        assert teller.echoes, "no echo ever came back"
        assert teller.heard, "no gossip ever arrived"
