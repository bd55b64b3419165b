"""The consensus machine under any order of events, with up to f validators that sign whatever they like.

Hypothesis chooses every step: which messages arrive, are lost or come twice, whose time passes, who crashes
(between two messages, or with its record written and nothing sent) and comes back with what was durable,
and what the hostile say to whom. After each step the oracle's rules hold; at the end the network heals,
and all that is left must become final everywhere.
"""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.blocks import (
    NO_BLOCK,
    VERSION,
    Block,
    BlockHash,
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    sign_statement,
)
from protocol.codec import digest
from protocol.consensus import Simplex
from protocol.keys import PublicKey
from protocol.messages.consensus import BlockReply, ConsensusMessage, Proposal, Relay, Vote
from protocol.step import Output
from tests.consensus_world import NETWORK, ROOT, TIMEOUT_MS, World
from tests.property.consensus_oracle import Oracle

IN_FLIGHT_MAX = 600
VIEWS_ROUND = 3
ROUNDS_TO_HEAL = 400

dice = st.integers(0, 2**32 - 1)
nodes = st.integers(0, 6)
mostly = st.sampled_from([True, True, True, False])


class Lab(World):
    """The world's machines and disks, with messages that wait until somebody delivers or loses them."""

    def __init__(self, count: int, hostile: frozenset[int], committee: Committee | None = None) -> None:
        self.flight: list[tuple[int, int, ConsensusMessage]] = []
        self.log: list[ConsensusMessage] = []
        self.frail: set[int] = set()
        super().__init__(count, 0, committee=committee)
        self.hostile = hostile
        self.oracle = Oracle(self.committee, hostile, block_hash(ROOT))
        for index in hostile:
            self.nodes[index].up = False

    @property
    def correct(self) -> list[int]:
        return [index for index in range(len(self.nodes)) if index not in self.hostile]

    def deliver(self, at: int) -> None:
        """Hands over the message at this place of those in flight."""
        to, sender, message = self.flight.pop(at % len(self.flight))
        if self.nodes[to].up:
            self._carry_out(to, self.nodes[to].machine.receive(message, sender, self._now()))

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        for index, node in enumerate(self.nodes):
            if node.up:
                self._carry_out(index, node.machine.tick(self._now()))

    def say(self, sender: int, to: int, message: ConsensusMessage) -> None:
        """A hostile validator's own message to one other."""
        self.log.append(message)
        self._send(sender, to, message)

    def _carry_out(self, index: int, output: Output) -> None:
        if index in self.frail and output.record is not None:
            self.frail.discard(index)
            disk = self.nodes[index].disk
            disk.blocks.extend(output.blocks)
            disk.certificates.extend(output.certificates)
            disk.record = output.record
            for block in output.blocks:
                self.oracle.see_block(block)
            self.crash(index)
            return
        for _, message in output.sends:
            self.oracle.hear(index, message)
            self.log.append(message)
        super()._carry_out(index, output)

    def _send(self, sender: int, to: int, message: ConsensusMessage) -> None:
        if to not in self.hostile and len(self.flight) < IN_FLIGHT_MAX:
            self.flight.append((to, sender, message))

    def _finalize(self, index: int, blocks: tuple[Block, ...], finality: Finality) -> None:
        self.oracle.finalize(blocks, finality.certificate)
        super()._finalize(index, blocks, finality)


