"""Disks that fill up and have room again: nothing accepted is lost, and nobody has to restart anything."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.sim.clients import Client, Told
from tests.sim.invariants import check_acknowledged, check_converged
from tests.sim.ledger_story import build_ledger
from tests.sim.nemesis import Nemesis
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.peace import PEACE_S
from tests.sim.profile import Profile
from tests.sim.seeds import seeds_to_run
from tests.sim.watch import Watch
from tests.sim.world import World, simulate

FULL_S = 30.0
CALM = Profile(size=4, all_down=False, loss_max=0.2, swizzle=True, resets=False, disk_fails=False)
Act = Callable[[Cluster, Told, Watch], Awaitable[None]]


def set_full(nodes: list[SimNode], is_full: bool) -> None:
    for node in nodes:
        for store in node.disk.stores:
            store.is_full = is_full


def play(act: Act, seed: int) -> Told:
    """Four clinics under load while `act` goes on; in the end all of them hold all that was told."""
    told = Told()

    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, SimNetwork(world), nursery, build_ledger, size=4)
            watch = Watch(cluster)
            clients = [Client(cluster, world.dice(f"client/{number}"), told) for number in range(3)]
            cluster.start()
            watch.look()
            for client in clients:
                nursery.start_soon(client.run)
            await trio.sleep(5)
            await act(cluster, told, watch)
            for client in clients:
                client.stop()
            with trio.move_on_after(PEACE_S):
                while told.waiting or len({watch.head(node) for node in cluster.nodes}) > 1:
                    await trio.sleep(0.5)
                    watch.look_once()
            assert not told.waiting
            check_converged({node.name: watch.head(node) for node in cluster.nodes})
            check_acknowledged(told.final, {node.name: watch.chain(node) for node in cluster.nodes})
            nursery.cancel_scope.cancel()
            cluster.stop()

    simulate(story, seed)
    return told


@pytest.mark.parametrize("seed", seeds_to_run(4))
def test_a_clinic_whose_disk_fills_up_stays_up_and_goes_on_where_it_was(seed: int) -> None:
    async def act(cluster: Cluster, told: Told, watch: Watch) -> None:
        victim = cluster.nodes[seed % 4]
        set_full([victim], True)
        before = len(told.final)
        await trio.sleep(FULL_S)
        assert victim.lives == 1
        assert victim.is_up
        assert len(told.final) > before, "the others did not go on"
        set_full([victim], False)
        await trio.sleep(5)

    play(act, seed)


@pytest.mark.parametrize("seed", seeds_to_run(4))
def test_where_all_disks_are_full_nothing_is_final_until_there_is_room_again(seed: int) -> None:
    async def act(cluster: Cluster, told: Told, watch: Watch) -> None:
        set_full(cluster.nodes, True)
        await trio.sleep(2)
        # What was final before may be told to a client much later: the chains themselves stand still.
        before = [watch.head(node) for node in cluster.nodes]
        await trio.sleep(FULL_S)
        assert [watch.head(node) for node in cluster.nodes] == before
        known = len(told.final)
        set_full(cluster.nodes, False)
        await trio.sleep(15)
        assert len(told.final) > known
        assert [node.lives for node in cluster.nodes] == [1, 1, 1, 1]

    play(act, seed)


@pytest.mark.parametrize("seed", seeds_to_run(6))
def test_disks_fill_up_while_clinics_crash_and_the_network_breaks(seed: int) -> None:
    async def act(cluster: Cluster, told: Told, watch: Watch) -> None:
        dice = cluster.world.dice("full")
        nemesis = Nemesis(cluster, CALM)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nemesis.torment, 40)
            for _ in range(8):
                victims = dice.sample(cluster.nodes, dice.randint(1, 4))
                set_full(victims, True)
                await trio.sleep(dice.uniform(0.1, 4))
                set_full(cluster.nodes, False)
                await trio.sleep(dice.uniform(0.1, 2))

    play(act, seed)
