"""A clinic's disks put back from a copy, or its image running twice: noticed before it does harm."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
import trio

from node.chain.services import LedgerServices
from node.store import layout
from node.store.memory import MemoryVoteFile
from tests.sim.clients import Client, Told
from tests.sim.disk import Disk
from tests.sim.invariants import check_acknowledged, check_converged
from tests.sim.ledger_story import build_ledger
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.peace import PEACE_S
from tests.sim.profile import Profile
from tests.sim.seeds import seeds_to_run
from tests.sim.watch import Watch
from tests.sim.world import Violation, World, simulate

SIZE = 4
CLIENTS = 3
WEATHER = Profile(size=SIZE, all_down=False, loss_max=0.2, swizzle=True, resets=False, disk_fails=False)
Act = Callable[["Scene"], Awaitable[None]]


@dataclass
class Scene:
    """Four clinics under load. `victim` is the one whose disks are meddled with; nobody asks it."""

    world: World
    cluster: Cluster
    watch: Watch
    victim: SimNode
    told: Told = field(default_factory=Told)

    def put_back(self, disk: Disk) -> None:
        """The victim goes down and comes back with other disks."""
        self.victim.crash()
        self.victim.disk = disk
        self.watch.chains.put_back(self.victim.name)
        self.victim.start()

    async def until_final(self, count: int) -> None:
        """Until `count` more transactions are final."""
        wanted = len(self.told.final) + count
        while len(self.told.final) < wanted:  # noqa: ASYNC110
            await trio.sleep(0.1)

    async def until_ready(self, node: SimNode) -> None:
        while node.life is None or node.life.service is None:  # noqa: ASYNC110
            await trio.sleep(0.1)


def services(node: SimNode) -> LedgerServices:
    assert node.life is not None
    assert isinstance(node.life.service, LedgerServices)
    return node.life.service


def play(act: Act, seed: int, *, troubled: bool) -> Scene:
    """Plays `act` under load, in bad weather if `troubled`, and then checks that all is well."""
    scenes: list[Scene] = []

    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, SimNetwork(world), nursery, build_ledger, size=SIZE)
            scene = Scene(world, cluster, Watch(cluster), cluster.nodes[world.seed % SIZE])
            scenes.append(scene)
            others = [node for node in cluster.nodes if node is not scene.victim]
            clients = [
                Client(cluster, world.dice(f"client/{number}"), scene.told, asks=others)
                for number in range(CLIENTS)
            ]
            cluster.start()
            scene.watch.look()
            for client in clients:
                nursery.start_soon(client.run)
            if troubled:
                nemesis = Nemesis(cluster, WEATHER)
                nursery.start_soon(nemesis.torment, 40)
            with trio.fail_after(300):
                await act(scene)
            if troubled:
                nemesis.heal()
            for client in clients:
                client.stop()
            await check_peace(scene)
            nursery.cancel_scope.cancel()
            cluster.stop()

    simulate(story, seed)
    return scenes[0]


async def check_peace(scene: Scene) -> None:
    """All nodes come to one head, and hold all that was told."""
    nodes, told = scene.cluster.nodes, scene.told
    scene.watch.look_once()
    with trio.move_on_after(PEACE_S):
        while told.waiting or len({scene.watch.head(node) for node in nodes}) > 1:
            await trio.sleep(0.5)
            scene.watch.look_once()
    if told.waiting:
        raise Violation("L9", f"accepted and not final: {len(told.waiting)}")
    check_converged({node.name: scene.watch.head(node) for node in nodes})
    chains = {node.name: scene.watch.chain(node) for node in nodes}
    check_acknowledged(told.final, chains)
    scene.watch.certificates.check_chain(next(iter(chains.values())))


@pytest.mark.parametrize("seed", seeds_to_run(12))
def test_a_clinic_put_back_from_an_old_image_never_votes_twice_in_a_view(seed: int) -> None:
    async def act(scene: Scene) -> None:
        dice = scene.world.dice("images")
        for _ in range(4):
            await scene.until_final(dice.randint(1, 8))
            image = scene.victim.disk.copy()
            # Sometimes nothing is final in between: then only others' memory can tell.
            if dice.random() < 0.7:
                await scene.until_final(dice.randint(1, 8))
            else:
                await trio.sleep(dice.random() * 2)
            scene.put_back(image)

    play(act, seed, troubled=True)


def test_a_clinic_put_back_from_an_old_image_notices_it_and_stops_voting_for_good() -> None:
    async def act(scene: Scene) -> None:
        await scene.until_final(3)
        image = scene.victim.disk.copy()
        await scene.until_final(20)
        scene.put_back(image)
        await trio.sleep(5)
        assert "copy" in services(scene.victim).journal.loss
        assert services(scene.victim).consensus.is_learner
        scene.victim.crash()
        scene.victim.start()
        await trio.sleep(5)
        assert "copy" in services(scene.victim).journal.loss
        await scene.until_final(5)

    play(act, 1, troubled=False)


@pytest.mark.parametrize("seed", seeds_to_run(8))
def test_an_image_that_runs_twice_is_noticed_and_the_chain_stays_one(seed: int) -> None:
    async def act(scene: Scene) -> None:
        dice = scene.world.dice("clones")
        victim, network = scene.victim, scene.cluster.network
        await scene.until_final(5)
        scene.watch.votes.doubled.add(victim.seat.vote_key.public)
        twin = SimNode(scene.cluster, replace(victim.seat, name=f"{victim.name}-twin"))
        twin.disk = victim.disk.copy()
        twin.start()
        # The network reaches now one, now the other; both run all the time.
        for _ in range(30):
            for node in (victim, twin):
                await trio.sleep(dice.uniform(0.5, 3))
                if node.life is not None:
                    network.attach(node.life.transport)
            if services(victim).journal.is_lost or services(twin).journal.is_lost:
                break
        lost = [node for node in (victim, twin) if services(node).journal.is_lost]
        assert lost, "neither noticed the other"
        twin.crash()
        if victim.life is not None:
            network.attach(victim.life.transport)

    play(act, seed, troubled=False)


@pytest.mark.parametrize("seed", seeds_to_run(4))
def test_a_clinic_that_lost_its_databases_learns_before_it_votes_on(seed: int) -> None:
    async def act(scene: Scene) -> None:
        await scene.until_final(10)
        scene.put_back(Disk(votes=scene.victim.disk.votes.copy()))
        known = min(scene.watch.head(node)[0] for node in scene.cluster.nodes if node is not scene.victim)
        record = scene.victim.disk.votes.load()
        await scene.until_ready(scene.victim)
        own = services(scene.victim)
        while not own.consensus.machine.may_vote:  # noqa: ASYNC110
            await trio.sleep(0.001)
        assert own.ledger.height >= known
        await scene.until_final(10)
        assert not own.consensus.is_learner
        assert scene.victim.disk.votes.load() != record

    play(act, seed, troubled=False)


def read_short(disk: Disk, dice: random.Random) -> None:
    """Of what a validator's votes rest on the store gives only the beginning, and no error: so a LevelDB
    iterator may end after bit rot. Sometimes the copy of the newest record is gone as well."""
    for prefix in (layout.CANDIDATE, layout.CANDIDATE_CERTIFICATE):
        keys = [key for key, _ in disk.ledger.iterate(prefix)]
        disk.ledger.write((), keys[dice.randint(0, len(keys)) :])
    if dice.random() < 0.5:
        disk.ledger.write((), [layout.signed()])


@pytest.mark.parametrize("seed", seeds_to_run(6))
def test_a_clinic_whose_store_reads_short_of_its_votes_signs_none_twice(seed: int) -> None:
    async def act(scene: Scene) -> None:
        dice = scene.world.dice("short")
        for _ in range(8):
            await scene.until_final(dice.randint(1, 4))
            await trio.sleep(dice.random() * 2)
            scene.victim.crash()
            read_short(scene.victim.disk, dice)
            scene.victim.start()
        await scene.until_ready(scene.victim)
        # The vote file alone says what was signed, so nothing is lost with the rest.
        assert not services(scene.victim).journal.is_lost

    play(act, seed, troubled=True)


@pytest.mark.parametrize("votes", [MemoryVoteFile(), MemoryVoteFile(lost=True)], ids=["emptied", "missing"])
def test_a_clinic_that_lost_its_vote_file_only_learns(votes: MemoryVoteFile) -> None:
    async def act(scene: Scene) -> None:
        await scene.until_final(10)
        disk = scene.victim.disk.copy()
        scene.put_back(replace(disk, votes=votes.copy() if votes._record else votes))
        await scene.until_ready(scene.victim)
        await scene.until_final(10)
        assert services(scene.victim).journal.is_lost

    play(act, 1, troubled=False)


@pytest.mark.parametrize(
    ("claims", "may_vote"), [((), True), ((9,), True), ((9, 0, 0), True), ((9, 1, 0), False)]
)
def test_a_start_behind_what_an_honest_member_claims_votes_only_when_it_is_there(
    claims: tuple[int, ...], may_vote: bool
) -> None:
    async def act(scene: Scene) -> None:
        await scene.until_ready(scene.victim)
        own = services(scene.victim)
        assert own.ledger.height == 0
        assert not own.consensus.machine.may_vote
        own.clock_check.heights = {
            node.identity: claim for node, claim in zip(scene.cluster.nodes, claims, strict=False)
        }
        own.clock_check._members_ms = own.clock_check._ahead_ms()
        own._judge_clock()
        assert own.consensus.machine.may_vote is may_vote
        await scene.until_final(3)
        assert own.consensus.machine.may_vote

    play(act, 1, troubled=False)
