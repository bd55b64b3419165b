"""A quorum of traitors makes a second chain final: whoever is shown both believes neither, and stops."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.chain.halt import load_two_chains
from node.chain.services import LedgerServices
from node.control.halted import light_halt_warning
from node.store import layout
from protocol.blocks import Header
from protocol.codec import decode, encode
from protocol.limits import KIB, NetworkLimits
from protocol.messages.light import HeadersRequest
from protocol.past_end import PastEnd
from protocol.proofs import Route
from protocol.two_chains import TwoChains, verify_two_chains
from tests.sim.epoch_world import Changing
from tests.sim.forging import Forger, other_past
from tests.sim.light_world import Someone, someone_new
from tests.sim.nodes import SimNode
from tests.sim.world import World, simulate
from tests.unit.test_past_end import verify_past_end

Story = Callable[[Changing, trio.Nursery], Awaitable[None]]
PATIENCE_S = 120.0
HEARTBEAT_S = NetworkLimits().heartbeat_ms / 1000


def play(story: Story) -> None:
    """`story` with four clinics that have made a few blocks final."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, later=0)
            changing.cluster.start()
            await changing.settle(changing.nodes, height=3)
            await story(changing, nursery)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)


def header(node: SimNode, height: int) -> Header:
    """A final header on the disk of a node."""
    raw = node.disk.ledger.get(layout.header(height))
    assert raw is not None
    return decode(Header, raw, limit=KIB)


def proof(node: SimNode) -> TwoChains | None:
    """What is on the disk of a node."""
    return load_two_chains(node.disk.ledger)


def services(node: SimNode) -> LedgerServices:
    assert node.life is not None
    assert isinstance(node.life.service, LedgerServices)
    return node.life.service


async def forge(changing: Changing, *, light: bool = True, blocks: bool = True) -> Forger:
    """The last clinic is replaced by one that has everybody's keys, and another newest block."""
    *honest, replaced = changing.nodes
    await changing.settle(changing.nodes)
    keys = [node.seat.vote_key for node in changing.validators]
    replaced.crash()
    forger = Forger(changing, replaced, keys, changing.head(honest[0]), count=40)
    if light:
        forger.serve_light()
    if blocks:
        forger.serve_blocks()
    return forger


async def wait_stopped(nodes: list[SimNode]) -> None:
    """Returns once all of them have stopped, each with a proof that proves it."""
    with trio.fail_after(PATIENCE_S):
        while not all(proof(node) for node in nodes):  # noqa: ASYNC110
            await trio.sleep(0.5)
    for node in nodes:
        found = proof(node)
        assert found is not None
        verify_two_chains(found)


@pytest.mark.parametrize("way", ["gossip", "blocks", "contact"])
def test_a_second_chain_stops_every_clinic_that_is_shown_it(way: str) -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *honest, _ = changing.nodes
        forger = await forge(changing, light=way == "contact", blocks=way == "blocks")
        await nursery.start(forger.transport.run)
        with trio.fail_after(PATIENCE_S):
            while not all(proof(node) for node in honest):
                if way == "gossip":
                    await forger.publish()
                await trio.sleep(1)
        await wait_stopped(honest)
        heads = [changing.head(node) for node in honest]
        for node in honest:
            assert not services(node).freshness().clock_is_good, "it still serves"
        await trio.sleep(60)
        assert [changing.head(node) for node in honest] == heads, "it still makes blocks final"

    play(story)


def test_a_certificate_for_a_block_that_nobody_knows_has_its_sender_looked_at() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *honest, _ = changing.nodes
        forger = await forge(changing, blocks=False)
        forger.is_hiding = True
        await nursery.start(forger.transport.run)
        await trio.sleep(HEARTBEAT_S + 1)
        assert forger.told
        forger.is_hiding = False
        with trio.fail_after(HEARTBEAT_S / 2):
            while not all(proof(node) for node in honest):
                forger.relay([node.identity for node in honest])
                await trio.sleep(1)

    play(story)


def test_a_clinic_that_stopped_stays_so_after_a_restart_and_serves_nobody() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *honest, _ = changing.nodes
        forger = await forge(changing)
        await nursery.start(forger.transport.run)
        await wait_stopped(honest)
        found = [proof(node) for node in honest]
        for node in honest:
            node.crash()
            node.start()
        await trio.sleep(60)
        assert [proof(node) for node in honest] == found
        someone = someone_new(changing.cluster, changing.network)
        await nursery.start(someone.run)
        await trio.sleep(30)
        assert all(node.identity in someone.transport.connected() for node in honest)
        for node in honest:
            assert services(node).halt.is_on
            assert not services(node).consensus.machine.may_vote
            assert await refuses(someone, node), "it answers a patient"

    play(story)


async def refuses(someone: Someone, node: SimNode) -> bool:
    return await someone.clinics.call(node.identity, "light", encode(HeadersRequest(1, 0))) is None


