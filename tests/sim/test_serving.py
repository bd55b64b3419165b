"""Who is served, watched from outside: where a clinic could easily serve too much, and in any trouble."""

from dataclasses import dataclass

import pytest
import trio

from protocol import limits
from protocol.control import MyStop
from tests.clinic_world import plaintext
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.prober import Prober
from tests.sim.record_world import RECORD, add, outside, play, receive_code, share, whole
from tests.sim.seeds import fresh_seeds
from tests.sim.serve_story import ServeStory
from tests.sim.world import simulate

LARGE = plaintext(12 * limits.CHUNK_BYTES)


@dataclass(frozen=True)
class Scene:
    """A record shared with a clinic that holds no copy of it: who asks, and whom."""

    reader: SimNode
    holders: tuple[SimNode, ...]
    token: str
    grant: str
    prober: Prober


async def shared(cluster: Cluster, someone: Someone, content: bytes = RECORD) -> Scene:
    first = cluster.nodes[0]
    added = await add(first, await receive_code(someone, first), content)
    await trio.sleep(5)
    reader = outside(cluster, added.token)
    grant = await share(someone, added.token, reader)
    holders = tuple(node for node in cluster.nodes if node is not reader)
    return Scene(reader, holders, added.token, grant, Prober(cluster, reader, added.token))


def test_a_holder_that_is_cut_off_serves_until_its_ledger_is_stale_and_no_longer() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone)
        holder, *others = scene.holders
        near, far = (holder.identity, scene.reader.identity), [node.identity for node in others]
        network.cut_off(near, far)
        answers = []
        for _ in range(20):
            answers.append(await scene.prober.served(holder))
            await trio.sleep(5)
        assert answers[0]
        assert not answers[-1]
        assert sorted(answers, reverse=True) == answers, "what is stale does not become fresh again"
        network.set_cuts(())
        await trio.sleep(30)
        assert await scene.prober.served(holder)

    play(story)


def test_a_revocation_seen_at_sight_is_heeded_by_all_and_through_a_restart() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone)
        holder = scene.holders[0]
        assert await scene.prober.served(holder)
        # Streams alone get through, so nothing becomes final, and every clinic goes by sight.
        network.weather.loss = 1.0
        before = whole(holder).services.ledger.height
        await someone.my.stop(MyStop(id=scene.grant))
        holder.crash()
        await trio.sleep(0.5)
        holder.start()
        await trio.sleep(8)
        ledger = whole(holder).services
        assert ledger.ledger.height == before
        assert ledger.freshness().clock_is_good
        assert ledger.freshness().age_ms < cluster.genesis.limits.max_stale_default_ms
        assert [await scene.prober.served(node) for node in scene.holders] == [False] * 3
        network.heal()
        await trio.sleep(30)
        assert [await scene.prober.served(node) for node in scene.holders] == [False] * 3

    play(story)


def test_a_transfer_that_runs_ends_soon_after_its_grant() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone, LARGE)
        came: list[int | None] = []

        async def read() -> None:
            came.append(await scene.prober.ask(scene.holders[0], pause_s=3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(4)
            await someone.my.stop(MyStop(id=scene.grant))
        [count] = came
        assert count is not None
        assert 0 < count < len(LARGE) // limits.CHUNK_BYTES

    play(story)


def test_a_revocation_heard_of_is_kept_at_once_wherever_it_is_heard() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone)
        # She reaches one clinic, and the others have it from there, by gossip first of all.
        network.cut_off([someone.transport.identity], [node.identity for node in cluster.nodes[1:]])
        await someone.my.stop(MyStop(id=scene.grant))
        assert [await scene.prober.served(node) for node in scene.holders] == [False] * 3

    play(story)


def test_a_revocation_that_came_with_the_chain_alone_is_heeded() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone)
        holder = scene.holders[0]
        holder.crash()
        await someone.my.stop(MyStop(id=scene.grant))
        await trio.sleep(5)
        holder.start()
        await trio.sleep(30)
        assert whole(holder).services.freshness().clock_is_good
        assert not await scene.prober.served(holder)

    play(story)


def test_all_that_is_not_served_is_refused_alike() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        scene = await shared(cluster, someone)
        holder, thief = scene.holders[:2]
        assert not await Prober(cluster, scene.reader, scene.token, purpose="HRESCH").served(holder)
        assert not await Prober(cluster, scene.reader, scene.token, asker=thief).served(holder)
        assert not await scene.prober.served(holder, times=2), "a request was served twice"
        await someone.my.stop(MyStop(id=scene.grant))
        assert not await scene.prober.served(holder)

    play(story)


@pytest.mark.parametrize("seed", fresh_seeds(12))
def test_whatever_befalls_clinics_nothing_is_served_against_the_rules(seed: int) -> None:
    story = ServeStory(for_s=150)
    simulate(story, seed)
    assert story.served
    assert story.refused
