"""A light client with an old genesis file: it meets who came since, and leaves who went."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

import trio

from node.chain.gateway import Gateway
from node.config import Clinic
from node.control.status import Self, light_status
from node.dialling import Dialling
from protocol import limits
from protocol.messages.light import RollReply
from tests.sim.epoch_world import Changing
from tests.sim.ledger_story import build_ledger
from tests.sim.light_world import LedgerClinic, Someone, someone_new
from tests.sim.nodes import BuildNode, SimNode
from tests.sim.world import World, simulate

Story = Callable[[Changing], Awaitable[None]]
PATIENCE_S = limits.ROLL_S + 60


def play(story: Story, *, build: BuildNode = build_ledger) -> None:
    """`story` with four founders and two clinics that may come later."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, build=build)
            changing.cluster.start()
            await changing.settle(changing.validators, height=1)
            await story(changing)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)


async def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.5)


def meets(someone: Someone, node: SimNode) -> bool:
    return node.identity in someone.clinics.reachable()


def cut_off(changing: Changing, someone: Someone, nodes: list[SimNode]) -> None:
    """The client reaches none of `nodes`."""
    changing.network.cut_off([someone.transport.identity], [node.identity for node in nodes])


def test_it_meets_who_came_since_and_leaves_who_went_also_after_a_restart() -> None:
    async def story(changing: Changing) -> None:
        n0, n1, n2, n3, n4, _ = changing.nodes
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(lambda: all(meets(someone, node) for node in (n0, n1, n2, n3)))
            await changing.admit(n4)
            await until(lambda: meets(someone, n4))
            await changing.remove(n1)
            await until(lambda: n1.identity not in someone.transport.connected(), 30)
            assert [one.name for one in someone.clinics.members] == ["n0", "n2", "n3", "n4"]
            running.cancel_scope.cancel()
        again = someone_new(changing.cluster, changing.network, store=someone.store)
        cut_off(changing, again, [n0, n1, n2, n3])
        height = again.chain.height
        async with trio.open_nursery() as running:
            await running.start(again.run)
            await until(lambda: again.chain.height > height and again.chain.is_fresh())
            assert again.clinics.reachable() == [n4.identity]
            running.cancel_scope.cancel()

    play(story)


def configured(node: SimNode) -> Clinic:
    return Clinic(name=node.name, address="/ip4/192.0.2.7/tcp/4001", id=node.identity.hex())


def test_with_the_genesis_file_and_a_clinic_that_came_later_it_needs_no_founder() -> None:
    async def story(changing: Changing) -> None:
        *founders, n4, _ = changing.nodes
        await changing.admit(n4)
        dialling = Dialling((configured(n4),))
        someone = someone_new(changing.cluster, changing.network, dialling=dialling)
        cut_off(changing, someone, founders)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(lambda: meets(someone, n4) and someone.chain.is_fresh())
            await until(lambda: n4.name in [one.name for one in someone.clinics.members])
            assert someone.clinics.outsiders == []
            running.cancel_scope.cancel()

    play(story)


def test_a_configured_clinic_that_is_no_member_is_left_once_that_is_proven() -> None:
    async def story(changing: Changing) -> None:
        n0, _, _, _, _, n5 = changing.nodes
        dialling = Dialling((configured(n5), configured(n0)))
        someone = someone_new(changing.cluster, changing.network, dialling=dialling)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(lambda: someone.clinics.outsiders == ["n5"])
            assert meets(someone, n0)
            assert not meets(someone, n5)
            own = Self("light", "", someone.transport.identity, 0, 0, True, n0.clock)
            [warning] = light_status(own, someone.patient).warnings
            assert "n5 is no member" in warning
            running.cancel_scope.cancel()

    play(story)


class OldRoll(Gateway):
    """Shows the roll that it was asked for first, for ever."""

    first: ClassVar[list[RollReply]]
    times: ClassVar[list[int]]

    def _roll(self) -> RollReply:
        if self._server != self._ledger.genesis.members[0].id_key:
            return super()._roll()
        self.first.append(super()._roll())
        self.times.append(self._ledger.height)
        return self.first[0]


def old_roll() -> type[OldRoll]:
    """A kind of its own, that was never asked."""

    class Fresh(OldRoll):
        first: ClassVar[list[RollReply]] = []
        times: ClassVar[list[int]] = []

    return Fresh


def test_a_clinic_that_shows_who_was_a_member_once_is_not_believed() -> None:
    liar = old_roll()

    class Node(LedgerClinic):
        gateway_type = liar

    async def story(changing: Changing) -> None:
        n0, _, _, _, n4, _ = changing.nodes
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(lambda: meets(someone, n0))
            someone.clinics.prefer(n0.identity)
            await someone.patient.members.refresh()
            assert liar.first, "the liar was not asked"
            await changing.admit(n4)
            await trio.sleep(2 * someone.chain.limits.max_stale_default_ms / limits.SECOND_MS)
            asked = len(liar.times)
            someone.clinics.prefer(n0.identity)
            assert await someone.patient.members.refresh()
            assert len(liar.times) > asked, "the liar was not asked again"
            assert n4.name in [one.name for one in someone.clinics.members]
            running.cancel_scope.cancel()

    play(story, build=Node)


def test_a_clinic_that_is_behind_does_not_leave_out_who_came_since() -> None:
    liar = old_roll()

    class Node(LedgerClinic):
        gateway_type = liar

    async def story(changing: Changing) -> None:
        n0, _, _, _, n4, _ = changing.nodes
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(lambda: meets(someone, n0) and someone.chain.is_fresh())
            someone.clinics.prefer(n0.identity)
            await someone.patient.members.refresh()
            height = await changing.admit(n4)
            # The client has the admission's header; the clinic it asks has not got so far, and is not old.
            await until(lambda: someone.chain.height >= height)
            assert someone.chain.is_recent(someone.chain.head.header)
            someone.clinics.prefer(n0.identity)
            assert await someone.patient.members.refresh()
            assert len(liar.times) > 1, "the clinic that is behind was not asked again"
            assert n4.name in [one.name for one in someone.clinics.members]
            running.cancel_scope.cancel()

    play(story, build=Node)


def test_a_newcomer_is_found_by_name_as_soon_as_a_clinic_has_caught_up() -> None:
    """All are a block behind for a moment, and no further block comes soon."""

    class Behind(Gateway):
        asked: ClassVar[list[RollReply]] = []
        is_behind: ClassVar[bool] = True

        def _roll(self) -> RollReply:
            reply = super()._roll()
            if type(self).is_behind:
                self.asked.append(reply)
                reply = RollReply(reply.height - 1, reply.roll)
            return reply

    class Node(LedgerClinic):
        gateway_type = Behind

    async def story(changing: Changing) -> None:
        someone = someone_new(changing.cluster, changing.network)
        async with trio.open_nursery() as running:
            await running.start(someone.run)
            await until(someone.chain.is_fresh)

            async def catch_up() -> None:
                Behind.asked.clear()
                await until(lambda: len(Behind.asked) >= len(someone.clinics.reachable()))
                Behind.is_behind = False

            await someone.chain.wait_advanced()
            running.start_soon(catch_up)
            height = someone.chain.height
            assert len(await someone.patient.members.require()) == 4
            assert someone.chain.height == height
            running.cancel_scope.cancel()

    play(story, build=Node)
