"""Members come and go on the simulated network: no fork, no stall, and everyone can follow."""

import os
from collections.abc import Awaitable, Callable

import pytest
import trio

from node.rpc import Caller
from protocol.codec import encode
from protocol.errors import ChartmeshError, TransportError
from protocol.limits import KIB
from protocol.messages.blocks import NONCE_BYTES, TimeRequest
from tests.sim.chains import final_chain
from tests.sim.clients import Client, Told
from tests.sim.epoch_world import Changing
from tests.sim.invariants import check_acknowledged
from tests.sim.ledger_story import build_ledger
from tests.sim.light_world import someone_new
from tests.sim.nemesis import Nemesis
from tests.sim.nodes import BuildNode, SimNode
from tests.sim.profile import Profile
from tests.sim.record_world import RECORD, add, build_clinic, get, outside, receive_code, share
from tests.sim.seeds import fresh_seeds
from tests.sim.world import World, simulate

SEEDS = fresh_seeds(int(os.environ.get("CHARTMESH_SIM_SEEDS", "6")))
Story = Callable[[Changing], Awaitable[None]]


def play(
    story: Story, *, founders: int = 4, later: int = 2, seed: int = 1, build: BuildNode = build_ledger
) -> None:
    """`story` in a world of its own."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, founders=founders, later=later, build=build)
            changing.cluster.start()
            await story(changing)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, seed)


def seats(changing: Changing) -> tuple[bytes, ...]:
    return tuple(node.seat.vote_key.public for node in changing.validators)


@pytest.mark.parametrize("seed", SEEDS)
def test_members_come_and_go_under_load_and_faults_without_a_fork_or_a_stall(seed: int) -> None:
    async def story(changing: Changing) -> None:
        told, [n0, n1, n2, n3, n4, n5] = Told(), changing.nodes
        nemesis = Nemesis(changing.cluster, Profile.of(changing.cluster.world.dice("profile")))
        dice = changing.cluster.world.dice("changes")
        client = Client(changing.cluster, dice, told, asks=[n0, n3])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nemesis.torment, 10**6)
            nursery.start_soon(client.run)
            for change, node in (
                (changing.admit, n4),
                (changing.promote, n4),
                (changing.rotate, n2),
                (changing.remove, n1),
                (changing.admit, n5),
                (changing.rotate, n4),
                (changing.promote, n5),
                (changing.suspend, n2),
            ):
                await trio.sleep(dice.uniform(0, 10))
                await change(node)
            nemesis.heal()
            client.stop()
            nursery.cancel_scope.cancel()
        nemesis.heal()
        await changing.settle(changing.validators, height=max(*changing.enacted.values()))
        committee = changing.check()
        assert (committee.epoch, committee.validators) == (6, seats(changing))
        assert told.final, "nothing was minted meanwhile"
        chains = {node.name: final_chain(node.disk) for node in changing.validators}
        check_acknowledged(told.final | changing.enacted, chains)

    play(story, seed=seed)


def test_a_node_that_was_away_across_several_epochs_catches_up_and_votes_again() -> None:
    async def story(changing: Changing) -> None:
        n0, n1, n2, away, n4, n5 = changing.nodes
        await trio.sleep(5)
        away.crash()
        await changing.admit(n4)
        await changing.promote(n4)
        await changing.rotate(n1)
        await changing.admit(n5)
        height = await changing.promote(n5)
        away.start()
        await changing.settle(changing.validators, height=height)
        # With five of six needed, nothing would become final without its vote.
        n4.crash()
        await changing.settle([n0, n1, n2, away, n5], height=changing.height(n0) + 2)
        assert changing.check().validators == seats(changing)

    play(story)


def test_a_follower_follows_and_has_no_vote() -> None:
    async def story(changing: Changing) -> None:
        n4 = changing.nodes[4]
        height = await changing.admit(n4)
        await changing.settle([*changing.validators, n4], height=height)
        assert (changing.check().epoch, changing.check().validators) == (0, seats(changing))

    play(story, later=1)


@pytest.mark.parametrize("founders", [1, 2, 3])
def test_a_small_network_works_and_grows(founders: int) -> None:
    async def story(changing: Changing) -> None:
        for node in changing.nodes[founders:]:
            await changing.admit(node)
            await changing.promote(node)
        await changing.settle(changing.nodes)
        assert changing.check().validators == seats(changing)

    play(story, founders=founders, later=4 - founders)


def test_a_network_shrinks_to_one_and_goes_on() -> None:
    async def story(changing: Changing) -> None:
        n0, *others = changing.nodes
        for node in others:
            await changing.remove(node)
        await changing.settle([n0], height=changing.height(n0) + 2)
        assert changing.check().validators == seats(changing) == (n0.seat.vote_key.public,)

    play(story, founders=3, later=0)


def test_a_removed_clinic_is_no_peer_any_more() -> None:
    async def story(changing: Changing) -> None:
        removed, others = changing.nodes[1], [changing.nodes[index] for index in (0, 2, 3)]
        height = await changing.remove(removed)
        await changing.settle(others, height=height)
        for node in others:
            assert node.life is not None
            assert not node.life.transport.admits(removed.identity)
            with pytest.raises(TransportError):
                await ask_for_time(removed, node)
        await changing.settle(others, height=height + 2)
        assert changing.height(removed) <= height, "it still learns what becomes final"

    play(story, later=0)


def test_a_light_client_with_only_the_genesis_file_follows_the_committees() -> None:
    async def story(changing: Changing) -> None:
        n0, n1, _, _, n4, _ = changing.nodes
        await changing.admit(n4)
        await changing.promote(n4)
        await changing.rotate(n0)
        height = await changing.remove(n1)
        await changing.settle(changing.validators, height=height)
        async with trio.open_nursery() as nursery:
            someone = someone_new(changing.cluster, changing.network)
            await nursery.start(someone.run)
            with trio.fail_after(30):
                await someone.chain.wait_height(height + 1)
            assert someone.chain.committee == changing.check()
            assert n1.identity not in someone.clinics.reachable(), "who was removed is asked"
            nursery.cancel_scope.cancel()
        again = someone_new(changing.cluster, changing.network, store=someone.store)
        assert again.chain.committee == someone.chain.committee

    play(story)


@pytest.mark.parametrize("change", ["remove", "suspend"])
def test_a_clinic_that_is_removed_or_suspended_reads_nothing_any_more(change: str) -> None:
    async def story(changing: Changing) -> None:
        first = changing.nodes[0]
        async with trio.open_nursery() as nursery:
            someone = someone_new(changing.cluster, changing.network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            added = await add(first, await receive_code(someone, first), RECORD)
            await trio.sleep(5)
            reader = outside(changing.cluster, added.token)
            await share(someone, added.token, reader)
            assert (await get(reader, added.token))[1] == RECORD
            end = changing.remove if change == "remove" else changing.suspend
            height = await end(reader)
            await changing.settle(changing.validators, height=height)
            # Its grant lives on, and so do the fetches of those who stay.
            with pytest.raises(ChartmeshError):
                await get(reader, added.token)
            stays = next(node for node in changing.validators if node is not first)
            await share(someone, added.token, stays)
            assert (await get(stays, added.token))[1] == RECORD
            nursery.cancel_scope.cancel()

    play(story, later=0, build=build_clinic)


async def ask_for_time(asker: SimNode, asked: SimNode) -> None:
    """What only members are answered."""
    assert asker.life is not None
    caller = Caller(asker.life.transport, "blocks", reply_limit=KIB)
    await caller.call(asked.identity, encode(TimeRequest(bytes(NONCE_BYTES))))