def test_old_keys_that_make_another_past_stop_nobody_who_holds_a_later_block() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        old = [node.seat.vote_key for node in changing.validators]
        for node in changing.nodes:
            height = await changing.rotate(node)
        await changing.settle(changing.nodes, height=height + 1)
        someone = someone_new(changing.cluster, changing.network)
        await nursery.start(someone.run)
        await someone.chain.wait_height(height + 1)
        *honest, replaced = changing.nodes
        replaced.crash()
        forger = Forger(changing, replaced, old, header(honest[0], 2), count=2 * height)
        forger.serve_light()
        forger.serve_blocks()
        await nursery.start(forger.transport.run)
        peers = [node.identity for node in honest]
        for _ in range(30):
            await forger.publish()
            forger.relay(peers)
            await trio.sleep(1)
        await changing.settle(honest, height=changing.height(honest[0]) + 2)
        assert forger.told, "nobody asked it"
        assert not any(proof(node) for node in honest)
        assert someone.chain.found is None
        assert someone.chain.is_fresh()

    play(story)


def test_a_clinic_that_was_away_cannot_tell_old_keys_from_new_ones_and_stops() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *honest, replaced = changing.nodes
        away = honest[0]
        old = [node.seat.vote_key for node in changing.validators]
        instead = changing.head(away)
        away.crash()
        for node in changing.nodes[1:]:
            height = await changing.rotate(node)
        await changing.settle(changing.nodes[1:], height=height + 1)
        for node in changing.nodes[1:]:
            node.crash()
        forger = Forger(changing, replaced, old, instead)
        forger.serve_light()
        await nursery.start(forger.transport.run)
        away.start()
        await wait_stopped([away])

    play(story)


def test_a_light_client_that_is_shown_two_chains_believes_neither_any_more() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await someone.chain.wait_height(changing.height(changing.nodes[0]))
            forger = await forge(changing)
            for node in changing.nodes:
                node.crash()
            await nursery.start(forger.transport.run)
            with trio.fail_after(PATIENCE_S):
                while someone.chain.found is None:  # noqa: ASYNC110
                    await trio.sleep(0.5)
            running.cancel_scope.cancel()
        assert isinstance(someone.chain.found, TwoChains)
        verify_two_chains(someone.chain.found)
        again = someone_new(changing.cluster, changing.network, store=someone.store)
        assert again.chain.found == someone.chain.found
        assert not again.chain.is_fresh()

    play(story)


def led_astray(changing: Changing, node: SimNode, route: Route) -> Forger:
    """`node` is replaced by one that shows `route` and nothing else."""
    node.crash()
    keys = [one.seat.vote_key for one in changing.nodes]
    forger = Forger(changing, node, keys, changing.head(changing.nodes[0]))
    forger.route, forger.is_hiding = route, True
    forger.serve_light()
    return forger


async def found_by(someone: Someone) -> PastEnd:
    """What stopped the client, for good and after a restart."""
    async with trio.open_nursery() as running:
        await running.start(someone.run)
        with trio.fail_after(PATIENCE_S):
            while someone.chain.found is None:  # noqa: ASYNC110
                await trio.sleep(0.5)
        running.cancel_scope.cancel()
    found = someone.chain.found
    assert isinstance(found, PastEnd)
    verify_past_end(found)
    assert "before height" in light_halt_warning(found)
    return found


def test_a_light_client_that_is_shown_two_ways_over_the_ends_of_epochs_takes_neither() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *honest, replaced = changing.nodes
        route = other_past(changing, replaced, [node.seat.vote_key for node in changing.validators])
        for node in honest:
            height = await changing.rotate(node)
        await changing.settle(changing.nodes, height=height + 1)
        forger = led_astray(changing, replaced, route)
        await nursery.start(forger.transport.run)
        await trio.sleep(NetworkLimits().max_stale_default_ms / 1000)
        someone = someone_new(changing.cluster, changing.network)
        found = await found_by(someone)
        assert (found.epoch, found.height, someone.chain.height) == (0, 1, 0)
        assert len(found.culprits) >= 3
        again = someone_new(changing.cluster, changing.network, store=someone.store)
        assert again.chain.found == found
        assert not again.chain.is_fresh()

    play(story)


def test_a_light_client_is_not_led_from_its_own_block_to_an_epoch_that_ended_before_it() -> None:
    async def story(changing: Changing, nursery: trio.Nursery) -> None:
        *_, replaced = changing.nodes
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await someone.chain.wait_height(3)
            running.cancel_scope.cancel()
        known = someone.chain.height
        await trio.sleep(NetworkLimits().max_stale_default_ms / 1000 + HEARTBEAT_S)
        keys = [node.seat.vote_key for node in changing.validators]
        forger = led_astray(changing, replaced, other_past(changing, replaced, keys, height=known + 5))
        for node in changing.nodes:
            node.crash()
        await nursery.start(forger.transport.run)
        again = someone_new(changing.cluster, changing.network, store=someone.store)
        found = await found_by(again)
        assert (found.epoch, found.height, again.chain.height) == (0, 1, known)

    play(story)
