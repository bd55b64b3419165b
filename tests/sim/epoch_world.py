"""A simulated network whose members come and go: founders, clinics that join later, and their approvals."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import trio

from node.chain.gateway import Gateway
from node.chain.ledger import Head, StoredOpening
from node.chain.services import LedgerServices
from node.clinic import Clinic
from node.ports import Ports
from node.store import layout
from node.store.memory import MemoryVoteFile
from protocol.blocks import (
    Block,
    Committee,
    Finality,
    Genesis,
    Header,
    Phase,
    Statement,
    block_hash,
    decode_block,
    genesis_committee,
    network_id,
    sign_card,
)
from protocol.chain import genesis_header
from protocol.codec import decode, digest, encode
from protocol.epochs import next_committee
from protocol.errors import Rejected
from protocol.finality import verify_final
from protocol.keys import PublicKey, SigningKey
from protocol.limits import MIB
from protocol.membership import Admit, Approved, Promote, Remove, RotateVoteKey, Suspend, accept_terms
from protocol.messages.consensus import Proposal, Vote, decode_consensus
from protocol.messages.light import JoinReply
from protocol.transactions import (
    TransactionId,
    approved_transaction,
    sign_body,
    sign_transaction,
    transaction_id,
)
from tests.sim.clock import EPOCH_MS
from tests.sim.disk import Disk
from tests.sim.invariants import ChainCollector, FinalBlock, Said, VoteCollector
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat, SimNode, seeded_seat
from tests.sim.watch import final_block
from tests.sim.world import Violation, World

FAR_MS = EPOCH_MS + 10**9
PATIENCE_S = 300.0
LOOK_S = 0.5


def build_ledger(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
    """The ledger's services, and a gateway for light clients."""
    services = LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)
    Gateway(
        transport=ports.transport,
        ledger=services.ledger,
        submissions=services.submissions,
        network=network_id(genesis),
        entropy=ports.entropy,
        join=lambda peer, request: JoinReply(False, False, 0, 0),
    )
    return services


