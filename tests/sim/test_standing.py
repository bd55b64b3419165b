"""A clinic whose membership ended while it was away finds that out, though no member talks to it."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.chain.exclusion import Ended
from node.control.halted import require_running
from node.control.status import Self, clinic_status
from protocol import limits
from protocol.control import RecordGet
from protocol.errors import Code, UserError
from protocol.state import Role
from tests.sim.epoch_world import Changing
from tests.sim.nodes import SimNode
from tests.sim.record_world import build_clinic, whole
from tests.sim.world import World, simulate

Story = Callable[[Changing], Awaitable[None]]
PATIENCE_S = 300.0


def play(story: Story, *, later: int = 0) -> None:
    """`story` with four founders that have made a few blocks final."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, later=later, build=build_clinic)
            changing.cluster.start()
            await changing.settle(changing.validators, height=1)
            await story(changing)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)


def has_stopped(node: SimNode) -> bool:
    return node.life is not None and node.life.service is not None and whole(node).services.has_stopped


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.5)


def warning_of(node: SimNode) -> str:
    """The one warning of a clinic that has stopped for its membership."""
    own = Self("clinic", node.name, node.identity, 0, limits.GIB, True, node.clock)
    status = clinic_status(own, whole(node))
    assert (status.halted, status.fresh) == (Code.MEMBERSHIP, False)
    [warning] = status.warnings
    return warning


@pytest.mark.parametrize(("change", "word"), [("remove", "removed"), ("suspend", "suspended")])
def test_a_clinic_that_was_shut_out_while_it_was_away_stops_and_says_so(change: str, word: str) -> None:
    async def story(changing: Changing) -> None:
        away, *others = changing.nodes
        away.crash()
        height = await (changing.remove(away) if change == "remove" else changing.suspend(away))
        await changing.settle(others, height=height)
        # Later epochs are on the way too.
        await changing.rotate(others[0])
        await trio.sleep(limits.CATCH_UP_AVOID_MS / 1000)
        away.start()
        await until(lambda: has_stopped(away))
        known = changing.height(away)
        assert known < height
        for _ in range(2):
            services = whole(away).services
            assert not services.freshness().clock_is_good
            assert not services.consensus.machine.may_vote
            warning = warning_of(away)
            assert f"was {word} by the members" in warning
            assert f"ends at height {known}" in warning
            assert "chartmesh network join" in warning
            with pytest.raises(UserError) as refused:
                require_running(whole(away), RecordGet(id="00", purpose="TREAT", user="dr b"))
            assert refused.value.code is Code.MEMBERSHIP
            away.crash()
            away.start()
            await trio.sleep(1)
            assert has_stopped(away), "it forgot"
        changing.check()

    play(story)


def test_what_a_clinic_finds_out_stops_it_at_once() -> None:
    async def story(changing: Changing) -> None:
        node, *others = changing.nodes
        await until(lambda: whole(node).services.consensus.machine.may_vote)
        height = changing.height(node)
        whole(node).services.exclusion.keep(Ended(Role.REMOVED, height + 9, node.clock.wall_ms()))
        assert not whole(node).services.consensus.machine.may_vote
        await changing.settle(others, height=height + 3)
        assert changing.height(node) <= height + 1, "it still learns what becomes final"

    play(story)


def test_a_follower_that_was_removed_within_an_epoch_finds_it_out_too() -> None:
    async def story(changing: Changing) -> None:
        *founders, follower = changing.nodes
        height = await changing.admit(follower)
        await changing.settle(changing.nodes, height=height)
        follower.crash()
        await changing.remove(follower)
        await trio.sleep(limits.CATCH_UP_AVOID_MS / 1000)
        follower.start()
        await until(lambda: has_stopped(follower))
        assert "removed" in warning_of(follower)
        assert whole(founders[0]).services.membership.committee.epoch == 0

    play(story, later=1)


def test_a_clinic_that_is_cut_off_is_a_member_still_and_goes_on() -> None:
    async def story(changing: Changing) -> None:
        n0, n1, n2, n3 = changing.nodes
        own, others = n0.identity, [node.identity for node in (n1, n2, n3)]
        changing.network.cut_off([own], others)
        await until(lambda: n0.visits == 1)
        await trio.sleep(limits.LOST_ASK_S)
        assert not has_stopped(n0)
        changing.network.heal()
        await changing.settle(changing.nodes, height=changing.height(n1) + 1)
        assert not any(map(has_stopped, changing.nodes))

    play(story)
