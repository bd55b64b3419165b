"""The story of the ledger: real services, real signatures, clients, an adversary, a heal, and peace."""

from dataclasses import dataclass, field

import trio

from node.chain.services import LedgerServices
from node.ports import Ports
from protocol.blocks import Genesis
from tests.sim.clients import Client, Told
from tests.sim.invariants import check_acknowledged, check_converged
from tests.sim.nemesis import Nemesis, Profile
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat
from tests.sim.watch import Watch
from tests.sim.world import Violation, World

CLIENTS = 3
LOOK_S = 0.5
PEACE_S = 60.0


def build_ledger(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
    """The node as it is: the one place that knows how it is made of ports."""
    return LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)


@dataclass
class LedgerStory:
    """Call it with a world. `told` and `heights` say afterwards what happened, `node_s` for how many
    simulated seconds its `size` nodes were watched, all of them together."""

    for_s: float
    build: BuildNode = build_ledger
    profile: Profile | None = None
    told: Told = field(default_factory=Told)
    heights: list[int] = field(default_factory=list)
    size: int = 0
    node_s: float = 0.0

    async def __call__(self, world: World) -> None:
        try:
            await self._play(world)
        finally:
            self.node_s = self.size * trio.current_time()

    async def _play(self, world: World) -> None:
        profile = self.profile or Profile.of(world.dice("profile"))
        self.size = profile.size
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, SimNetwork(world), nursery, self.build, size=profile.size)
            watch = Watch(cluster)
            clients = [
                Client(cluster, world.dice(f"client/{number}"), self.told) for number in range(CLIENTS)
            ]
            cluster.start()
            watch.look()
            for client in clients:
                nursery.start_soon(client.run)
            await Nemesis(cluster, profile).torment(self.for_s)
            for client in clients:
                client.stop()
            await self._peace(cluster, watch)
            nursery.cancel_scope.cancel()
            cluster.stop()

    async def _peace(self, cluster: Cluster, watch: Watch) -> None:
        """After the heal: all that was accepted becomes final, and all nodes come to one head.

        Raises:
            Violation: not within 60 seconds, or what they agree on is not what was told.
        """
        with trio.move_on_after(PEACE_S):
            while not self._is_settled(cluster, watch):  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
        watch.look_once()
        heads = {node.name: watch.head(node) for node in cluster.nodes}
        self.heights = [head[0] for head in heads.values()]
        if self.told.waiting:
            left = [f"{name.hex()[:12]} at {self.told.accepted[name]}" for name in self.told.waiting]
            raise Violation("L9", f"accepted and not final {PEACE_S:g} s after the heal: {', '.join(left)}")
        check_converged(heads)
        chains = {node.name: watch.chain(node) for node in cluster.nodes}
        check_acknowledged(self.told.final, chains)
        watch.certificates.check_chain(next(iter(chains.values())))

    def _is_settled(self, cluster: Cluster, watch: Watch) -> bool:
        watch.look_once()
        return not self.told.waiting and len({watch.head(node) for node in cluster.nodes}) == 1
