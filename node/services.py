"""The ledger's services wired together: what every clinic runs, over any adapters of the ports."""

import trio

from node.clockcheck import ClockCheck
from node.consensus import ConsensusService
from node.denials import Denials
from node.gossip import GossipService
from node.journal import VoteJournal
from node.ledger import Ledger
from node.ports import Ports, TaskStatus
from node.submissions import Submissions
from node.sync import SyncService
from protocol.access import Freshness
from protocol.blocks import Block, Certificate, Genesis, genesis_committee
from protocol.keys import SigningKey
from protocol.mempool import Mempool, VerifiedCache
from protocol.tree import BlockTree


class LedgerServices:
    """One node's part in the ledger. Construct (no tasks start), then `run` until cancelled.

    Raises StorageError at construction where the store cannot be trusted.
    """

    def __init__(self, *, ports: Ports, genesis: Genesis, vote_key: SigningKey | None) -> None:
        transport, clock, offload = ports.transport, ports.clock, ports.offload
        self.genesis, self.committee = genesis, genesis_committee(genesis)
        self._identity = transport.identity
        self._vote_key = vote_key
        peers = [member.id_key for member in genesis.members]
        self.ledger = Ledger(genesis=genesis, store=ports.ledger_store, clock=clock, offload=offload)
        self.mempool = Mempool()
        self.denials = Denials(self.ledger)
        verified = VerifiedCache(self.committee.network)
        self.submissions = Submissions(
            transport=transport,
            store=ports.ledger_store,
            mempool=self.mempool,
            verified=verified,
            denials=self.denials,
            validators=peers,
            offload=offload,
        )
        tree = BlockTree(
            root=self.ledger.head.header,
            state=self.ledger.state,
            proposer=None if vote_key is None else vote_key.public,
            mempool=self.mempool,
            verified=verified,
            on_rejected=self.submissions.reject,
        )
        self.sync = SyncService(
            transport=transport,
            ledger=self.ledger,
            committee=self.committee,
            members=peers,
            entropy=ports.entropy,
            wall_ms=clock.wall_ms,
        )
        self.journal = VoteJournal(store=ports.ledger_store, votes=ports.votes)
        self.consensus = ConsensusService(
            transport=transport,
            ledger=self.ledger,
            tree=tree,
            submissions=self.submissions,
            journal=self.journal,
            committee=self.committee,
            members=genesis.members,
            key=vote_key,
            clock=clock,
            offload=offload,
            on_behind=self.sync.kick,
            on_final=self._publish,
        )
        self.sync.connect(self.consensus.adopt)
        self.gossip = GossipService(
            transport=transport,
            ledger=self.ledger,
            committee=self.committee,
            adopt=self.consensus.adopt,
            receive=self.submissions.receive,
            heard_of=self.sync.heard_of,
        )
        self.clock_check = ClockCheck(
            transport=transport,
            clock=clock,
            entropy=ports.entropy,
            validators=peers,
            quorum=self.committee.quorum,
            tolerance_ms=genesis.limits.tolerance_ms,
            on_verdict=self.consensus.set_clock_is_good,
            heard_of=self.sync.heard_of,
        )
        self.submissions.connect(
            rejection=lambda transaction: tree.rejection(transaction, self.consensus.now()),
            is_final=lambda name: self.ledger.position(name) is not None,
            on_revoked=self.gossip.publish_revocation,
        )

    def freshness(self) -> Freshness:
        """How fresh the ledger is here, for `access.decide`."""
        return self.ledger.freshness(clock_is_good=self.clock_check.is_good)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        services = (
            self.submissions,
            self.denials,
            self.consensus,
            self.sync,
            self.gossip,
            self.clock_check,
        )
        async with trio.open_nursery() as nursery:
            for service in services:
                await nursery.start(service.run)
            task_status.started()

    def _publish(self, block: Block, certificate: Certificate) -> None:
        """The proposer tells the followers; everyone else heard it from the proposer's votes."""
        if self._vote_key is not None and block.header.proposer == self._vote_key.public:
            self.gossip.publish_block(block, certificate)
