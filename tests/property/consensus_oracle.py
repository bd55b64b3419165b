"""What must be true of everything that validators sign and finalize, judged from outside of them.

The oracle hears every statement that leaves a validator and every block that one makes final. It never
looks into a machine, so it is as right after a crash as before. Certificates are checked by the second
reader of the wire format, which shares no code with the machines.

L1  one final block at a height                 L2  certificates of one chain, no view final and null
L3  one block a view, never NULL and FINALIZE   L4  views of one key never go back
L7  a quorum of valid signatures                L8  a final block's parent is the final one below
"""

from protocol.blocks import NO_BLOCK, Block, BlockHash, Certificate, Committee, Phase, block_hash
from protocol.codec import encode
from protocol.messages.consensus import ConsensusMessage, Proposal, Relay, Vote
from tests.vectors import independent
from tests.vectors.plain_msgpack import unpack

OPPOSITE = {Phase.NULL: Phase.FINALIZE, Phase.FINALIZE: Phase.NULL}


class Oracle:
    """`hostile` are the indices of validators that may sign anything."""

    def __init__(self, committee: Committee, hostile: frozenset[int], root: BlockHash) -> None:
        self.committee, self.hostile = committee, hostile
        self.parents: dict[BlockHash, BlockHash] = {}
        self.final: dict[int, BlockHash] = {0: root}
        self.signed: dict[tuple[int, Phase], dict[int, BlockHash]] = {}
        self.certificates: dict[bytes, Certificate] = {}
        self._highest: dict[int, int] = {}

    # What is heard.

    def hear(self, sender: int, message: ConsensusMessage) -> None:
        """A message leaves a correct validator."""
        assert sender not in self.hostile
        match message:
            case Vote(statement, signer):
                # What one has heard of another may be said back to it.
                if signer == sender:
                    self._hear_statement(signer, statement.view, Phase(statement.phase), statement.block)
            case Proposal(block, parent, nullifications):
                header = block.header
                self.see_block(block)
                if header.proposer == self.committee.validators[sender]:
                    self._hear_statement(sender, header.view, Phase.VOTE, block_hash(header))
                for certificate in nullifications if parent is None else (parent, *nullifications):
                    self.check_certificate(certificate)
            case Relay(certificate):
                self.check_certificate(certificate)
            case _:
                pass

    def see_block(self, block: Block) -> None:
        """A block exists, whoever made it."""
        self.parents[block_hash(block.header)] = block.header.parent

    def finalize(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        """A correct validator makes blocks final."""
        self.check_certificate(certificate)
        assert certificate.statement.phase == Phase.FINALIZE, "made final by something else"
        assert certificate.statement.block == block_hash(blocks[-1].header), "made final by another's"
        for block in blocks:
            header, name = block.header, block_hash(block.header)
            known = self.final.setdefault(header.height, name)
            assert known == name, f"L1: two final blocks at height {header.height}"
            assert self.final[header.height - 1] == header.parent, "L8: not on the final block below"

    def _hear_statement(self, signer: int, view: int, phase: Phase, block: BlockHash) -> None:
        said = self.signed.setdefault((view, phase), {})
        if signer in said:
            assert said[signer] == block, f"L3: validator {signer} signed two blocks in view {view}"
            return
        opposite = OPPOSITE.get(phase)
        assert opposite is None or signer not in self.signed.get((view, opposite), {}), (
            f"L3: validator {signer} signed NULL and FINALIZE in view {view}"
        )
        highest = self._highest.get(signer, 0)
        assert view >= highest, f"L4: validator {signer} signed in view {view} after view {highest}"
        said[signer], self._highest[signer] = block, view

    def check_certificate(self, certificate: Certificate) -> None:
        """L7, by a reader of its own; L2 for all that were seen."""
        raw = encode(certificate)
        if raw in self.certificates:
            return
        committee = self.committee
        votes = [bytes(key) for key in committee.validators]
        view, phase, block = independent.certificate(unpack(raw), committee.network, committee.epoch, votes)
        for other in self.certificates.values():
            statement = other.statement
            if statement.view == view and OPPOSITE.get(Phase(phase)) == statement.phase:
                raise AssertionError(f"L2: view {view} is both finalized and nullified")
            if statement.view == view and statement.phase == phase:
                assert statement.block == block, f"L2: two blocks certified in view {view}"
        self.certificates[raw] = certificate

    # What follows from it.

    def check_chains(self) -> None:
        """Simplex's own lemma, for all that could still be certified: where enough correct validators have
        signed FINALIZE that hostile ones could complete it, every later vote is on that block's chain."""
        enough = self.committee.quorum - len(self.hostile)
        for (view, phase), said in self.signed.items():
            if phase != Phase.FINALIZE:
                continue
            for block in set(said.values()):
                if list(said.values()).count(block) >= enough:
                    self._check_later_votes(view, block)

    def _check_later_votes(self, view: int, block: BlockHash) -> None:
        for (later, phase), said in self.signed.items():
            if later <= view or phase == Phase.NULL:
                continue
            for signer, voted in said.items():
                assert self._descends(voted, block), (
                    f"L2: {signer} signed in view {later} off the chain of view {view}, which may be final"
                )

    def _descends(self, name: BlockHash, ancestor: BlockHash) -> bool:
        while name != ancestor:
            if name not in self.parents or name == NO_BLOCK:
                return False
            name = self.parents[name]
        return True
