"""Revocations that are not final yet, between nodes that meet again and can make nothing final."""

import trio

from protocol.control import MyShare
from protocol.keys import PublicKey
from protocol.limits import DAY_MS
from protocol.messages.consensus import Proposal, decode_consensus
from protocol.transactions import GrantId, Revoke, TokenId, sign_transaction
from tests.sim.light_world import LedgerClinic, issue, services, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.transport import SimTransport
from tests.sim.world import World, simulate


class NoProposals(SimNetwork):
    """From some moment on no proposal arrives: what a proposal holds would count at sight as well."""

    is_quiet = False

    def datagram(self, sender: SimTransport, receiver: PublicKey, protocol: str, payload: bytes) -> None:
        if not (self.is_quiet and isinstance(decode_consensus(payload), Proposal)):
            super().datagram(sender, receiver, protocol, payload)


def test_a_revocation_heard_from_another_is_told_to_whoever_connects_later() -> None:
    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            network = NoProposals(world)
            cluster = Cluster(world, network, nursery, LedgerClinic, size=4)
            cluster.start()
            someone = someone_new(cluster, network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            token = await issue(someone, cluster.nodes[0], "Letter")
            share = MyShare(records=(token.hex(),), clinic="n1", for_ms=DAY_MS, purposes=("TREAT",))
            [grant] = (await someone.my.share(share)).grants
            await trio.sleep(2)
            network.is_quiet = True
            first, second, third, _ = (node.identity for node in cluster.nodes)
            everyone = [node.identity for node in cluster.nodes]
            apart = {(a, b) for a in everyone for b in everyone if a != b}
            network.set_cuts(apart - {(first, second), (second, first)})
            await trio.sleep(10)
            owner = someone.wallet.owner_key(someone.wallet.records()[0])
            name = TokenId(token), GrantId(bytes.fromhex(grant.grant))
            raw = sign_transaction(Revoke(*name), (owner,), someone.chain.network)
            await services(cluster.nodes[0]).submissions.submit(raw, b"", sender=b"a patient")
            await trio.sleep(5)
            assert name in services(cluster.nodes[1]).ledger.denied
            assert name not in services(cluster.nodes[2]).ledger.denied
            cluster.nodes[0].crash()
            network.set_cuts(apart - {(second, third), (third, second)})
            await trio.sleep(10)
            assert name in services(cluster.nodes[2]).ledger.denied
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(tell, 1)
