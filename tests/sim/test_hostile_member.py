"""What one hostile member can do to honest ones: nothing that lasts."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from msgspec.structs import replace

from node.ports import GossipMessage
from protocol import limits
from protocol.blocks import NO_BLOCK, Phase, Statement
from protocol.codec import encode
from protocol.control import MyShare, MyStop
from protocol.errors import ProtocolError, Rejected, RemoteProtocolError
from protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from protocol.limits import DAY_MS
from protocol.messages.blocks import FinalBlock
from protocol.messages.consensus import BlockRequest, Forward, Proposal, Submission, Vote
from protocol.transactions import GrantId, Revoke, TokenId, TransactionId, sign_transaction
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


def share(token: TransactionId) -> MyShare:
    return MyShare(records=(token.hex(),), clinic="n1", for_ms=DAY_MS, purposes=("TREAT",))


def test_a_final_block_passed_on_without_its_sealed_bytes_is_not_taken() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        victim, others = cluster.nodes[0], cluster.nodes[1:]
        network.cut_off([victim.identity], [node.identity for node in others])
        own, height = services(victim), services(victim).ledger.height
        await issue(someone, others[0], "Letter")
        ledger = services(others[0]).ledger
        blocks = [ledger.block(height + 1 + index) for index in range(ledger.height - height)]
        assert own.ledger.height == height
        for block in blocks:
            assert block is not None
            finality = ledger.finality(block.header.height)
            assert finality is not None
            # The one that lacks something comes first, then the one that does not.
            for copy in (replace(block, sealed=tuple(b"" for _ in block.sealed)), block):
                payload = encode(FinalBlock(copy, finality))
                with suppress(ProtocolError):
                    await own.gossip._take_block(GossipMessage("blocks", others[1].identity, payload))
        assert [own.ledger.block(height + 1 + index) for index in range(len(blocks))] == blocks
        assert any(any(block.sealed) for block in blocks if block is not None)

    play(story)


def test_a_revocation_counts_as_soon_as_it_is_seen_in_a_proposal() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        victim, others = cluster.nodes[0], cluster.nodes[1:]
        token = await issue(someone, others[0], "Letter")
        [grant] = (await someone.my.share(share(token))).grants
        await trio.sleep(1)
        own, name = services(victim), (TokenId(token), GrantId(bytes.fromhex(grant.grant)))
        network.cut_off(
            [victim.identity], [*(node.identity for node in others), someone.transport.identity]
        )
        await someone.my.stop(MyStop(id=grant.grant))
        block = services(others[0]).ledger.block(services(others[0]).ledger.height)
        assert block is not None
        assert block.transactions
        assert name not in own.ledger.denied
        proposal = Proposal(block, None, (), bytes(SIGNATURE_BYTES))
        await own.consensus._receive(others[0].identity, encode(proposal))
        assert name in own.ledger.denied

    play(story)


def test_a_revocation_counts_although_no_room_is_left_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        grants = (await someone.my.share(share(token))).grants
        grants += (await someone.my.share(share(token))).grants
        await trio.sleep(1)
        monkeypatch.setattr(limits, "MEMPOOL_PER_SENDER_MAX", 0)
        own = services(cluster.nodes[3])
        names = [GrantId(bytes.fromhex(grant.grant)) for grant in grants]
        owner = someone.wallet.owner_key(someone.wallet.records()[0])
        network_id = someone.chain.network
        raws = [sign_transaction(Revoke(TokenId(token), name), (owner,), network_id) for name in names]
        await own.submissions.receive(cluster.nodes[1].identity, [Submission(raw, b"") for raw in raws])
        assert all((TokenId(token), name) in own.ledger.denied for name in names)

    play(story)


def test_what_the_ledger_would_not_take_is_not_spread_for_strangers() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        junk = Revoke(TokenId(bytes(32)), GrantId(bytes(32)))
        raw = sign_transaction(junk, (SigningKey(bytes(32)),), someone.chain.network)
        with pytest.raises(Rejected):
            await services(cluster.nodes[0]).submissions.submit(raw, b"", sender=b"stranger")
        await trio.sleep(1)
        assert not any(services(node).denials._early for node in cluster.nodes[1:])

    play(story)


def test_a_member_that_sends_forged_votes_is_dropped_and_one_that_sends_true_ones_is_not() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        own, rogue = services(cluster.nodes[0]), cluster.nodes[1].identity
        view = own.consensus.machine.view + 1
        vote = Vote(Statement(0, view, Phase.NULL, NO_BLOCK), 1, bytes(SIGNATURE_BYTES))
        await own.consensus._receive(rogue, encode(vote))
        await trio.sleep(0.1)
        with pytest.raises(RemoteProtocolError, match="do not verify"):
            await own.consensus._receive(rogue, encode(vote))
        await own.consensus._receive(cluster.nodes[2].identity, encode(BlockRequest(NO_BLOCK)))
        await issue(someone, cluster.nodes[0], "Letter")

    play(story)


def test_a_member_that_passes_on_more_than_anyone_could_sign_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        monkeypatch.setattr(limits, "FORWARDED_BURST", 4)
        own, rogue = services(cluster.nodes[0]), PublicKey(b"\x01" + b"r" * 32)
        junk = Revoke(TokenId(bytes(32)), GrantId(bytes(32)))
        raw = sign_transaction(junk, (SigningKey(bytes(32)),), someone.chain.network)
        flood = encode(Forward((Submission(raw, b""),) * 4))
        await own.consensus._receive(rogue, flood)
        with pytest.raises(RemoteProtocolError, match="too many"):
            await own.consensus._receive(rogue, flood)

    play(story)
