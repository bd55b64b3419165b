"""The ledger as the disks of all nodes have it: blocks applied again, once each, from the genesis on."""

from node.store import layout
from protocol.blocks import Header, decode_block
from protocol.chain import genesis_header
from protocol.keys import PublicKey
from protocol.ledger import Overlay
from protocol.membership import Remove, Suspend
from protocol.mempool import VerifiedCache
from protocol.state import LedgerState, genesis_state
from protocol.transactions import Grant, GrantId, Revoke, TokenId
from tests.sim.nodes import Cluster, SimNode


class FinalStates:
    """States by height, shared by all nodes, and since when (true time, ms) some things are final.

    Only what would survive a crash counts, and reading it is no call that a node's disk counts.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._verified = VerifiedCache(cluster.network_id)
        self._states = [(genesis_header(cluster.genesis), genesis_state(cluster.genesis))]
        self._heights: dict[SimNode, int] = {}
        self.grants: set[tuple[TokenId, GrantId]] = set()
        """Every grant that was ever registered."""
        self.revoked_ms: dict[tuple[TokenId, GrantId], int] = {}
        self.ended_ms: dict[PublicKey, int] = {}
        """When each member's suspension or removal was first final anywhere."""

    def at(self, node: SimNode) -> tuple[Header, LedgerState]:
        """The newest final header on a node's disk and the state after it."""
        store, height = node.disk.ledger, self._heights.get(node, 0)
        if height and store.synced(layout.block(height)) is None:
            height = 0  # another disk was put in
        while (raw := store.synced(layout.block(height + 1))) is not None:
            height += 1
            if height == len(self._states):
                self._apply(raw)
        self._heights[node] = height
        return self._states[height]

    def _apply(self, raw: bytes) -> None:
        block, now_ms = decode_block(raw), self._cluster.world.timeline.now_ms()
        header = block.header
        overlay = Overlay(self._states[-1][1], height=header.height, time_ms=header.time_ms)
        for item in block.transactions:
            transaction = self._verified.check(item)
            overlay.apply(transaction)
            match transaction.body:
                case Grant(token, grant):
                    self.grants.add((token, grant))
                case Revoke(token, grant):
                    self.revoked_ms.setdefault((token, grant), now_ms)
                case Suspend(member) | Remove(member):
                    self.ended_ms.setdefault(member, now_ms)
                case _:
                    pass
        self._states.append((header, overlay.commit()))
