"""What one hostile member can do to honest ones: nothing that lasts."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from msgspec.structs import replace

from node.ports import GossipMessage
from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.messages.blocks import FinalBlock
from tests.sim.light_world import LedgerClinic, Someone, issue, services, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.world import World, simulate

Story = Callable[[Cluster, Someone, SimNetwork], Awaitable[None]]


def play(story: Story, *, seed: int = 1) -> None:
    """`story` with four clinics and one patient, all up and fresh."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world)
            cluster = Cluster(world, network, nursery, LedgerClinic, size=4)
            cluster.start()
            someone = someone_new(cluster, network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            await story(cluster, someone, network)
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(tell, seed)


def test_a_final_block_passed_on_without_its_sealed_bytes_is_not_taken() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        victim, others = cluster.nodes[0], cluster.nodes[1:]
        network.set_cuts(
            pair
            for other in others
            for pair in ((victim.identity, other.identity), (other.identity, victim.identity))
        )
        own, height = services(victim), services(victim).ledger.height
        await issue(someone, others[0], "Letter")
        ledger = services(others[0]).ledger
        blocks = [ledger.block(height + 1 + index) for index in range(ledger.height - height)]
        assert own.ledger.height == height
        for block in blocks:
            assert block is not None
            certificate = ledger.certificate(block.header.height)
            assert certificate is not None
            # The one that lacks something comes first, then the one that does not.
            for copy in (replace(block, sealed=tuple(b"" for _ in block.sealed)), block):
                payload = encode(FinalBlock(copy, certificate))
                with suppress(ProtocolError):
                    await own.gossip._take_block(GossipMessage("blocks", others[1].identity, payload))
        assert [own.ledger.block(height + 1 + index) for index in range(len(blocks))] == blocks
        assert any(any(block.sealed) for block in blocks if block is not None)

    play(story)