class Changing:
    """A cluster with `founders` in the genesis file and `later` clinics that are not members yet.

    `validators` is what the changes enacted so far make of the committee, in the order of seats. What
    `liars` say is not held against the keys that they claim.
    """

    def __init__(
        self,
        world: World,
        nursery: trio.Nursery,
        *,
        founders: int = 4,
        later: int = 2,
        build: BuildNode = build_ledger,
    ) -> None:
        self.network = SimNetwork(world)
        self.cluster = Cluster(world, self.network, nursery, build, size=founders)
        self.validators = list(self.cluster.nodes)
        for index in range(founders, founders + later):
            node = SimNode(self.cluster, seeded_seat(index))
            self.cluster.nodes.append(node)
            self.network.name(node.identity, node.name)
        self.enacted: dict[TransactionId, int] = {}
        self.liars: set[PublicKey] = set()
        self._said: list[tuple[Statement, int | PublicKey]] = []
        self._sent: set[bytes] = set()
        self.network.watches.append(self._hear)

    @property
    def nodes(self) -> list[SimNode]:
        return self.cluster.nodes

    # Changes. Each returns the height at which it is final, however long and through whatever it takes.

    async def admit(self, node: SimNode) -> int:
        seat, genesis = node.seat, self.cluster.genesis
        card = sign_card(seat.member(), seat.id_key, seat.vote_key)
        accepted = accept_terms(genesis.terms_hash, seat.id_key, network_id(genesis))
        return await self._approve(Admit(card, genesis.terms_hash, accepted, FAR_MS))

    async def promote(self, node: SimNode) -> int:
        height = await self._approve(Promote(node.identity, FAR_MS))
        self.validators.append(node)
        return height

    async def remove(self, node: SimNode) -> int:
        return await self._end(Remove(node.identity, FAR_MS), node)

    async def suspend(self, node: SimNode) -> int:
        return await self._end(Suspend(node.identity, "evidence", FAR_MS), node)

    async def rotate(self, node: SimNode) -> int:
        """A new vote key: the node starts again with it, and with a vote file of its own."""
        key = SigningKey(digest("sim-vote-again", node.seat.vote_key.public))
        body = RotateVoteKey(node.identity, key.public)
        raw = sign_transaction(body, (node.seat.id_key, key), self.cluster.network_id)
        height = await self.enact(raw)
        was_up = node.is_up
        node.crash()
        node.seat = replace(node.seat, vote_key=key)
        node.disk = replace(node.disk, votes=MemoryVoteFile())
        if was_up:
            node.start()
        return height

    async def _approve(self, body: Approved, by: Sequence[SimNode] | None = None) -> int:
        raw, network = encode(body), self.cluster.network_id
        approvals = [sign_body(raw, node.seat.id_key, network) for node in by or self.validators]
        return await self.enact(approved_transaction(body, approvals))

    async def _end(self, body: Remove | Suspend, node: SimNode) -> int:
        others = [one for one in self.validators if one is not node]
        height = await self._approve(body, others if len(others) > 1 else None)
        self.validators = others
        return height

    async def enact(self, raw: bytes) -> int:
        """Submits a transaction until it is final.

        Raises:
            Violation: not within five minutes.
        """
        name = transaction_id(raw)

        async def submit(service: LedgerServices | Clinic) -> int | None:
            services = service.services if isinstance(service, Clinic) else service
            place = services.ledger.position(name)
            if place is None:
                # A node that is behind does not know what this rests on yet.
                with suppress(Rejected):
                    await services.submissions.submit(raw, b"", sender=b"admin")
            return None if place is None else place[0]

        with trio.move_on_after(PATIENCE_S):
            while True:
                for node in self.validators:
                    height = await node.ask(submit)
                    if height is not None:
                        self.enacted[name] = height
                        return height
                await trio.sleep(LOOK_S)
        raise Violation("L9", f"a change of members is not final after {PATIENCE_S:g} s")

    # What everyone must come to.

    def head(self, node: SimNode) -> Header:
        """The header of the newest final block on the disk of a node."""
        raw = node.disk.ledger.get(layout.head())
        return genesis_header(self.cluster.genesis) if raw is None else decode(Head, raw, limit=MIB).header

    def height(self, node: SimNode) -> int:
        return self.head(node).height

    async def settle(self, nodes: Sequence[SimNode], *, height: int = 0) -> None:
        """Returns once all `nodes` have the same newest final block, at least of `height`.

        Raises:
            Violation: not within five minutes.
        """
        with trio.move_on_after(PATIENCE_S):
            while True:
                heights = [self.height(node) for node in nodes]
                if len(set(heights)) == 1 and heights[0] >= height:
                    return
                await trio.sleep(LOOK_S)
        raise Violation("L10", f"no common head: {[(node.name, self.height(node)) for node in nodes]}")

    def check(self) -> Committee:
        """No fork on any disk, no statement that contradicts another, and every chain verifies from the
        genesis file on. Returns the newest committee."""
        chains, newest = ChainCollector(), (-1, genesis_committee(self.cluster.genesis))
        committees: dict[int, Committee] = {}
        for node in self.nodes:
            for seen in final_chain(node.disk):
                chains.see(node.name, seen)
            for committee in verified_committees(self.cluster.genesis, node.disk):
                assert committees.setdefault(committee.epoch, committee) == committee, "two committees"
                newest = max(newest, (committee.epoch, committee), key=lambda item: item[0])
        votes = VoteCollector()
        for statement, signer in self._said:
            if isinstance(signer, int) and statement.epoch in committees:
                signer = committees[statement.epoch].validators[signer]
            place = statement.epoch, statement.view, Phase(statement.phase), statement.block
            votes.hear(Said(*place, signer))
        return newest[1]

    def _hear(self, sender: PublicKey, receiver: PublicKey, protocol: str, raw: bytes) -> None:
        if protocol != "consensus" or sender in self.liars or raw in self._sent:
            return
        self._sent.add(raw)
        match decode_consensus(raw):
            case Vote(statement, signer):
                self._said.append((statement, signer))
            case Proposal(block):
                header = block.header
                statement = Statement(header.epoch, header.view, int(Phase.VOTE), block_hash(header))
                self._said.append((statement, header.proposer))
            case _:
                pass


def final_chain(disk: Disk) -> list[FinalBlock]:
    """What the invariants need to know of the final blocks on a disk."""
    return [final_block(block) for block in chain(disk)]


def chain(disk: Disk) -> list[Block]:
    """The final blocks on a disk from height 1 on."""
    blocks: list[Block] = []
    while (raw := disk.ledger.get(layout.block(len(blocks) + 1))) is not None:
        blocks.append(decode_block(raw))
    return blocks


def verified_committees(genesis: Genesis, disk: Disk) -> list[Committee]:
    """The committees of all epochs on a disk, its whole chain verified from the genesis file on.

    Raises:
        RemoteProtocolError: some of it does not verify.
    """
    committees, root = [genesis_committee(genesis)], genesis_header(genesis)
    waiting: list[Header] = []
    for block in chain(disk):
        header = block.header
        if header.epoch != root.epoch and not waiting:
            raw = disk.ledger.get(layout.opening(header.epoch))
            assert raw is not None, "an epoch without its opening"
            stored = decode(StoredOpening, raw, limit=MIB)
            if header.epoch != committees[-1].epoch:
                committees.append(next_committee(root, stored.opening))
        waiting.append(header)
        shown = disk.ledger.get(layout.finality(header.height))
        if shown is not None:
            verify_final(root, waiting, decode(Finality, shown, limit=MIB), committees[-1])
            root, waiting = header, []
    assert not waiting, "a head without its finality"
    raw = disk.ledger.get(layout.opening(committees[-1].epoch + 1))
    if raw is not None:
        committees.append(next_committee(root, decode(StoredOpening, raw, limit=MIB).opening))
    return committees
