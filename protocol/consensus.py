"""Simplex consensus (Chan & Pass, TCC 2023) as a state machine: messages and time in, effects out.

A view ends in one of two certificates. q votes for its leader's block *notarize* the block; q NULL
votes *nullify* the view. Either lets everyone into the next view. A validator that enters the next
view through a notarization, without having voted NULL, signs FINALIZE; q of those make the block and
all its ancestors final. Since nobody signs both NULL and FINALIZE in one view, and any two quorums
share an honest validator, a final block's view was never nullified: every later block extends it.

The machine signs nothing before handing out the record of it: an `Output` whose `record` is set must
have its `blocks` and `certificates` durable, then the record, before any of its `sends` leaves the
process. The record keeps a validator from contradicting itself after a crash; the blocks and
certificates let the network go on after a power loss of all.
"""

from collections.abc import Sequence

from protocol.ballot import Ballot, VoteRecord
from protocol.blocks import (
    NO_BLOCK,
    Block,
    BlockHash,
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    leader_order,
    verify_certificate,
    verify_statement,
)
from protocol.certificates import Certificates
from protocol.keys import SigningKey
from protocol.limits import NetworkLimits
from protocol.messages.consensus import (
    BlockReply,
    BlockRequest,
    ConsensusMessage,
    Forward,
    Proposal,
    Relay,
    Vote,
)
from protocol.pace import Pace
from protocol.step import Chain, Now, Output
from protocol.tally import Tally

VIEWS_AHEAD_MAX = 512


