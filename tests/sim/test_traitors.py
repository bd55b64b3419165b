"""One hostile validator of four: the others stay on one chain, go on, and can say who it was."""

import pytest
import trio

from node.chain.services import LedgerServices
from tests.sim.clients import Client, Told
from tests.sim.ledger_story import LedgerStory, build_ledger, build_with_traitors
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.peace import running
from tests.sim.profile import EVERY_TRICK, Profile
from tests.sim.seeds import fresh_seeds
from tests.sim.watch import Watch
from tests.sim.world import World, simulate


def betrayed(trick: str, size: int = 4) -> Profile:
    traitors = (size - 1) // 3
    return Profile(
        size,
        all_down=False,
        loss_max=0.05,
        swizzle=False,
        resets=False,
        disk_fails=False,
        traitors=traitors,
        tricks=(trick,),
    )


@pytest.mark.parametrize("trick", EVERY_TRICK)
@pytest.mark.parametrize("seed", fresh_seeds(1))
def test_no_trick_of_one_validator_forks_or_stops_four(trick: str, seed: int) -> None:
    story = LedgerStory(for_s=30, profile=betrayed(trick))
    simulate(story, seed)
    assert len(story.told.final) > 2


@pytest.mark.parametrize("trick", ["two_blocks", "vote_for_all"])
def test_evidence_names_the_validator_that_contradicted_itself(trick: str) -> None:
    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            build = build_with_traitors(build_ledger, [2], betrayed(trick), world)
            cluster = Cluster(world, SimNetwork(world), nursery, build, size=4, traitors=[2])
            client = Client(cluster, world.dice("client"), Told())
            Watch(cluster).look()
            cluster.start()
            nursery.start_soon(client.run)
            await trio.sleep(30)
            convicted = [evidence_of(services) for services in running(cluster)]
            assert set().union(*convicted) == {cluster.nodes[2].seat.vote_key.public}
            if trick == "vote_for_all":
                assert all(convicted), "a validator that tells everyone everything is known to all"
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(story, 1)


def evidence_of(services: LedgerServices) -> set[bytes]:
    return {item.vote_key for item in services.consensus.machine.tally.evidence}
