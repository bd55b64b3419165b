"""A simulated network whose members come and go: founders, clinics that join later, and their approvals."""

from collections.abc import Sequence
from contextlib import suppress

import trio

from node.chain.ledger import Head
from node.chain.services import LedgerServices
from node.clinic import Clinic
from node.store import layout
from protocol.blocks import Committee, Header, Phase, Statement, block_hash, genesis_committee
from protocol.chain import genesis_header
from protocol.codec import decode
from protocol.errors import Rejected
from protocol.keys import PublicKey
from protocol.limits import MIB
from protocol.membership import Approved, Promote, Remove, Suspend
from protocol.messages.consensus import Proposal, Vote, decode_consensus
from protocol.transactions import TransactionId, transaction_id
from tests.sim.chains import final_chain, verified_committees
from tests.sim.changes import FAR_MS, admission, approved, rotation
from tests.sim.invariants import ChainCollector, Said, VoteCollector
from tests.sim.ledger_story import build_ledger
from tests.sim.light_world import LedgerClinic
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, SimNode
from tests.sim.world import Violation, World

PATIENCE_S = 300.0
LOOK_S = 0.5


class Changing:
    """A cluster with `founders` in the genesis file and `later` clinics that are not members yet.

    What `liars` say is not held against the keys that they claim.
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
        self.cluster = Cluster(world, self.network, nursery, build, size=founders, later=later)
        self.enacted: dict[TransactionId, int] = {}
        self.liars: set[PublicKey] = set()
        self._said: list[tuple[Statement, int | PublicKey]] = []
        self._sent: set[bytes] = set()
        self.network.watches.append(self._hear)

    @property
    def nodes(self) -> list[SimNode]:
        return self.cluster.nodes

    @property
    def validators(self) -> list[SimNode]:
        return self.cluster.validators

    # Changes. Each returns the height at which it is final, however long and through whatever it takes.

    async def admit(self, node: SimNode) -> int:
        height = await self._approve(admission(self.cluster, node))
        self.cluster.followers.append(node)
        return height

    async def promote(self, node: SimNode) -> int:
        height = await self._approve(Promote(node.identity, FAR_MS))
        self.cluster.followers.remove(node)
        self.validators.append(node)
        return height

    async def remove(self, node: SimNode) -> int:
        return await self._end(Remove(node.identity, FAR_MS), node)

    async def suspend(self, node: SimNode) -> int:
        return await self._end(Suspend(node.identity, "evidence", FAR_MS), node)

    async def rotate(self, node: SimNode) -> int:
        """A new vote key: the node starts again with it, and with a vote file of its own."""
        raw, key = rotation(self.cluster, node)
        height = await self.enact(raw)
        node.rekey(key)
        return height

    async def _approve(self, body: Approved, by: Sequence[SimNode] | None = None) -> int:
        return await self.enact(approved(self.cluster, body, by or self.validators))

    async def _end(self, body: Remove | Suspend, node: SimNode) -> int:
        others = [one for one in self.validators if one is not node]
        height = await self._approve(body, others if len(others) > 1 else None)
        self.cluster.validators = others
        self.cluster.ended.append(node)
        return height

    async def enact(self, raw: bytes) -> int:
        """Submits a transaction until it is final.

        Raises:
            Violation: not within five minutes.
        """
        name = transaction_id(raw)

        async def submit(service: LedgerServices | Clinic | LedgerClinic) -> int | None:
            services = service if isinstance(service, LedgerServices) else service.services
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