class Simplex:
    """One node's part in one epoch. A node without a vote (`key` None) follows silently.

    Once the block that closes the epoch is final, the machine `is_closed`: the next committee has one of
    its own, with that block as its root and no certificate for it.
    """

    def __init__(
        self,
        *,
        committee: Committee,
        limits: NetworkLimits,
        chain: Chain,
        root: Header,
        root_certificate: Certificate | None,
        key: SigningKey | None,
        record: VoteRecord | None,
        certificates: Sequence[Certificate] = (),
    ) -> None:
        """`certificates` are verified ones above the root, as stored with the record."""
        self.committee, self.limits, self.chain = committee, limits, chain
        self.certificates = Certificates(root, root_certificate)
        self.tally = Tally(committee)
        self.ballot = None if key is None else Ballot(committee, key, record)
        self.may_vote = True
        self.view = max(root.view + 1, 0 if self.ballot is None else self.ballot.record.view)
        self._unsaved: list[Certificate] = []
        for certificate in certificates:
            if self.certificates.is_news(certificate):
                self.certificates.add(certificate)
                self.view = max(self.view, certificate.statement.view + 1)
        # Statements from before a restart count like those of others.
        self._restored = [] if self.ballot is None else self.ballot.standing(self.view, root.view)
        self._leaders = leader_order(committee)
        self._proposals: dict[int, Proposal] = {}
        self._requested: set[BlockHash] = set()
        self.is_closed = False
        self._silent: list[int] = []
        self._pace = Pace(limits)
        self._output = Output()

    # Inputs. Each returns what it asks of the world.

    def receive(self, message: ConsensusMessage, sender: int | None, now: Now) -> Output:
        """A decoded message from a peer; `sender` is its validator index, or None."""
        if sender in self._silent:
            self._silent.remove(sender)
        match message:
            case Proposal():
                self._receive_proposal(message, now)
            case Vote():
                self._receive_vote(message, sender, now)
            case Relay(certificate):
                self._receive_certificate(certificate, now)
            case BlockRequest(name):
                block = self.chain.block(name)
                if block is not None and sender is not None:
                    self._output.sends.append((sender, BlockReply(block)))
            case BlockReply(block):
                self._receive_block(block)
            case Forward():
                pass  # The mempool's, not ours; that it came shows that work may be waiting.
        return self._finish(now)

    def tick(self, now: Now) -> Output:
        """Time has passed, or work may have arrived."""
        if self._pace.is_over(now.elapsed_ms):
            self._time_out(now)
        return self._finish(now)

    def advance(self, root: Header, certificate: Certificate, now: Now) -> Output:
        """The node learned from others that `root` is final by its own `certificate`, and applied it."""
        if root.height > self.certificates.root.height:
            self._move_root(root, certificate)
            if self.view <= root.view:
                self._enter(root.view + 1, now)
        return self._finish(now)

    def reconnected(self, peer: int, now: Now) -> Output:
        """A validator's connection came up: tell it where we stand, and what we heard it say."""
        self._output.sends.extend((peer, message) for message in self._standing())
        self._output.sends.extend((peer, vote) for vote in self.tally.statements_of(peer))
        return self._finish(now)

    def wake_ms(self, now: Now) -> int | None:
        """When `tick` must be called next, on the elapsed clock; None while nothing is due."""
        return None if self.is_closed else self._pace.wake_ms(now.elapsed_ms)

    # Messages.

    def _receive_proposal(self, proposal: Proposal, now: Now) -> None:
        header = proposal.block.header
        if not self._is_in_reach(header.view) or header.epoch != self.committee.epoch:
            return
        leader = self._leader(header.view)
        key = self.committee.validators[leader]
        statement = Statement(header.epoch, header.view, Phase.VOTE, block_hash(header))
        if header.proposer != key:
            return
        if not verify_statement(statement, proposal.signature, key, self.committee.network):
            self._output.is_forged = True
            return
        if proposal.parent is not None:
            self._receive_certificate(proposal.parent, now)
        for certificate in proposal.nullifications:
            self._receive_certificate(certificate, now)
        # Of a leader that signs two blocks only the first is kept; the other is fetched by hash if
        # it should be notarized.
        if self._is_in_reach(header.view) and header.view not in self._proposals:
            self._proposals[header.view] = proposal
            self.chain.add(proposal.block)
        self._count(Vote(statement, leader, proposal.signature), now)
        self._resolve(now)

    def _receive_vote(self, vote: Vote, sender: int | None, now: Now) -> None:
        view, known = vote.statement.view, self.certificates.root_certificate
        if self._is_in_reach(view):
            self._count(vote, now)
        elif sender is not None and known is not None and view <= self.certificates.root.view:
            # The peer is behind what is final: the newest certificate tells it so.
            self._output.sends.append((sender, Relay(known)))

    def _receive_certificate(self, certificate: Certificate, now: Now) -> None:
        if not self.certificates.is_news(certificate):
            return
        if verify_certificate(certificate, self.committee):
            self._learn(certificate, now)
        elif certificate.statement.epoch == self.committee.epoch:
            self._output.is_forged = True

    def _receive_block(self, block: Block) -> None:
        name = block_hash(block.header)
        if name in self._requested:
            self._requested.discard(name)
            self.chain.add(block)

    def _count(self, vote: Vote, now: Now) -> None:
        certificate = self.tally.add(vote)
        self._output.is_forged |= self.tally.is_forged
        if certificate is not None:
            self._learn(certificate, now)

    def _learn(self, certificate: Certificate, now: Now) -> None:
        """Takes in a verified certificate of a view after the root's."""
        self.tally.mark_certified(certificate)
        self.certificates.add(certificate)
        self._unsaved.append(certificate)
        if certificate.statement.phase != Phase.NULL:
            self._request(certificate.statement.block)
        ended = certificate.statement.view
        if ended >= self.view:
            self._enter(ended + 1, now)
            self._output.broadcast(Relay(certificate))
            if certificate.statement.phase == Phase.VOTE:
                self._sign_finalize(ended, certificate.statement.block, now)
        self._resolve(now)

    # Finality.

    def _resolve(self, now: Now) -> None:
        """Finalizes and votes as far as the blocks that are here allow."""
        if self.certificates.unresolved is not None:
            self._finalize(self.certificates.unresolved)
        self._vote(now)

    def _finalize(self, certificate: Certificate) -> None:
        path = self._path(certificate.statement.block)
        if path is None:
            self._output.behind = True
            return
        last = certificate.statement.block
        base = self.chain.base(last)
        tail = None if base == last else path.pop().header
        self._output.finalized.append((tuple(path), Finality(certificate, tail)))
        self.is_closed = self.chain.closes_epoch(base)
        self._move_root(path[-1].header, certificate)
        self._pace.succeed()

    def _path(self, name: BlockHash) -> list[Block] | None:
        """The blocks from the root's child to `name`; None, and asked for, where one is missing."""
        path: list[Block] = []
        while name != self.certificates.root_hash:
            block = self.chain.block(name)
            if block is None:
                self._request(name)
                return None
            if block.header.height <= self.certificates.root.height:
                return None
            path.append(block)
            name = block.header.parent
        path.reverse()
        return path

    def _move_root(self, root: Header, certificate: Certificate) -> None:
        self.certificates.set_root(root, certificate)
        self.tally.forget_through(root.view)
        if self.ballot is not None:
            self.ballot.forget_through(root.view)
        self._requested &= set(self.certificates.notarized_blocks())
        self._proposals = {view: item for view, item in self._proposals.items() if view > root.view}

    def _request(self, name: BlockHash) -> None:
        if name not in self._requested and self.chain.block(name) is None:
            self._requested.add(name)
            self._output.broadcast(BlockRequest(name))

    # The current view.

    def _enter(self, view: int, now: Now) -> None:
        self.view = view
        self._pace.enter(now.elapsed_ms)

    def _vote(self, now: Now) -> None:
        """Votes for the leader's block of this view, at most once, if it is justified and valid."""
        proposal, ballot = self._proposals.get(self.view), self._signing()
        if proposal is None or ballot is None or ballot.voted(self.view) != NO_BLOCK:
            return
        header = proposal.block.header
        follows = self.certificates.allows(header.parent, self.view, self.chain.base)
        is_known = follows and self._path(header.parent) is not None
        if is_known and self.chain.is_valid(proposal.block, now):
            vote = ballot.vote(self.view, block_hash(header))
            self._output.blocks.append(proposal.block)
            self._publish(vote, now)

    def _propose(self, now: Now) -> None:
        ballot = self._signing()
        if ballot is None or self._leader(self.view) != ballot.index or ballot.voted(self.view) != NO_BLOCK:
            return
        tip = self.certificates.tip(self.view)
        if tip is None or self._path(tip) is None:
            return
        parent = self.chain.base(tip)
        block = self.chain.propose(parent, self.view, now) if self._should_propose(parent, now) else None
        if block is None:
            return
        self.chain.add(block)
        vote = ballot.vote(self.view, block_hash(block.header))
        proposal = Proposal(block, *self.certificates.justification(self.view), vote.signature)
        self._proposals[self.view] = proposal
        self._output.blocks.append(block)
        self._output.record = ballot.record
        self._output.broadcast(proposal)
        self._count(vote, now)

    def _should_propose(self, parent: BlockHash, now: Now) -> bool:
        if self.chain.has_work(parent, now):
            return True
        # A notarized block whose finalization does not come needs a child to become final.
        return parent != self.certificates.root_hash and self._pace.is_patience_over(now.elapsed_ms)

    def _null_silent_leader(self, now: Now) -> None:
        ballot = self._signing()
        if ballot is None or self._leader(self.view) not in self._silent:
            return
        if not ballot.has_nulled(self.view) and self._has_work(now):
            self._publish(ballot.null(self.view), now)

    # Time.

    def _time_out(self, now: Now) -> None:
        self._pace.fail()
        self._requested.clear()
        ballot, leader = self._signing(), self._leader(self.view)
        vote: Vote | None = None
        if ballot is not None and not ballot.has_nulled(self.view):
            if leader != ballot.index and not self.tally.has_spoken(self.view, leader):
                self._mark_silent(leader)
            vote = ballot.null(self.view)
            self._output.record = ballot.record
        for message in self._standing():
            self._output.broadcast(message)
        if vote is not None:
            self._count(vote, now)

    def _mark_silent(self, leader: int) -> None:
        if leader not in self._silent and self.committee.faults:
            self._silent = [*self._silent, leader][-self.committee.faults :]

    def _standing(self) -> list[ConsensusMessage]:
        """What a peer may have missed: certificates, our own statements, requests still open."""
        messages: list[ConsensusMessage] = [Relay(item) for item in self.certificates.all()]
        wanted = self.certificates.notarized_blocks()
        messages.extend(BlockRequest(name) for name in wanted if self.chain.block(name) is None)
        self._requested.update(name for name in wanted if self.chain.block(name) is None)
        ballot = self._signing()
        if ballot is not None:
            messages.extend(ballot.standing(self.view, self.certificates.root.view))
            if self._leader(self.view) == ballot.index and self.view in self._proposals:
                messages.append(self._proposals[self.view])
        return messages

    def _has_work(self, now: Now) -> bool:
        tip = self.certificates.tip(self.view)
        if tip is None or tip != self.certificates.root_hash or self.certificates.unresolved is not None:
            return True
        return self.tally.is_active(self.view) or self.chain.has_work(tip, now)

    def _finish(self, now: Now) -> Output:
        """Does what is due in this view, and in those that it leads to, and hands out what was asked."""
        while self._restored:
            self._count(self._restored.pop(), now)
        view = 0
        while view != self.view and not self.is_closed:
            view = self.view
            self._resolve(now)
            self._propose(now)
            self._null_silent_leader(now)
        self._pace.run(now.elapsed_ms, has_work=self._has_work(now))
        output, self._output = self._output, Output()
        if output.record is not None:
            output.certificates, self._unsaved = self._unsaved, []
        elif self._signing() is None:
            # Nothing is signed that would rest on them, perhaps never: only those above the root stay.
            root_view = self.certificates.root.view
            self._unsaved = [item for item in self._unsaved if item.statement.view > root_view]
        return output

    # Signing. What is signed here is in the record that leaves with the same output.

    def _signing(self) -> Ballot | None:
        return self.ballot if self.may_vote and not self.is_closed else None

    def _publish(self, vote: Vote, now: Now) -> None:
        assert self.ballot is not None
        self._output.record = self.ballot.record
        self._output.broadcast(vote)
        self._count(vote, now)

    def _sign_finalize(self, view: int, block: BlockHash, now: Now) -> None:
        ballot = self._signing()
        if ballot is not None and not ballot.has_nulled(view):
            self._publish(ballot.finalize(view, block), now)

    def _leader(self, view: int) -> int:
        return self._leaders[view % len(self._leaders)]

    def _is_in_reach(self, view: int) -> bool:
        return self.certificates.root.view < view <= self.view + VIEWS_AHEAD_MAX
