"""The consensus service: drives the Simplex machine over datagrams, the store and the vote file.

One task steps the machine. Each turn takes in all that waits, makes what was signed durable in one
go, and only then sends it: a vote that left the process is never forgotten.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import trio

from node.chain.inbox import Inbox, Letter
from node.chain.journal import VoteJournal
from node.chain.ledger import ExecutedBlock, Ledger
from node.chain.submissions import Submissions
from node.ports import Clock, Offload, TaskStatus, Transport
from node.store.waiting import once_there_is_room
from protocol import limits
from protocol.blocks import Block, BlockHash, Finality, Statement, block_hash
from protocol.codec import encode
from protocol.consensus import Simplex
from protocol.errors import RemoteProtocolError
from protocol.evidence import Evidence
from protocol.keys import PublicKey, SigningKey
from protocol.memory import certified_by_other, foreign_statement
from protocol.messages.consensus import (
    BlockReply,
    ConsensusMessage,
    Forward,
    Proposal,
    decode_consensus,
    epoch_of,
    final_block,
)
from protocol.step import Now, Output
from protocol.tree import BlockTree, require_execution

PROTOCOL = "consensus"
_log = logging.getLogger(__name__)


class ConsensusService:
    """Orders transactions with the other validators and commits what is final.

    A node without a vote in the epoch, or whose vote file cannot be trusted, only listens.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        tree: BlockTree,
        submissions: Submissions,
        journal: VoteJournal,
        key: SigningKey | None,
        clock: Clock,
        is_clock_good: Callable[[], bool],
        offload: Offload,
        on_behind: Callable[[], None],
        on_foreign: Callable[[PublicKey], None],
        on_final: Callable[[Block, Finality], None],
    ) -> None:
        """`is_clock_good` is asked before each step: a node whose clock is off from the members' does not
        vote. `on_foreign` is called with a peer that says final what is no block known here."""
        self._transport, self._ledger, self._tree = transport, ledger, tree
        self._submissions, self._journal = submissions, journal
        self._clock, self._is_clock_good, self._offload = clock, is_clock_good, offload
        self._on_behind, self._on_foreign, self._on_final = on_behind, on_foreign, on_final
        self._key = key
        self._inbox = Inbox()
        self._forgers: set[PublicKey] = set()
        self._reconnected: set[PublicKey] = set()
        self._wake = trio.Event()
        self._turn = trio.Lock()
        self._learn_height: int | None = None
        self._has_stopped = False
        self._accuse: Callable[[Evidence], None] = lambda evidence: None
        self._accused: set[PublicKey] = set()
        self.machine = self._open_epoch()
        transport.serve_datagrams(PROTOCOL, self._receive, limit=limits.CONSENSUS_FRAME_BYTES_MAX)
        transport.on_connected(self._connected)
        submissions.on_added(self.wake)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while not self._has_stopped:
            await self._wait()
            async with self._turn:
                if not self._has_stopped:
                    await self._step()
        await trio.sleep_forever()

    def learn_through(self, height: int) -> None:
        """Before its chain is this high, the node does not vote: its disks may be older than it knows."""
        self._learn_height = height
        self._allow_votes()
        self.wake()

    def stop(self) -> None:
        """Nothing is signed or committed any more."""
        self._has_stopped = True
        self._allow_votes()
        self.wake()

    def on_evidence(self, callback: Callable[[Evidence], None]) -> None:
        """Calls `callback` with whatever convicts a validator, once for each vote key."""
        self._accuse = callback

    def wake(self) -> None:
        """Steps the machine soon: a message came, or work."""
        self._wake.set()

    async def adopt(self, blocks: Sequence[Block], finality: Finality) -> None:
        """Commits final blocks learned from others: consecutive, above the head, their headers verified.

        `finality` is that of the last. Blocks that are final here by now are skipped. Raises
        RemoteProtocolError where a block's contents are not those that its header commits to.
        """
        async with self._turn:
            blocks = [block for block in blocks if block.header.height > self._ledger.height]
            if not blocks or self._has_stopped:
                return
            for block in blocks:
                await self._submissions.check(block.transactions)
            blocks = self._tree.admit_final(blocks)
            machine, certificate = self.machine, finality.certificate
            ballot = machine.ballot
            if ballot is not None and certified_by_other(certificate, ballot, machine.committee):
                await self._retire(certificate.statement)
            await self._commit(blocks, finality)
            if self.machine is machine:
                await self._carry_out([machine.advance(blocks[-1].header, certificate, self.now())])

    def now(self) -> Now:
        return Now(self._clock.elapsed_ms(), self._clock.wall_ms())

    # Inbound.

    async def _receive(self, peer: PublicKey, payload: bytes) -> None:
        message = decode_consensus(payload)
        now_ms = self._clock.elapsed_ms()
        if peer in self._forgers:
            self._forgers.discard(peer)
            raise RemoteProtocolError("the peer sends signatures that do not verify")
        if (epoch_of(message) or 0) > self.machine.committee.epoch:
            self._on_behind()
        if self._is_foreign(final_block(message)):
            self._on_foreign(peer)
        match message:
            case Forward(submissions):
                if not self._inbox.may_forward(peer, len(submissions), now_ms):
                    raise RemoteProtocolError("the peer passes on too many transactions")
                await self._submissions.receive(peer, submissions)
            case Proposal(block) | BlockReply(block):
                await self._submissions.check(block.transactions)
        if self._inbox.put(Letter(peer, message, len(payload)), now_ms):
            self.wake()
        if isinstance(message, Proposal | BlockReply):
            await self._submissions.heed(message.block.transactions, peer)

    def _is_foreign(self, name: BlockHash | None) -> bool:
        """Whether a block of this name, said to be final, is none that is known here."""
        return name is not None and self._tree.block(name) is None and not self._ledger.holds(name)

    def _connected(self, peer: PublicKey) -> None:
        self._reconnected.add(peer)
        self.wake()

    # The turn.

    async def _wait(self) -> None:
        now = self.now()
        wake_ms = self.machine.wake_ms(now)
        heartbeat = self._ledger.head.header.time_ms + self._ledger.state.limits.heartbeat_ms
        until_heartbeat_ms = heartbeat - now.wall_ms
        waits_ms = [] if wake_ms is None else [wake_ms - now.elapsed_ms]
        if wake_ms is None or until_heartbeat_ms > 0:
            waits_ms.append(max(until_heartbeat_ms, 1))
        with trio.move_on_after(max(0, min(waits_ms, default=0)) / 1000):
            await self._wake.wait()
        self._wake = trio.Event()

    async def _step(self) -> None:
        self._allow_votes()
        now = self.now()
        wake_ms = self.machine.wake_ms(now)
        if wake_ms is not None and wake_ms <= now.elapsed_ms:
            self._tree.sweep(now)
        letters, outputs = self._inbox.take(), list[Output]()
        await self._look_for_copy([letter.message for letter in letters])
        for letter in letters:
            outputs.append(self.machine.receive(letter.message, self._index(letter.sender), now))
            if outputs[-1].is_forged:
                self._forgers.add(letter.sender)
        if not self._inbox.is_empty:
            self.wake()
        reconnected, self._reconnected = sorted(self._reconnected), set()
        for peer in reconnected:
            index = self._index(peer)
            if index is not None:
                outputs.append(self.machine.reconnected(index, now))
        outputs.append(self.machine.tick(now))
        self._tell_evidence()
        await self._carry_out(outputs)

    async def _carry_out(self, outputs: Sequence[Output]) -> None:
        """What the machine asked for: store, record, send, commit, in this order."""
        records = [output.record for output in outputs if output.record is not None]
        if records:
            blocks = [block for output in outputs for block in output.blocks]
            certificates = [item for output in outputs for item in output.certificates]
            save = partial(self._journal.save, records[-1], blocks, certificates)
            await once_there_is_room(self._offload, save)
        for output in outputs:
            for to, message in output.sends:
                self._send(to, message)
        for output in outputs:
            for final, finality in output.finalized:
                await self._commit(final, finality)
        if any(output.behind for output in outputs):
            self._on_behind()

    async def _look_for_copy(self, messages: Sequence[ConsensusMessage]) -> None:
        """Before anything is signed: did others hear this key say what this node does not remember?"""
        for message in messages:
            if self.machine.ballot is None:
                return
            statement = foreign_statement(message, self.machine.ballot, self.machine.committee)
            if statement is not None:
                await self._retire(statement)

    def _tell_evidence(self) -> None:
        for evidence in self.machine.tally.evidence:
            if evidence.vote_key not in self._accused:
                self._accused.add(evidence.vote_key)
                self._accuse(evidence)

    async def _retire(self, statement: Statement) -> None:
        loss = (
            f"its vote key signed in view {statement.view} what this node does not remember: "
            "it was put back from a copy, or a copy of it runs elsewhere"
        )
        _log.critical("no vote is cast any more: %s", loss)
        self.machine.ballot, self.is_learner = None, True
        await once_there_is_room(self._offload, lambda: self._journal.retire(loss))

    def _allow_votes(self) -> None:
        has_learned = self._learn_height is not None and self._ledger.height >= self._learn_height
        self.machine.may_vote = has_learned and not self._has_stopped and self._is_clock_good()

    def _send(self, to: int | None, message: ConsensusMessage) -> None:
        payload = encode(message)
        for peer in self._peers if to is None else (self._peers[to],):
            if peer != self._transport.identity:
                self._transport.send(peer, PROTOCOL, payload)

    def _index(self, peer: PublicKey) -> int | None:
        """The validator's index in the present epoch."""
        return self._peers.index(peer) if peer in self._peers else None

    def _open_epoch(self) -> Simplex:
        """The machine of the epoch that is open after the newest final block."""
        committee, head = self._ledger.membership.committee, self._ledger.head
        self._peers = self._ledger.membership.validators
        record = self._journal.load(committee.epoch)
        blocks, certificates = self._journal.candidates(committee.epoch)
        for block in blocks:
            self._tree.add(block)
        key = self._key
        self.is_learner = key is None or self._journal.is_lost or committee.index(key.public) is None
        finality = head.finality if head.header.epoch == committee.epoch else None
        machine = Simplex(
            committee=committee,
            limits=self._ledger.state.limits,
            chain=self._tree,
            root=head.header,
            root_certificate=None if finality is None else finality.certificate,
            key=None if self.is_learner else key,
            record=record,
            certificates=certificates,
        )
        machine.may_vote = False
        return machine

    async def _commit(self, blocks: Sequence[Block], finality: Finality) -> None:
        executed: list[ExecutedBlock] = []
        for block in blocks:
            name = block_hash(block.header)
            execution = require_execution(self._tree.execute(name, is_final=True))
            executed.append(ExecutedBlock(block, self._tree.transactions(name), execution))
        await self._ledger.commit(executed, finality)
        header = blocks[-1].header
        self._tree.move_root(header, executed[-1].execution.state)
        self._journal.forget_through(header.view)
        if self._ledger.membership.committee.epoch != self.machine.committee.epoch:
            self.machine = self._open_epoch()
            _log.info("epoch %d is open", self.machine.committee.epoch)
        self._allow_votes()
        self.wake()
        self._submissions.settle(blocks)
        self._on_final(blocks[-1], finality)
        _log.debug("height %d is final", header.height)
