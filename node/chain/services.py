"""The ledger's services wired together: what every clinic runs, over any adapters of the ports."""

from dataclasses import replace

import trio

from node.chain.blocks_door import BlocksDoor
from node.chain.clockcheck import ClockCheck
from node.chain.comparing import Comparison
from node.chain.consensus import ConsensusService
from node.chain.contact import Contact
from node.chain.denials import Denials
from node.chain.exclusion import Exclusion
from node.chain.filling import FillingService
from node.chain.gated import GatedTransport
from node.chain.gossip import GossipService
from node.chain.guide import Guide
from node.chain.halt import Halt
from node.chain.journal import VoteJournal
from node.chain.ledger import Ledger
from node.chain.submissions import Submissions
from node.chain.suspensions import Suspensions
from node.chain.sync import SyncService
from node.ports import Ports, TaskStatus
from protocol.access import Freshness
from protocol.blocks import Block, Finality, Genesis, network_id
from protocol.catchup import known_height
from protocol.invitations import Invitation
from protocol.keys import SigningKey
from protocol.mempool import Mempool, VerifiedCache
from protocol.tree import BlockTree

# What members say to each other of a node that has stopped, and why.
LEFT_OPEN = ("members",)


class LedgerServices:
    """One node's part in the ledger. Construct (no tasks start), then `run` until cancelled.

    `invitation` is the one by which this node came, if it is no founder.
    `ports` are those for every service of the node: once it has stopped, their transport is shut.

    Raises StorageError at construction where the store cannot be trusted.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        genesis: Genesis,
        vote_key: SigningKey | None,
        invitation: Invitation | None = None,
    ) -> None:
        self.genesis, self.network = genesis, network_id(genesis)
        self._vote_key = vote_key
        self._has_heard = False
        self._verified = VerifiedCache(self.network)
        store, clock = ports.ledger_store, ports.clock
        self.ledger = Ledger(genesis=genesis, store=store, clock=clock, offload=ports.offload)
        self.halt = Halt(ledger=self.ledger, store=store)
        self.exclusion = Exclusion(store)
        gated = GatedTransport(ports.transport, lambda: self.has_stopped, left_open=LEFT_OPEN)
        self.ports = ports = replace(ports, transport=gated)
        self.membership = self.ledger.membership
        self.guide = Guide(self.ledger, invitation)
        self.membership.observe(self._tell_transport)
        self._tell_transport()
        self.mempool = Mempool()
        self.suspensions = Suspensions(self.ledger, store)
        self.denials = Denials(self.ledger, self.suspensions)
        self.submissions = self._build_submissions()
        self.contact = Contact(transport=ports.transport, mempool=self.mempool)
        self.sync = SyncService(
            transport=ports.transport,
            ledger=self.ledger,
            entropy=ports.entropy,
            guide=self.guide,
        )
        self.filling = self._build_filling()
        self.door = BlocksDoor(transport=ports.transport, ledger=self.ledger, wall_ms=clock.wall_ms)
        self.journal = VoteJournal(
            store=store, votes=ports.votes, key=None if vote_key is None else vote_key.public
        )
        self.comparison = Comparison(transport=ports.transport, ledger=self.ledger, halt=self.halt)
        self.clock_check = self._build_clock_check()
        tree = self._build_tree()
        self.consensus = self._build_consensus(tree)
        self.gossip = self._build_gossip()
        self.halt.observe(lambda found: self._stop())
        self.exclusion.observe(self._stop)
        if self.has_stopped:
            self._stop()
        self.sync.connect(adopt=self.consensus.adopt, check=self.submissions.check, see=self.halt.see)
        self.submissions.connect(
            rejection=lambda transaction: tree.rejection(transaction, self.consensus.now()),
            is_final=lambda name: self.ledger.position(name) is not None,
            on_narrowing=self.gossip.publish_urgent,
        )

    @property
    def has_stopped(self) -> bool:
        """Whether this node neither serves nor signs any more, for good."""
        return self.halt.is_on or self.exclusion.is_on

    def freshness(self) -> Freshness:
        """How fresh the ledger is here, for `access.decide`: by no clock where this node has stopped."""
        return self.ledger.freshness(clock_is_good=self.clock_check.is_good and not self.has_stopped)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        services = (
            self.submissions,
            self.denials,
            self.consensus,
            self.sync,
            self.filling,
            self.gossip,
            self.clock_check,
            self.comparison,
        )
        async with trio.open_nursery() as nursery:
            for service in services:
                await nursery.start(service.run)
            if self.guide.is_arriving:
                nursery.start_soon(self._leave_guide)
            task_status.started()

    def _is_caught_up(self) -> bool:
        return self.freshness().age_ms <= self.genesis.limits.max_stale_default_ms

    def _judge_clock(self) -> None:
        """The first time a quorum answers, it also says how far this node is behind."""
        if not self._has_heard:
            self._has_heard = True
            claimed = known_height(self.clock_check.heights, self.membership.committee.faults)
            self.consensus.learn_through(claimed)
        self.consensus.wake()

    def _stop(self) -> None:
        self.consensus.stop()
        self.sync.stop()

    def _tell_transport(self) -> None:
        self.ports.transport.set_members([*self.membership.addresses(), *self.guide.addresses])

    async def _leave_guide(self) -> None:
        """At the checkpoint its standing is what the ledger says, whether or not that changes there."""
        while self.guide.is_arriving:
            await self.ledger.wait_advanced()
        self._tell_transport()

    def _publish(self, block: Block, finality: Finality) -> None:
        """The proposer tells the followers; everyone else heard it from the proposer's votes."""
        if self._vote_key is not None and block.header.proposer == self._vote_key.public:
            self.gossip.publish_block(block, finality)

    # Building.

    def _build_submissions(self) -> Submissions:
        return Submissions(
            transport=self.ports.transport,
            store=self.ports.ledger_store,
            mempool=self.mempool,
            verified=self._verified,
            denials=self.denials,
            membership=self.membership,
            offload=self.ports.offload,
        )

    def _build_filling(self) -> FillingService:
        return FillingService(
            transport=self.ports.transport,
            ledger=self.ledger,
            entropy=self.ports.entropy,
            is_caught_up=self._is_caught_up,
        )

    def _build_tree(self) -> BlockTree:
        return BlockTree(
            root=self.ledger.head.header,
            state=self.ledger.state,
            proposer=None if self._vote_key is None else self._vote_key.public,
            mempool=self.mempool,
            verified=self._verified,
            on_rejected=self.submissions.reject,
        )

    def _build_consensus(self, tree: BlockTree) -> ConsensusService:
        return ConsensusService(
            transport=self.ports.transport,
            ledger=self.ledger,
            tree=tree,
            submissions=self.submissions,
            journal=self.journal,
            key=self._vote_key,
            clock=self.ports.clock,
            is_clock_good=lambda: self.clock_check.is_good,
            offload=self.ports.offload,
            on_behind=self.sync.kick,
            on_foreign=self.comparison.want,
            on_final=self._publish,
        )

    def _build_gossip(self) -> GossipService:
        return GossipService(
            transport=self.ports.transport,
            ledger=self.ledger,
            adopt=self.consensus.adopt,
            receive=self.submissions.receive,
            heard_of=self.sync.heard_of,
            see=self.halt.see,
        )

    def _build_clock_check(self) -> ClockCheck:
        return ClockCheck(
            transport=self.ports.transport,
            clock=self.ports.clock,
            entropy=self.ports.entropy,
            ledger=self.ledger,
            on_verdict=self._judge_clock,
            heard_from=self.sync.heard_from,
        )
