"""The story of the ledger: real services, real signatures, clients, an adversary, a heal, and peace."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import trio

from node.chain.gateway import Gateway, NothingAsked
from node.chain.services import LedgerServices
from node.ports import Ports
from protocol.blocks import Genesis, Statement, network_id
from protocol.limits import NetworkLimits
from protocol.messages.light import JoinReply
from protocol.transactions import GrantId, TokenId
from tests.sim.changes import Changes
from tests.sim.clients import Client, Told
from tests.sim.light_world import someone_new
from tests.sim.links import Weather
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat, Service
from tests.sim.peace import Peace
from tests.sim.profile import Profile
from tests.sim.traitors import Traitor
from tests.sim.watch import Watch
from tests.sim.world import World

USUAL_SIZE = 4
SHARE_MIN = 1 / 3
QUICK_ROTATION = NetworkLimits(rotation_interval_ms=20_000)


def build_ledger(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
    """The ledger's services as they are, and a gateway for light clients."""
    services = LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)
    Gateway(
        transport=services.ports.transport,
        ledger=services.ledger,
        submissions=services.submissions,
        network=network_id(genesis),
        entropy=ports.entropy,
        join=lambda peer, request: JoinReply(False, False, 0, 0),
        registered=no_grants,
        asked=NothingAsked(),
    )
    return services


async def no_grants(token: TokenId, after: GrantId, count: int) -> list[GrantId]:
    """Nobody asks these for what was shared."""
    return []


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
        transport.committee = lambda: services.consensus.machine.committee
        return services

    return build_one


async def shrug(statement: Statement) -> None:
    """What a traitor does when told of its own contradictions."""
    await trio.lowlevel.checkpoint()


@dataclass
class LedgerStory:
    """Call it with a world. `for_s` is how long four nodes are tormented, and larger clusters shorter in
    proportion, down to a third. `told`, `heights` and `changes` (of members, by kind) say afterwards what
    happened, `node_s` for how many simulated seconds its `size` founders were watched, all together."""

    for_s: float
    build: BuildNode = build_ledger
    profile: Profile | None = None
    told: Told = field(default_factory=Told)
    heights: list[int] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
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
            cluster = Cluster(
                world,
                network,
                nursery,
                build_with_traitors(self.build, traitors, profile, world),
                size=profile.size,
                later=profile.newcomers,
                limits=QUICK_ROTATION if profile.newcomers else None,
                traitors=traitors,
            )
            watch = Watch(cluster)
            leavers = dice.sample(range(profile.size + profile.newcomers), profile.leavers)
            changes = Changes(cluster, leavers) if profile.newcomers else None
            stay = [node for node in cluster.honest() if node in cluster.validators]
            stay = [node for node in stay if node.seat.index not in leavers]
            clients = [
                Client(cluster, world.dice(f"client/{i}"), self.told, asks=stay, pause_s=profile.pause_s)
                for i in range(profile.clients)
            ]
            patient = someone_new(cluster, network) if profile.patient else None
            cluster.start()
            watch.look()
            for client in clients:
                nursery.start_soon(client.run)
            if patient is not None:
                nursery.start_soon(patient.run)
            nemesis = Nemesis(cluster, profile, changes)
            if changes is not None:
                changes.begin()  # one at least, whatever the adversary's dice say
            await nemesis.torment(self.for_s * max(USUAL_SIZE / profile.size, SHARE_MIN))
            for client in clients:
                client.stop()
            await Peace(cluster, watch, self.told, changes, patient).come()
            self.heights = [watch.head(node)[0] for node in cluster.members()]
            self.changes = dict(changes.made) if changes is not None else {}
            nursery.cancel_scope.cancel()
            cluster.stop()
