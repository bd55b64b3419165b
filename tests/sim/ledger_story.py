"""The story of the ledger: real services, real signatures, clients, an adversary, a heal, and peace."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import trio

from node.chain.services import LedgerServices
from node.ports import Ports
from protocol.blocks import Genesis, Statement
from tests.sim.clients import Client, Told
from tests.sim.invariants import check_acknowledged, check_converged, check_evidence
from tests.sim.links import Weather
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat, Service
from tests.sim.profile import Profile
from tests.sim.traitors import Traitor
from tests.sim.watch import Watch
from tests.sim.world import Violation, World

LOOK_S = 0.5
USUAL_SIZE = 4
SHARE_MIN = 1 / 3
PEACE_S = 60.0


def build_ledger(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
    """The node as it is: the one place that knows how it is made of ports."""
    return LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)


def build_with_traitors(
    build: BuildNode, traitors: Collection[int], profile: Profile, world: World
) -> BuildNode:
    """The nodes of these seats get a transport that lies."""

    def build_one(ports: Ports, genesis: Genesis, seat: Seat) -> Service:
        if seat.index not in traitors:
            return build(ports, genesis, seat)
        dice = world.dice(f"traitor/{seat.name}/{ports.clock.elapsed_ms()}")
        transport = Traitor(ports.transport, genesis, seat, profile.tricks, dice)
        services = build_ledger(replace(ports, transport=transport), genesis, seat)
        # A node that hears its key contradict itself stops voting, for it cannot know who signs.
        vars(services.consensus)["_retire"] = shrug
        return services

    return build_one


async def shrug(statement: Statement) -> None:
    """What a traitor does when told of its own contradictions."""
    await trio.lowlevel.checkpoint()


def running(cluster: Cluster) -> list[LedgerServices]:
    """The services of the honest nodes that run."""
    lives = [node.life for node in cluster.honest() if node.life is not None]
    return [life.service for life in lives if isinstance(life.service, LedgerServices)]


@dataclass
class LedgerStory:
    """Call it with a world. `for_s` is how long four nodes are tormented, and larger clusters shorter in
    proportion, down to a third. `told` and `heights` say afterwards what happened, `node_s` for how many
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
        dice = world.dice("profile")
        profile = self.profile or Profile.of(dice)
        self.size = profile.size
        traitors = dice.sample(range(profile.size), profile.traitors)
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world, Weather(tick_ms=profile.tick_ms))
            build = build_with_traitors(self.build, traitors, profile, world)
            cluster = Cluster(world, network, nursery, build, size=profile.size, traitors=traitors)
            watch = Watch(cluster)
            clients = [
                Client(cluster, world.dice(f"client/{number}"), self.told, pause_s=profile.pause_s)
                for number in range(profile.clients)
            ]
            cluster.start()
            watch.look()
            for client in clients:
                nursery.start_soon(client.run)
            await Nemesis(cluster, profile).torment(self.for_s * max(USUAL_SIZE / profile.size, SHARE_MIN))
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
        for node in cluster.honest():
            watch.check_disk(node)
        heads = {node.name: watch.head(node) for node in cluster.honest()}
        self.heights = [head[0] for head in heads.values()]
        if self.told.waiting:
            left = [f"{name.hex()[:12]} at {self.told.accepted[name]}" for name in self.told.waiting]
            raise Violation("L9", f"accepted and not final {PEACE_S:g} s after the heal: {', '.join(left)}")
        check_converged(heads)
        chains = {node.name: watch.chain(node) for node in cluster.honest()}
        check_acknowledged(self.told.final, chains)
        watch.certificates.check_chain(next(iter(chains.values())))
        keys = [node.seat.vote_key.public for node in cluster.nodes if node.seat.index in cluster.traitors]
        for services in running(cluster):
            check_evidence(services.consensus.machine.tally.evidence, keys)

    def _is_settled(self, cluster: Cluster, watch: Watch) -> bool:
        watch.look_once()
        return not self.told.waiting and len({watch.head(node) for node in cluster.honest()}) == 1
