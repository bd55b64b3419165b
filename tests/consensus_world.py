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
    Header,
    NetworkId,
    Phase,
    block_hash,
    verify_certificate,
)
from protocol.codec import digest
from protocol.consensus import Simplex
from protocol.keys import SigningKey
from protocol.limits import NetworkLimits
from protocol.messages.consensus import ConsensusMessage, Proposal, Vote
from protocol.step import Now, Output

NETWORK = NetworkId(digest("test", b"network"))
ROOT = Header(VERSION, NETWORK, 0, 0, 0, NO_BLOCK, 0, bytes(32), bytes(32), SigningKey(bytes(32)).public)

TIMEOUT_MS = 1_000


class ToyChain:
    """Blocks whose one transaction is a number; every block on a known parent is valid."""

    def __init__(self, proposer: SigningKey, tag: int) -> None:
        self.proposer, self.tag = proposer, tag
        self.blocks: dict[BlockHash, Block] = {}
        self.pending: set[bytes] = set()
        self.root = ROOT

    def block(self, name: BlockHash) -> Block | None:
        return self.blocks.get(name)

    def add(self, block: Block) -> None:
        self.blocks[block_hash(block.header)] = block

    def header(self, name: BlockHash) -> Header | None:
        if name == block_hash(self.root):
            return self.root
        block = self.blocks.get(name)
        return None if block is None else block.header

    def is_valid(self, block: Block, now: Now) -> bool:
        parent = self.header(block.header.parent)
        return parent is not None and block.header.height == parent.height + 1

    def propose(self, parent: BlockHash, view: int, now: Now) -> Block | None:
        above = self.header(parent)
        if above is None:
            return None
        waiting = tuple(sorted(self.pending - self._included(parent)))
        root = digest("toy", b"".join(waiting))
        time_ms = max(above.time_ms + 1, now.wall_ms)
        header = Header(
            VERSION, NETWORK, 0, view, above.height + 1, parent, time_ms, root, root, self.proposer.public
        )
        return Block(header, waiting, tuple(b"" for _ in waiting))

    def has_work(self, parent: BlockHash, now: Now) -> bool:
        return bool(self.pending - self._included(parent))

    def _included(self, name: BlockHash) -> set[bytes]:
        included: set[bytes] = set()
        while (block := self.blocks.get(name)) is not None:
            included.update(block.transactions)
            name = block.header.parent
        return included


