"""A handful of consensus machines on a toy ledger and a hostile network, stepped by a seeded scheduler.

No trio, no clock, no store: messages are delayed, lost, duplicated and reordered at random; nodes
crash and come back with exactly what was durable. It checks safety while it runs.
"""

import random
from dataclasses import dataclass, field

from protocol.ballot import VoteRecord
from protocol.blocks import (
    NO_BLOCK,
    VERSION,
    Block,
    BlockHash,
    Certificate,
    Committee,
    Finality,
    Header,
    NetworkId,
    Phase,
    block_hash,
    is_tail,
)
from protocol.chain import build_tail
from protocol.codec import digest
from protocol.consensus import Simplex
from protocol.finality import verify_final
from protocol.keys import PublicKey, SigningKey
from protocol.limits import NetworkLimits
from protocol.messages.consensus import ConsensusMessage, Proposal, Vote, epoch_of
from protocol.step import Now, Output

NETWORK = NetworkId(digest("test", b"network"))
ROOT = Header(VERSION, NETWORK, 0, 0, 0, NO_BLOCK, 0, bytes(32), bytes(32), SigningKey(bytes(32)).public)

TIMEOUT_MS = 1_000
LOOK_MS = 5_000
CHANGE = b"change"


class ToyChain:
    """Blocks of named transactions; every block that follows is valid. One CHANGE closes an epoch."""

    def __init__(self, proposer: SigningKey, root: Header, epoch: int) -> None:
        self.proposer, self.root, self.epoch = proposer, root, epoch
        self.blocks: dict[BlockHash, Block] = {}
        self.pending: set[bytes] = set()

    def block(self, name: BlockHash) -> Block | None:
        return self.blocks.get(name)

    def base(self, name: BlockHash) -> BlockHash:
        header = self.header(name)
        parent = None if header is None else self.header(header.parent)
        is_tail = header is not None and parent is not None and header.height == parent.height
        return header.parent if header is not None and is_tail else name

    def closes_epoch(self, name: BlockHash) -> bool:
        block = self.blocks.get(name)
        return block is not None and closes(block)

    def add(self, block: Block) -> None:
        self.blocks[block_hash(block.header)] = block

    def header(self, name: BlockHash) -> Header | None:
        if name == block_hash(self.root):
            return self.root
        block = self.blocks.get(name)
        return None if block is None else block.header

    def is_valid(self, block: Block, now: Now) -> bool:
        header, parent = block.header, self.header(block.header.parent)
        if parent is None:
            return False
        if self._ends_here(header.parent):
            return not block.transactions and is_tail(header, parent)
        return (header.height, header.epoch) == (parent.height + 1, self.epoch)

    def propose(self, parent: BlockHash, view: int, now: Now) -> Block | None:
        above = self.header(parent)
        if above is None:
            return None
        if self._ends_here(parent):
            return build_tail(above, view=view, proposer=self.proposer.public, time_ms=now.wall_ms)
        waiting = sorted(self.pending - self._included(parent))
        changes = [item for item in waiting if item.startswith(CHANGE)]
        taken = tuple(item for item in waiting if item not in changes[1:])
        root = digest("toy", b"".join(taken))
        time_ms = max(above.time_ms + 1, now.wall_ms)
        header = Header(
            VERSION,
            NETWORK,
            self.epoch,
            view,
            above.height + 1,
            parent,
            time_ms,
            root,
            root,
            self.proposer.public,
        )
        return Block(header, taken, tuple(b"" for _ in taken))

    def has_work(self, parent: BlockHash, now: Now) -> bool:
        return not self._ends_here(parent) and bool(self.pending - self._included(parent))

    def _ends_here(self, name: BlockHash) -> bool:
        return name != block_hash(self.root) and self.closes_epoch(name)

    def _included(self, name: BlockHash) -> set[bytes]:
        included: set[bytes] = set()
        while (block := self.blocks.get(name)) is not None:
            included.update(block.transactions)
            name = block.header.parent
        return included


def closes(block: Block) -> bool:
    return any(item.startswith(CHANGE) for item in block.transactions)


@dataclass
class Disk:
    """What survives a crash."""

    record: VoteRecord | None = None
    blocks: list[Block] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    final: list[Block] = field(default_factory=list)
    finality: dict[int, Finality] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        return sum(map(closes, self.final))

    @property
    def root(self) -> Header:
        return self.final[-1].header if self.final else ROOT


@dataclass
class Node:
    key: SigningKey
    disk: Disk
    chain: ToyChain
    machine: Simplex
    up: bool = True


@dataclass(order=True)
class Delivery:
    at_ms: int
    order: int
    to: int = field(compare=False)
    sender: int = field(compare=False)
    message: ConsensusMessage = field(compare=False)


