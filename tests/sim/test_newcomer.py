"""A clinic that comes by an invitation when every founder is gone: only the inviter can lead it in."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.chain.services import LedgerServices
from node.ports import Ports
from protocol.blocks import Genesis, block_hash, network_id
from protocol.invitations import Invitation
from protocol.limits import NetworkLimits
from tests.sim.clock import EPOCH_MS
from tests.sim.epoch_world import Changing
from tests.sim.ledger_story import build_ledger
from tests.sim.nodes import Seat, SimNode
from tests.sim.world import World, simulate

Story = Callable[[Changing, dict[str, Invitation]], Awaitable[None]]


def play(story: Story) -> None:
    """`story` with one founder, who has gone, and one other validator. The third clinic is to come, with
    the invitation that the story puts under its name."""
    invitations: dict[str, Invitation] = {}

    def build(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
        if seat.name not in invitations:
            return build_ledger(ports, genesis, seat)
        invitation = invitations[seat.name]
        return LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key, invitation=invitation)

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, founders=1, later=2, build=build)
            founder, member, newcomer = changing.nodes
            founder.start()
            member.start()
            await changing.admit(member)
            await changing.promote(member)
            height = await changing.remove(founder)
            await changing.settle([member], height=height)
            founder.crash()
            await changing.admit(newcomer)
            await story(changing, invitations)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)


def invited(changing: Changing, by: SimNode) -> Invitation:
    """By a member, with its newest block as the checkpoint."""
    head, genesis = changing.head(by), changing.cluster.genesis
    return Invitation(
        network=network_id(genesis),
        name=genesis.name,
        inviter=by.identity,
        addresses=("/ip4/192.0.2.7/tcp/4001",),
        checkpoint_height=head.height,
        checkpoint_hash=block_hash(head),
        terms_hash=genesis.terms_hash,
        expires_ms=EPOCH_MS + 10**9,
        secret=bytes(16),
    )


def services(node: SimNode) -> LedgerServices:
    assert node.life is not None
    assert isinstance(node.life.service, LedgerServices)
    return node.life.service


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_newcomer_whose_founders_are_all_gone_comes_in_by_its_inviter(interrupted: bool) -> None:
    async def story(changing: Changing, invitations: dict[str, Invitation]) -> None:
        _, member, newcomer = changing.nodes
        invitations[newcomer.name] = invited(changing, member)
        newcomer.start()
        assert newcomer.life is not None
        await trio.sleep(0.01)
        assert member.identity in newcomer.life.transport.dials, "it waits to be dialled"
        if interrupted:
            await trio.sleep(0.2)
            newcomer.crash()
            newcomer.start()
        await changing.settle([member, newcomer], height=changing.height(member) + 1)
        assert not services(newcomer).guide.is_arriving
        assert services(newcomer).membership.keys == (member.identity, newcomer.identity)
        assert changing.check().validators == (member.seat.vote_key.public,)

    play(story)


def test_without_its_inviter_it_finds_nobody() -> None:
    async def story(changing: Changing, invitations: dict[str, Invitation]) -> None:
        founder, _, newcomer = changing.nodes
        founder.start()
        newcomer.start()
        await trio.sleep(NetworkLimits().heartbeat_ms / 1000 * 4)
        assert changing.height(newcomer) == 0

    play(story)