@dataclass
class Disk:
    """What survives a crash."""

    record: VoteRecord | None = None
    blocks: list[Block] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    final: list[Block] = field(default_factory=list)
    final_certificate: Certificate | None = None


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
    """N validators; `quorum` overrides the committee's, to show that a smaller one forks."""

    def __init__(self, count: int, seed: int, *, committee: Committee | None = None) -> None:
        self.random = random.Random(seed)
        self.keys = [SigningKey(digest("seed", bytes((index,)))) for index in range(count)]
        validators = tuple(key.public for key in self.keys)
        self.committee = committee or Committee(NETWORK, 0, validators)
        self.now_ms, self.order, self.loss = 0, 0, 0.0
        self.queue: list[Delivery] = []
        self.cut: set[tuple[int, int]] = set()
        self.spoken: dict[tuple[int, int, Phase], BlockHash] = {}
        self.final: dict[int, BlockHash] = {}
        self.nodes = [self._boot(key, Disk()) for key in self.keys]

    def _boot(self, key: SigningKey, disk: Disk) -> Node:
        chain = ToyChain(key, 0)
        for block in disk.final + disk.blocks:
            chain.add(block)
        chain.root = disk.final[-1].header if disk.final else ROOT
        machine = Simplex(
            committee=self.committee,
            limits=NetworkLimits(view_timeout_ms=TIMEOUT_MS, view_timeout_max_ms=8 * TIMEOUT_MS),
            chain=chain,
            root=chain.root,
            root_certificate=disk.final_certificate,
            key=key,
            record=disk.record,
            certificates=disk.certificates,
        )
        return Node(key, disk, chain, machine)

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
                self._carry_out(other, node.machine.reconnected(index, self._now()))
                self._carry_out(index, self.nodes[index].machine.reconnected(other, self._now()))

    def run_until(self, deadline_ms: int) -> None:
        while self.now_ms < deadline_ms:
            self.step(deadline_ms)

    def step(self, deadline_ms: int) -> None:
        """Moves to the next delivery or timer and handles it."""
        timers = [
            (due, index)
            for index, node in enumerate(self.nodes)
            if node.up and (due := node.machine.wake_ms(self._now())) is not None
        ]
        next_timer = min(timers, default=(deadline_ms, -1))
        next_delivery = self.queue[0].at_ms if self.queue else deadline_ms
        if min(next_timer[0], next_delivery) >= deadline_ms:
            self.now_ms = deadline_ms
        elif next_timer[0] <= next_delivery:
            self.now_ms = max(self.now_ms, next_timer[0])
            node = self.nodes[next_timer[1]]
            self._carry_out(next_timer[1], node.machine.tick(self._now()))
        else:
            delivery = self.queue.pop(0)
            self.now_ms = max(self.now_ms, delivery.at_ms)
            node = self.nodes[delivery.to]
            if node.up and (delivery.sender, delivery.to) not in self.cut:
                self._carry_out(
                    delivery.to, node.machine.receive(delivery.message, delivery.sender, self._now())
                )

    # Effects.

    def _now(self) -> Now:
        return Now(self.now_ms, self.now_ms)

    def _carry_out(self, index: int, output: Output) -> None:
        disk = self.nodes[index].disk
        disk.blocks.extend(output.blocks)
        disk.certificates.extend(output.certificates)
        if output.record is not None:
            disk.record = output.record
        for blocks, certificate in output.finalized:
            self._finalize(index, blocks, certificate)
        for to, message in output.sends:
            self._observe(message)
            for other in range(len(self.nodes)) if to is None else (to,):
                if other != index:
                    self._send(index, other, message)
        if output.behind:
            self._catch_up(index)

    def _send(self, sender: int, to: int, message: ConsensusMessage) -> None:
        copies = 0 if self.random.random() < self.loss else 1 + (self.random.random() < 0.02)
        for _ in range(copies):
            self.order += 1
            delay = 1 + int(self.random.expovariate(1 / 10))
            self.queue.append(Delivery(self.now_ms + delay, self.order, to, sender, message))
        self.queue.sort()

    def _finalize(self, index: int, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        node = self.nodes[index]
        assert verify_certificate(certificate, self.committee), "a final block without its certificate"
        for block in blocks:
            header, name = block.header, block_hash(block.header)
            assert header.parent == block_hash(node.chain.root), "a final block not on the final chain"
            assert self.final.setdefault(header.height, name) == name, f"fork at height {header.height}"
            node.chain.root = header
            node.chain.pending -= set(block.transactions)
            node.disk.final.append(block)
        node.disk.final_certificate = certificate

    def _catch_up(self, index: int) -> None:
        """What the sync service does: takes final blocks by height from a peer that is ahead."""
        node = self.nodes[index]
        height = node.chain.root.height
        for other, peer in enumerate(self.nodes):
            certificate = peer.disk.final_certificate
            if other != index and peer.up and certificate and peer.chain.root.height > height:
                blocks = tuple(peer.disk.final[height:])
                self._finalize(index, blocks, certificate)
                for block in blocks:
                    node.chain.add(block)
                output = node.machine.advance(blocks[-1].header, certificate, self._now())
                self._carry_out(index, output)
                return

    def _observe(self, message: ConsensusMessage) -> None:
        """An outside collector of every statement signed: one block a view, never NULL and FINALIZE."""
        match message:
            case Vote(statement, signer):
                said, view, block = Phase(statement.phase), statement.view, statement.block
            case Proposal(block_sent):
                header = block_sent.header
                said, view, block = Phase.VOTE, header.view, block_hash(header)
                signer = self.committee.validators.index(header.proposer)
            case _:
                return
        key = (signer, view, said)
        assert self.spoken.setdefault(key, block) == block, f"validator {signer} voted twice in view {view}"
        opposite = {Phase.NULL: Phase.FINALIZE, Phase.FINALIZE: Phase.NULL}.get(said)
        if opposite is not None:
            assert (signer, view, opposite) not in self.spoken, "NULL and FINALIZE in one view"