class World:
    """N validators; `committee` of epoch 0 may be given, to show that a smaller quorum forks.

    With four or more, a change of the committee leaves another one of them out: it follows.
    """

    def __init__(self, count: int, seed: int, *, committee: Committee | None = None) -> None:
        self.random = random.Random(seed)
        self.keys = [SigningKey(digest("seed", bytes((index,)))) for index in range(count)]
        self.committee = committee or Committee(NETWORK, 0, tuple(key.public for key in self.keys))
        self.now_ms, self.order, self.loss, self.looked_ms = 0, 0, 0.0, 0
        self.queue: list[Delivery] = []
        self.cut: set[tuple[int, int]] = set()
        self.spoken: dict[tuple[PublicKey, int, int, Phase], BlockHash] = {}
        self.final: dict[int, BlockHash] = {}
        self.nodes = [self._boot(key, Disk()) for key in self.keys]

    def committee_at(self, epoch: int) -> Committee:
        if epoch == 0:
            return self.committee
        keys = [key.public for key in self.keys]
        if len(keys) >= 4:
            del keys[epoch % len(keys)]
        return Committee(NETWORK, epoch, tuple(keys))

    @property
    def faults(self) -> int:
        """f of the newest committee that any node knows."""
        return self.committee_at(max(node.disk.epoch for node in self.nodes)).faults

    def _boot(self, key: SigningKey, disk: Disk) -> Node:
        chain = ToyChain(key, disk.root, disk.epoch)
        for block in disk.final + disk.blocks:
            chain.add(block)
        return Node(key, disk, chain, self._machine(key, disk, chain))

    def _machine(self, key: SigningKey, disk: Disk, chain: ToyChain) -> Simplex:
        committee, root = self.committee_at(disk.epoch), disk.root
        finality = disk.finality.get(root.height) if root.epoch == disk.epoch else None
        return Simplex(
            committee=committee,
            limits=NetworkLimits(view_timeout_ms=TIMEOUT_MS, view_timeout_max_ms=8 * TIMEOUT_MS),
            chain=chain,
            root=root,
            root_certificate=None if finality is None else finality.certificate,
            key=None if committee.index(key.public) is None else key,
            record=disk.record,
            certificates=[item for item in disk.certificates if item.statement.epoch == disk.epoch],
        )

    # Acts.

    def submit(self, transaction: bytes, *, to: int | None = None) -> None:
        for index, node in enumerate(self.nodes):
            if node.up and to in (None, index):
                node.chain.pending.add(transaction)
                self._carry_out(index, node.machine.tick(self._now()))

    def crash(self, index: int) -> None:
        self.nodes[index].up = False

    def restart(self, index: int) -> None:
        old = self.nodes[index]
        pending = old.chain.pending
        self.nodes[index] = self._boot(old.key, old.disk)
        self.nodes[index].chain.pending = pending
        for other, node in enumerate(self.nodes):
            if other != index and node.up:
                self._meet(other, index)
                self._meet(index, other)

    def _meet(self, index: int, other: int) -> None:
        node = self.nodes[index]
        at = node.machine.committee.index(self.keys[other].public)
        if at is not None:
            self._carry_out(index, node.machine.reconnected(at, self._now()))

    def run_until(self, deadline_ms: int) -> None:
        while self.now_ms < deadline_ms:
            self.step(deadline_ms)

    def step(self, deadline_ms: int) -> None:
        """Moves to the next delivery or timer and handles it."""
        if self.now_ms >= self.looked_ms + LOOK_MS:
            self.looked_ms = self.now_ms
            self._forward_again()
        timers = [
            (due, index)
            for index, node in enumerate(self.nodes)
            if node.up and (due := node.machine.wake_ms(self._now())) is not None
        ]
        timers.append((self.looked_ms + LOOK_MS, -1))
        next_timer = min(timers)
        next_delivery = self.queue[0].at_ms if self.queue else deadline_ms
        if min(next_timer[0], next_delivery) >= deadline_ms:
            self.now_ms = deadline_ms
        elif next_timer[0] <= next_delivery:
            self.now_ms = max(self.now_ms, next_timer[0])
            if next_timer[1] >= 0:
                node = self.nodes[next_timer[1]]
                self._carry_out(next_timer[1], node.machine.tick(self._now()))
        else:
            delivery = self.queue.pop(0)
            self.now_ms = max(self.now_ms, delivery.at_ms)
            if self.nodes[delivery.to].up and (delivery.sender, delivery.to) not in self.cut:
                self._receive(delivery)

    def _forward_again(self) -> None:
        """Every few seconds nodes look who is ahead, and pass on again what is not final."""
        up = [(index, node) for index, node in enumerate(self.nodes) if node.up]
        waiting = set().union(*(node.chain.pending for _, node in up))
        for index, node in up:
            self._catch_up(index)
            done = {item for block in node.disk.final for item in block.transactions}
            node.chain.pending |= waiting - done
            self._carry_out(index, node.machine.tick(self._now()))

    def _receive(self, delivery: Delivery) -> None:
        machine = self.nodes[delivery.to].machine
        if (epoch_of(delivery.message) or 0) > machine.committee.epoch:
            self._catch_up(delivery.to)
            machine = self.nodes[delivery.to].machine
        sender = machine.committee.index(self.keys[delivery.sender].public)
        self._carry_out(delivery.to, machine.receive(delivery.message, sender, self._now()))

    # Effects.

    def _now(self) -> Now:
        return Now(self.now_ms, self.now_ms)

    def _carry_out(self, index: int, output: Output) -> None:
        node = self.nodes[index]
        disk, committee = node.disk, node.machine.committee
        disk.blocks.extend(output.blocks)
        disk.certificates.extend(output.certificates)
        if output.record is not None:
            disk.record = output.record
        for to, message in output.sends:
            self._observe(message, committee)
            keys = committee.validators if to is None else (committee.validators[to],)
            for other, key in enumerate(self.keys):
                if other != index and key.public in keys:
                    self._send(index, other, message)
        for blocks, finality in output.finalized:
            self._finalize(index, blocks, finality)
        if output.behind:
            self._catch_up(index)

    def _send(self, sender: int, to: int, message: ConsensusMessage) -> None:
        copies = 0 if self.random.random() < self.loss else 1 + (self.random.random() < 0.02)
        for _ in range(copies):
            self.order += 1
            delay = 1 + int(self.random.expovariate(1 / 10))
            self.queue.append(Delivery(self.now_ms + delay, self.order, to, sender, message))
        self.queue.sort()

    def _finalize(self, index: int, blocks: tuple[Block, ...], finality: Finality) -> None:
        node = self.nodes[index]
        committee = self.committee_at(node.disk.epoch)
        verify_final(node.chain.root, [block.header for block in blocks], finality, committee)
        for block in blocks:
            header, name = block.header, block_hash(block.header)
            assert self.final.setdefault(header.height, name) == name, f"fork at height {header.height}"
            assert not closes(block) or block is blocks[-1], "an epoch that went on"
            node.chain.root = header
            node.chain.pending -= set(block.transactions)
            node.disk.final.append(block)
        node.disk.finality[blocks[-1].header.height] = finality
        if node.disk.epoch != node.machine.committee.epoch:
            node.chain.epoch = node.disk.epoch
            node.machine = self._machine(node.key, node.disk, node.chain)
            self._carry_out(index, node.machine.tick(self._now()))

    def _catch_up(self, index: int) -> None:
        """What the sync service does: takes final blocks by height from a peer that is ahead."""
        node = self.nodes[index]
        for other, peer in enumerate(self.nodes):
            while other != index and peer.up and peer.disk.root.height > node.disk.root.height:
                self._pull(index, peer.disk)

    def _pull(self, index: int, disk: Disk) -> None:
        """One reply: blocks of one epoch, the last with its finality."""
        node = self.nodes[index]
        height = node.disk.root.height
        epoch = [block for block in disk.final[height:] if block.header.epoch == node.disk.epoch]
        last = max(at for at in disk.finality if height < at <= epoch[-1].header.height)
        blocks, machine = tuple(disk.final[height:last]), node.machine
        for block in blocks:
            node.chain.add(block)
        self._finalize(index, blocks, disk.finality[last])
        if node.machine is machine:
            certificate = disk.finality[last].certificate
            self._carry_out(index, machine.advance(blocks[-1].header, certificate, self._now()))

    def _observe(self, message: ConsensusMessage, committee: Committee) -> None:
        """An outside collector of every statement signed: one block a view, never NULL and FINALIZE."""
        match message:
            case Vote(statement, signer):
                said, view, block = Phase(statement.phase), statement.view, statement.block
                key, epoch = committee.validators[signer], statement.epoch
            case Proposal(block_sent):
                header = block_sent.header
                said, view, block = Phase.VOTE, header.view, block_hash(header)
                key, epoch = header.proposer, header.epoch
            case _:
                return
        known = self.spoken.setdefault((key, epoch, view, said), block)
        assert known == block, f"a validator voted twice in view {view}"
        opposite = {Phase.NULL: Phase.FINALIZE, Phase.FINALIZE: Phase.NULL}.get(said)
        if opposite is not None:
            assert (key, epoch, view, opposite) not in self.spoken, "NULL and FINALIZE in one view"
