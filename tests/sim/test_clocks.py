"""A clinic in doubt about its own clock neither serves nor votes, says so, and goes on when it is right."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.chain.blocks_door import BlocksDoor
from node.chain.clockcheck import ANSWER_MS, CHECK_S
from node.clinic import Clinic
from node.control.status import Self, clinic_status
from node.ports import Ports
from protocol import limits
from protocol.blocks import Genesis, Statement
from protocol.control import AuditList
from protocol.errors import Refused
from protocol.keys import PublicKey
from protocol.messages.consensus import Proposal, Vote, decode_consensus
from tests.sim.light_world import Someone
from tests.sim.links import Link
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat, SimNode
from tests.sim.record_world import (
    RECORD,
    add,
    build_clinic,
    clinic,
    get,
    outside,
    play,
    receive_code,
    share,
    whole,
)
from tests.sim.seeds import fresh_seeds

HOUR_MS, DAY_MS = limits.HOUR_MS, limits.DAY_MS
SETTLED_S = 45.0
SEEN_S = CHECK_S + 2 * ANSWER_MS / 1000
LIAR = 3


class Scene:
    """A record that a clinic may read from each of those that hold it; the first of them is `node`."""

    def __init__(self, cluster: Cluster, network: SimNetwork, token: str, reader: SimNode) -> None:
        self.cluster, self.network, self.token, self.reader = cluster, network, token, reader
        self.node, *self.others = [one for one in cluster.nodes if one is not reader]
        self._said: dict[PublicKey, set[Statement]] = {one.identity: set() for one in cluster.nodes}
        network.watches.append(self._hear)

    async def served(self, node: SimNode) -> bool:
        """Whether `node` gives the record to the reader now."""
        vars(clinic(self.reader).reader)["_sources"] = lambda token: [node.identity]
        try:
            return (await get(self.reader, self.token))[1] == RECORD
        except Refused:
            return False

    async def last_refusal(self, node: SimNode) -> str:
        """Why `node` refused last, by its own audit log."""
        listed = await clinic(node).audit_views.rows(AuditList())
        return next(item.reason for item in listed.entries if item.outcome == "refused")

    def warnings(self, node: SimNode) -> list[str]:
        """What `status` says of the clock; `fresh` is said only where there is nothing to say."""
        own = Self("clinic", node.name, node.identity, 0, limits.GIB, True, node.clock)
        status = clinic_status(own, whole(node))
        found = [warning for warning in status.warnings if "clock" in warning]
        assert not (status.fresh and found)
        return found

    async def statements(self, node: SimNode, for_s: float = SETTLED_S) -> int:
        """How many statements `node` signs in so long, counted from when all that was signed is sent."""
        await trio.sleep(0.1)
        before = len(self._said[node.identity])
        await trio.sleep(for_s)
        return len(self._said[node.identity]) - before

    async def works(self, node: SimNode) -> bool:
        """Whether `node` serves, votes, and doubts nothing."""
        votes = await self.statements(node)
        return await self.served(node) and votes > 0 and not self.warnings(node)

    def height(self) -> int:
        return whole(self.others[0]).services.ledger.height

    def _hear(self, sender: PublicKey, receiver: PublicKey, protocol: str, raw: bytes) -> None:
        if protocol != "consensus":
            return
        match decode_consensus(raw):
            case Vote(statement, signer) if self.cluster.nodes[signer].identity == sender:
                self._said[sender].add(statement)
            case Proposal(block) if block.header.proposer == self._vote_key(sender):
                own = Statement(block.header.epoch, block.header.view, 0, block.header.parent)
                self._said[sender].add(own)
            case _:
                pass

    def _vote_key(self, identity: PublicKey) -> PublicKey:
        [key] = [one.seat.vote_key.public for one in self.cluster.nodes if one.identity == identity]
        return key


def act_out(
    act: Callable[[Scene], Awaitable[None]], *, seed: int = 1, build: BuildNode = build_clinic
) -> None:
    """`act` once a record was shared and everything works."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        added = await add(issuer, await receive_code(someone, issuer), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        scene = Scene(cluster, network, added.token, reader)
        assert await scene.works(scene.node)
        await act(scene)

    play(story, seed=seed, build=build)


STEPS = [sign * by for by in (13_000, HOUR_MS, 10 * DAY_MS) for sign in (1, -1)]