class ConsensusMachine(RuleBasedStateMachine):
    lab: Lab

    @initialize(
        count=st.sampled_from([4, 5, 7, 4, 4, 6, 3, 2, 1]),
        hostile=mostly,
        seed=dice,
        acts=st.integers(50, 150),
    )
    def begin(self, count: int, hostile: bool, seed: int, acts: int) -> None:
        few = random.Random(seed).sample(range(count), (count - 1) // 3 if hostile else 0)
        self.lab = Lab(count, frozenset(few))
        self.submitted = 0
        self.much_at_once(seed, acts)

    def _node(self, number: int) -> int:
        correct = self.lab.correct
        return correct[number % len(correct)]

    # The network and the machines.

    @rule(to=nodes)
    def submit(self, to: int) -> None:
        self.submitted += 1
        self.lab.submit(b"transaction %d" % self.submitted, to=self._node(to))

    @rule(seed=dice, count=st.integers(1, 40), doubled=st.booleans())
    def deliver(self, seed: int, count: int, doubled: bool) -> None:
        order = random.Random(seed)
        for _ in range(count):
            if self.lab.flight:
                at = order.randrange(len(self.lab.flight))
                if doubled and order.random() < 0.1:
                    self.lab.flight.append(self.lab.flight[at])
                self.lab.deliver(at)

    @rule(seed=dice, share=st.sampled_from([0.1, 0.5, 1.0]), to=nodes)
    def lose(self, seed: int, share: float, to: int) -> None:
        order, victim = random.Random(seed), self._node(to)
        self.lab.flight = [item for item in self.lab.flight if item[0] != victim or order.random() >= share]

    @rule(ms=st.sampled_from([10, TIMEOUT_MS // 3, TIMEOUT_MS + 1, 9 * TIMEOUT_MS]))
    def pass_time(self, ms: int) -> None:
        self.lab.pass_time(ms)

    @rule(seed=dice)
    def run_well(self, seed: int) -> None:
        """A while in which everything arrives, so that long chains come about too."""
        self._run(random.Random(seed), VIEWS_ROUND)

    def _run(self, order: random.Random, rounds: int) -> None:
        for _ in range(rounds):
            for _ in range(len(self.lab.flight)):
                if self.lab.flight:
                    self.lab.deliver(order.randrange(len(self.lab.flight)))
            self.lab.pass_time(TIMEOUT_MS // 2)

    @rule(who=nodes)
    def crash(self, who: int) -> None:
        self.lab.crash(self._node(who))

    @rule(who=nodes)
    def crash_once_the_record_is_written(self, who: int) -> None:
        self.lab.frail.add(self._node(who))

    @rule(who=nodes)
    def come_back(self, who: int) -> None:
        node = self._node(who)
        if not self.lab.nodes[node].up:
            self.lab.restart(node)

    @rule(seed=dice, count=st.integers(5, 40))
    def much_at_once(self, seed: int, count: int) -> None:
        """So many acts by dice: what takes more steps than one could write down here."""
        order = random.Random(seed)

        def number() -> int:
            return order.getrandbits(32)

        for _ in range(count):
            match order.randrange(14):
                case 0 | 1:
                    self.submit(number())
                case 2 | 3 | 4:
                    self.deliver(number(), order.randint(1, 40), True)
                case 5:
                    self.lose(number(), order.choice((0.1, 0.5, 1.0)), number())
                case 6 | 7:
                    self.pass_time(order.choice((10, TIMEOUT_MS // 3, TIMEOUT_MS + 1)))
                case 8:
                    self.run_well(number())
                case 9:
                    order.choice((self.crash, self.crash_once_the_record_is_written))(number())
                case 10 | 11:
                    for place in range(len(self.lab.correct)):
                        self.come_back(place)
                case _ if self.lab.hostile:
                    self._do_evil(order)
            self.lab.oracle.check_chains()

    # The hostile.

    def _do_evil(self, order: random.Random) -> None:
        seed = order.getrandbits(32)
        match order.randrange(4):
            case 0:
                self.sign_anything(seed, order.choice(list(Phase)), order.randint(-2, 2), 1.0)
            case 1:
                self.propose_twice(seed, order.randint(0, 2))
            case 2:
                self.replay(seed, 10)
            case _:
                self.show_a_certificate_to_one(seed, order.random() < 0.5)

    def _has_hostile(self) -> bool:
        return bool(self.lab.hostile)

    def _newest_view(self) -> int:
        return max(self.lab.nodes[index].machine.view for index in self.lab.correct)

    @precondition(_has_hostile)
    @rule(
        seed=dice, phase=st.sampled_from(Phase), ahead=st.integers(-2, 2), share=st.sampled_from([0.5, 1.0])
    )
    def sign_anything(self, seed: int, phase: Phase, ahead: int, share: float) -> None:
        """Any statement of any view, to some."""
        order, lab = random.Random(seed), self.lab
        view = max(1, self._newest_view() + ahead)
        known = sorted(lab.oracle.parents) or [block_hash(ROOT)]
        for liar in sorted(lab.hostile):
            block = NO_BLOCK if phase == Phase.NULL else order.choice(known[-6:])
            statement = Statement(0, view, int(phase), block)
            vote = Vote(statement, liar, sign_statement(statement, lab.keys[liar], lab.committee.network))
            for to in lab.correct:
                if order.random() < share:
                    lab.say(liar, to, vote)

    @precondition(_has_hostile)
    @rule(seed=dice, depth=st.integers(0, 2))
    def propose_twice(self, seed: int, depth: int) -> None:
        """Two blocks for the next view that a hostile one leads, each to some; on the tip, or on a block
        `depth` below it, which may not be extended any more."""
        order, lab = random.Random(seed), self.lab
        newest = self._newest_view()
        leader, view = min(
            ((lab.committee.leader(view), view) for view in range(newest, newest + len(lab.nodes))),
            key=lambda pair: (pair[0] not in lab.hostile, pair[1]),
        )
        machine = lab.nodes[order.choice(lab.correct)].machine
        parent = (machine.certificates.notarized_blocks() or [machine.certificates.root_hash])[-1]
        for _ in range(depth):
            parent = lab.oracle.parents.get(parent, parent)
        for number in range(2):
            proposal = self._make(machine, leader, view, parent, number)
            if proposal is None:
                return
            for to in lab.correct:
                if order.random() < 0.6:
                    lab.say(leader, to, proposal)
                    lab.say(leader, to, BlockReply(proposal.block))

    def _make(
        self, machine: Simplex, leader: int, view: int, parent: BlockHash, number: int
    ) -> Proposal | None:
        lab = self.lab
        headers = [node.chain.header(parent) for node in lab.nodes]
        above = next((header for header in headers if header is not None), None)
        if above is None:
            return None
        root = digest("toy", b"hostile %d" % number)
        header = Header(
            VERSION,
            NETWORK,
            0,
            view,
            above.height + 1,
            parent,
            above.time_ms + 1 + number,
            root,
            root,
            lab.keys[leader].public,
        )
        block = Block(header, (), ())
        lab.oracle.see_block(block)
        statement = Statement(0, view, int(Phase.VOTE), block_hash(header))
        signature = sign_statement(statement, lab.keys[leader], lab.committee.network)
        certificates = machine.certificates.all()
        nulls = tuple(item for item in certificates if item.statement.phase == Phase.NULL)
        parents = [item for item in certificates if item.statement.block == parent]
        return Proposal(block, parents[-1] if parents else None, nulls, signature)

    @precondition(_has_hostile)
    @rule(seed=dice, count=st.integers(1, 30))
    def replay(self, seed: int, count: int) -> None:
        """Anything that was ever said, to anyone, out of a hostile mouth."""
        order, lab = random.Random(seed), self.lab
        for _ in range(count if lab.log else 0):
            lab._send(min(lab.hostile), order.choice(lab.correct), order.choice(lab.log[-200:]))

    @precondition(_has_hostile)
    @rule(seed=dice, forged=st.booleans())
    def show_a_certificate_to_one(self, seed: int, forged: bool) -> None:
        """A certificate of all votes ever said, which nobody else may have yet; or a false one."""
        order, lab = random.Random(seed), self.lab
        agreeing: dict[Statement, dict[int, bytes]] = {}
        for message in lab.log:
            if isinstance(message, Vote):
                agreeing.setdefault(message.statement, {})[message.signer] = message.signature
        count = lab.committee.quorum - forged
        made = [(statement, votes) for statement, votes in agreeing.items() if len(votes) >= max(count, 1)]
        if not made:
            return
        statement, votes = order.choice(made[-8:])
        signers = sorted(votes)[:count]
        signatures = tuple(votes[signer] for signer in signers)
        if forged and order.random() < 0.5:
            absent = next(index for index in range(len(lab.nodes)) if index not in signers)
            signers = sorted((*signers, absent))
            signatures = (*signatures, order.randbytes(64))
        certificate = Certificate(statement, sum(1 << signer for signer in signers), signatures)
        if not forged:
            lab.oracle.check_certificate(certificate)
        lab._send(min(lab.hostile), order.choice(lab.correct), Relay(certificate))

    # The rules.

    @invariant()
    def what_may_be_final_stays(self) -> None:
        if hasattr(self, "lab"):
            self.lab.oracle.check_chains()

    def teardown(self) -> None:
        """All are up and everything arrives: what was submitted is final everywhere."""
        if not hasattr(self, "lab"):
            return
        lab, order = self.lab, random.Random(0)
        lab.frail.clear()
        for index in lab.correct:
            if not lab.nodes[index].up:
                lab.restart(index)
        for index in lab.correct:
            lab.submit(b"last", to=index)
        for _ in range(ROUNDS_TO_HEAL):
            self._run(order, 1)
            heights = {lab.nodes[index].chain.root.height for index in lab.correct}
            if len(heights) == 1 and not any(lab.nodes[index].chain.pending for index in lab.correct):
                break
        else:
            raise AssertionError(f"no convergence: heights {heights}")
        lab.oracle.check_chains()


ConsensusMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestConsensus = ConsensusMachine.TestCase


@pytest.mark.parametrize("count", range(1, 65))
def test_quorums_overlap_in_a_correct_validator_and_never_need_the_hostile(count: int) -> None:
    """L10."""
    validators = tuple(PublicKey(b"\x01" + number.to_bytes(32, "big")) for number in range(count))
    committee = Committee(NETWORK, 0, validators)
    assert committee.faults == (count - 1) // 3
    assert 2 * committee.quorum - count >= committee.faults + 1
    assert committee.quorum <= count - committee.faults
