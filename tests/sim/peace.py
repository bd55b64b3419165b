"""What must be true once all trouble is over: of the ledger, of its members, and of who only listened."""

from dataclasses import dataclass

import trio

from node.chain.services import LedgerServices
from node.store import layout
from node.store.memory import MemoryStore
from protocol.blocks import block_hash
from tests.sim.chains import verified_committees
from tests.sim.changes import Changes
from tests.sim.clients import Told
from tests.sim.invariants import check_acknowledged, check_converged, check_evidence
from tests.sim.light_world import Someone
from tests.sim.nodes import Cluster
from tests.sim.watch import Watch
from tests.sim.world import Violation

LOOK_S = 0.5
PEACE_S = 60.0


def running(cluster: Cluster) -> list[LedgerServices]:
    """The services of the honest nodes that run."""
    lives = [node.life for node in cluster.honest() if node.life is not None]
    return [life.service for life in lives if isinstance(life.service, LedgerServices)]


@dataclass(frozen=True)
class Peace:
    """After the heal: all that was accepted becomes final, and all members come to one head.

    `changes` of members that are under way come into force, and a `patient` with nothing but the genesis
    file comes to the same head by the same committees.
    """

    cluster: Cluster
    watch: Watch
    told: Told
    changes: Changes | None = None
    patient: Someone | None = None

    async def come(self) -> None:
        """Waits for it, and looks at everything.

        Raises:
            Violation: not within 60 seconds, or what they agree on is not what was told.
        """
        with trio.move_on_after(PEACE_S):
            while not self._is_settled():  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
        self.watch.look_once()
        for node in self.cluster.honest():
            self.watch.check_disk(node)
        self._check_progress()
        members = self.cluster.members()
        check_converged({node.name: self.watch.head(node) for node in members})
        chains = {node.name: self.watch.chain(node) for node in members}
        check_acknowledged(self.told.final, chains)
        self.watch.certificates.check_chain(next(iter(chains.values())), self.watch.tails)
        self._check_committees()
        self._check_sealed()
        self._check_patient()
        traitors = [key for key, node in self.cluster.owners.items() if node not in self.cluster.honest()]
        for services in running(self.cluster):
            check_evidence(services.consensus.machine.tally.evidence, traitors)

    def _is_settled(self) -> bool:
        self.watch.look_once()
        heads = {self.watch.head(node) for node in self.cluster.members()}
        is_followed = self.patient is None or [self.patient.chain.height] == [head[0] for head in heads]
        is_changed = self.changes is None or not self.changes.under_way
        is_whole = not any(self._owed())
        return not self.told.waiting and len(heads) == 1 and is_changed and is_followed and is_whole

    def _check_progress(self) -> None:
        after = f"{PEACE_S:g} s after the heal"
        if self.told.waiting:
            left = [f"{name.hex()[:12]} at {self.told.accepted[name]}" for name in self.told.waiting]
            raise Violation("L9", f"accepted and not final {after}: {', '.join(left)}")
        if self.changes is not None and self.changes.under_way:
            left = [f"{kind} {node.name}" for node, kind in self.changes.under_way.items()]
            raise Violation("L9", f"asked for and not in force {after}: {', '.join(left)}")

    def _check_sealed(self) -> None:
        """Every member has the sealed bytes that the others have, whatever it was kept from."""
        if any(self._owed()):
            raise Violation("L9", f"sealed bytes are lacking {PEACE_S:g} s after the heal: {self._owed()}")
        disks = [
            dict(MemoryStore.iterate(node.disk.ledger, layout.SEALED)) for node in self.cluster.members()
        ]
        if any(disk != disks[0] for disk in disks):
            raise Violation("L9", "members with one head have other sealed bytes")

    def _owed(self) -> list[int]:
        """How many sealed bytes each member lacks that runs."""
        members = {node.identity for node in self.cluster.members()}
        services = [one for one in running(self.cluster) if one.ports.transport.identity in members]
        return [one.ledger.owed.count for one in services]

    def _check_committees(self) -> None:
        """L8: every disk leads from the genesis file to the same committees, and the last is as agreed."""
        members = self.cluster.members()
        chains = [verified_committees(self.cluster.genesis, node.disk) for node in members]
        if any(chain != chains[0] for chain in chains):
            raise Violation("L8", "the disks lead to different committees")
        agreed = tuple(node.seat.vote_key.public for node in self.cluster.validators)
        if chains[0][-1].validators != agreed:
            raise Violation("L8", f"another committee than was agreed on in epoch {chains[0][-1].epoch}")

    def _check_patient(self) -> None:
        """L1 and L8 for a light client: it believes in the same blocks and the same committee."""
        if self.patient is None:
            return
        chain, node = self.patient.chain, self.cluster.members()[0]
        blocks = self.watch.chain(node)
        if chain.height != len(blocks):
            raise Violation("V1", f"the light client is at {chain.height} of {len(blocks)}")
        if chain.committee not in verified_committees(self.cluster.genesis, node.disk)[blocks[-1].epoch :]:
            raise Violation("L8", "the light client believes in another committee")
        for block in blocks:
            header = chain.header(block.height)
            if header is None or block_hash(header) != block.name:
                raise Violation("L1", f"the light client believes in another block at {block.height}")