@pytest.mark.parametrize("by_ms", STEPS)
@pytest.mark.parametrize("seed", fresh_seeds(1))
def test_a_clock_that_is_set_wrong_stops_its_clinic_at_once_and_no_other(by_ms: int, seed: int) -> None:
    async def act(scene: Scene) -> None:
        node, height = scene.node, scene.height()
        node.clock.step(by_ms)
        assert not await scene.served(node)
        assert await scene.last_refusal(node) == "clock"
        side = "ahead of" if by_ms > 0 else "behind"
        [warning] = scene.warnings(node)
        assert f"s {side} the members'" in warning
        assert await scene.statements(node) == 0
        assert not await scene.served(node)
        assert scene.height() >= height + 2
        assert [await scene.works(other) for other in scene.others] == [True, True]
        node.clock.set_right()
        assert await scene.works(node)

    act_out(act, seed=seed)


@pytest.mark.parametrize("seed", fresh_seeds(2))
def test_clocks_apart_within_the_bound_stop_nobody(seed: int) -> None:
    async def act(scene: Scene) -> None:
        dice = scene.cluster.world.dice("skew")
        for node in scene.cluster.nodes:
            node.clock.step(dice.randint(-4_000, 4_000))
        assert [await scene.works(one) for one in (scene.node, *scene.others)] == [True] * 3

    act_out(act, seed=seed)


@pytest.mark.parametrize("seed", fresh_seeds(1))
def test_a_wall_clock_that_stands_still_stops_its_clinic_once_it_is_off_by_more_than_the_bound(
    seed: int,
) -> None:
    async def act(scene: Scene) -> None:
        node = scene.node
        node.clock.stand_still()
        await trio.sleep(8)
        assert not scene.warnings(node)
        await trio.sleep(4)
        assert not await scene.served(node)
        assert "behind" in scene.warnings(node)[0]
        assert await scene.statements(node) == 0
        node.clock.set_right()
        assert await scene.works(node)

    act_out(act, seed=seed)


@pytest.mark.parametrize("seed", fresh_seeds(2))
def test_a_machine_that_was_paused_and_does_not_know_it_finds_out_within_one_round(seed: int) -> None:
    async def act(scene: Scene) -> None:
        node, links = scene.node, links_of(scene)
        node.clock.pause()
        for link in links:
            link.clog()
        await trio.sleep(50)
        node.clock.resume()
        for link in links:
            link.unclog()
        await trio.sleep(SEEN_S)
        assert not await scene.served(node)
        assert "50 s behind" in scene.warnings(node)[0]
        assert await scene.statements(node) == 0
        node.clock.set_right()
        assert await scene.works(node)

    act_out(act, seed=seed)


@pytest.mark.parametrize("seed", fresh_seeds(1))
def test_a_clinic_that_was_frozen_serves_nothing_before_it_is_fresh_again(seed: int) -> None:
    async def act(scene: Scene) -> None:
        node, links = scene.node, links_of(scene)
        for link in links:
            link.clog()
        await trio.sleep(90)
        services = whole(node).services
        assert services.freshness().age_ms > limits.NetworkLimits().max_stale_default_ms
        for link in links:
            link.unclog()
        assert await scene.works(node)
        assert services.freshness().age_ms < 30_000

    act_out(act, seed=seed)


LIES = [-10 * DAY_MS, -13_000, 13_000, 10 * DAY_MS]


def build_liar(lie_ms: int) -> BuildNode:
    """Clinics of which one answers with another time than its own."""

    def build(ports: Ports, genesis: Genesis, seat: Seat) -> Clinic:
        made = build_clinic(ports, genesis, seat)
        if seat.index == LIAR:
            services = made.services
            services.door = BlocksDoor(
                transport=services.ports.transport,
                ledger=services.ledger,
                wall_ms=lambda: max(0, ports.clock.wall_ms() + lie_ms),
            )
        return made

    return build


@pytest.mark.parametrize("lie_ms", LIES)
def test_one_member_that_lies_about_the_time_stops_no_clinic(lie_ms: int) -> None:
    async def act(scene: Scene) -> None:
        nodes = [scene.node, *scene.others]
        assert [await scene.works(node) for node in nodes] == [True] * 3

    act_out(act, build=build_liar(lie_ms))


@pytest.mark.parametrize("lie_ms", LIES)
@pytest.mark.parametrize("seed", fresh_seeds(1))
def test_a_member_that_sides_with_a_clock_that_was_set_wrong_keeps_no_clinic_going(
    lie_ms: int, seed: int
) -> None:
    async def act(scene: Scene) -> None:
        scene.node.clock.step(lie_ms)
        for _ in range(4):
            assert not await scene.served(scene.node)
            assert await scene.statements(scene.node) == 0
            assert scene.warnings(scene.node)

    act_out(act, seed=seed, build=build_liar(lie_ms))


def links_of(scene: Scene) -> list[Link]:
    """Every direction to and from the clinic."""
    own = scene.node.identity
    others = [node.identity for node in scene.cluster.nodes if node.identity != own]
    return [scene.network.link(*pair) for other in others for pair in ((own, other), (other, own))]
