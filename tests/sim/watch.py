"""Turns what nodes send and store into observations, and has the invariants judge them."""

from collections.abc import Callable
from typing import TypeVar

from node.chain.ledger import StoredOpening
from node.store import layout
from protocol.blocks import (
    Block,
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    decode_block,
    genesis_committee,
    verify_certificate,
)
from protocol.chain import genesis_header
from protocol.codec import decode, encode
from protocol.epochs import next_committee
from protocol.errors import Malformed, Rejected, StorageError
from protocol.keys import PublicKey
from protocol.ledger import Overlay
from protocol.limits import KIB
from protocol.mempool import VerifiedCache
from protocol.messages.consensus import Proposal, Relay, Vote, decode_consensus
from protocol.state import genesis_state
from protocol.transactions import transaction_id
from tests.sim.invariants import (
    CertificateCollector,
    ChainCollector,
    FinalBlock,
    Said,
    VoteCollector,
    check_signed_enough,
)
from tests.sim.nodes import Cluster, SimNode
from tests.sim.second_look import second_look
from tests.sim.world import Violation

T = TypeVar("T")
LOOK_MS = 1_000


class Watch:
    """The outside observer of one cluster: every consensus datagram sent, every final block stored."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._committees = {0: genesis_committee(cluster.genesis)}
        self._seat = {node.identity: node.seat.index for node in cluster.nodes}
        self._index = {node.seat.vote_key.public: node.seat.index for node in cluster.nodes}
        self.votes = VoteCollector()
        self.certificates = CertificateCollector()
        self.chains = ChainCollector()
        self._sent: set[bytes] = set()
        self._certified: set[Certificate] = set()
        self._blocks: dict[bytes, FinalBlock] = {}
        cluster.network.watches.append(self._sees_datagram)

    def look(self) -> None:
        """Looks at every disk, now and every simulated second from now on."""
        self.look_once()
        self._cluster.world.timeline.after(LOOK_MS, self.look)

    def look_once(self) -> None:
        for node in self._cluster.honest():
            self._judge(self._look_at, node)

    def chain(self, node: SimNode) -> list[FinalBlock]:
        """All final blocks on the disk of a node, from height 1 on."""
        chain: list[FinalBlock] = []
        while (block := self._block(node, len(chain) + 1)) is not None:
            chain.append(block)
        return chain

    def head(self, node: SimNode) -> tuple[int, bytes, bytes]:
        """Height, hash and state root of the newest final block seen on the disk of a node."""
        block = self._block(node, self.chains.height(node.name))
        return (0, b"", b"") if block is None else (block.height, block.name, block.state_root)

    def check_disk(self, node: SimNode) -> None:
        """L6 and L7 from what is on a disk alone: the chain applied again from the genesis block gives
        its states, and every certificate is signed by a quorum, as seen by code that is not the node's."""
        self._replay(node)
        for _, raw in node.disk.ledger.iterate(layout.FINALITY):
            certificate = decode(Finality, raw, limit=KIB * KIB).certificate
            committee = self._committee(certificate.statement.epoch)
            validators = [key[1:] for key in committee.validators]
            if not second_look(encode(certificate), self._cluster.network_id, validators, committee.epoch):
                raise Violation("L7", f"{node.name} keeps a certificate that a second look refuses")

    def _replay(self, node: SimNode) -> None:
        header, state = genesis_header(self._cluster.genesis), genesis_state(self._cluster.genesis)
        verified = VerifiedCache(self._cluster.network_id)
        while (raw := node.disk.ledger.get(layout.block(header.height + 1))) is not None:
            block = decode_block(raw)
            overlay = Overlay(state, height=block.header.height, time_ms=block.header.time_ms)
            try:
                for item in block.transactions:
                    overlay.apply(verified.check(item))
            except (Rejected, Malformed) as error:
                raise Violation("L6", f"{node.name} cannot be replayed from genesis: {error}") from error
            header, state = block.header, overlay.commit()
            if header.state_root != state.entries.root:
                raise Violation("L6", f"{node.name} has another state at {header.height} when replayed")

    def _judge(self, check: Callable[[T], None], subject: T) -> None:
        try:
            check(subject)
        except Violation as violation:
            self._cluster.world.report(violation)

    def _look_at(self, node: SimNode) -> None:
        """Blocks are looked for from the newest known one on, which must still be there."""
        try:
            height = self.chains.height(node.name)
            if height and self._block(node, height) is None:
                self.chains.check_kept(node.name, height - 1)
            while (block := self._block(node, height + 1)) is not None:
                self.chains.see(node.name, block)
                height += 1
        except StorageError:
            return  # its disk failed; what is on it shows after the restart

    def _block(self, node: SimNode, height: int) -> FinalBlock | None:
        raw = node.disk.ledger.get(layout.block(height))
        if raw is None:
            return None
        known = self._blocks.get(raw)
        if known is None:
            known = self._blocks[raw] = final_block(decode_block(raw))
        return known

    def _sees_datagram(self, sender: PublicKey, receiver: PublicKey, protocol: str, raw: bytes) -> None:
        if protocol == "consensus" and raw not in self._sent:
            self._sent.add(raw)
            is_honest = self._seat[sender] not in self._cluster.traitors
            self._judge(self._hear if is_honest else self._overhear, raw)

    def _overhear(self, raw: bytes) -> None:
        """What a traitor sends is no finding, but a certificate that verifies counts like any other."""
        match decode_consensus(raw):
            case Relay(certificate) if self._is_certified(certificate):
                self._see_certificate(certificate)
            case _:
                pass

    def _hear(self, raw: bytes) -> None:
        match decode_consensus(raw):
            case Vote(statement, signer):
                self._say(statement, self._committee(statement.epoch).validators[signer])
            case Proposal(block, parent, nullifications):
                header = block.header
                said = Statement(header.epoch, header.view, int(Phase.VOTE), block_hash(header))
                self._say(said, header.proposer)
                for certificate in nullifications if parent is None else (parent, *nullifications):
                    self._see_certificate(certificate)
            case Relay(certificate):
                self._see_certificate(certificate)
            case _:
                pass

    def _say(self, statement: Statement, key: PublicKey) -> None:
        signer = self._index.setdefault(key, len(self._index))
        if signer in self._cluster.traitors:
            return
        phase = Phase(statement.phase)
        self.votes.hear(Said(statement.epoch, statement.view, phase, statement.block, signer))

    def _is_certified(self, certificate: Certificate) -> bool:
        try:
            return verify_certificate(certificate, self._committee(certificate.statement.epoch))
        except Violation:
            return False

    def _committee(self, epoch: int) -> Committee:
        """L8: the committee of an epoch follows from the final block that opened it, on some disk."""
        for node in () if epoch in self._committees else self._cluster.nodes:
            raw = node.disk.ledger.get(layout.opening(epoch))
            if raw is not None:
                stored = decode(StoredOpening, raw, limit=KIB * KIB)
                header = node.disk.ledger.get(layout.header(stored.height))
                assert header is not None
                closing = decode(Header, header, limit=KIB)
                self._committees[epoch] = next_committee(closing, stored.opening)
                break
        if epoch not in self._committees:
            raise Violation("L8", f"something was signed in epoch {epoch}, which no final block opened")
        return self._committees[epoch]

    def _see_certificate(self, certificate: Certificate) -> None:
        if certificate in self._certified:
            return
        self._certified.add(certificate)
        committee = self._committee(certificate.statement.epoch)
        validators = committee.validators
        signers = [key for index, key in enumerate(validators) if certificate.signers >> index & 1]
        check_signed_enough(signers, validators, committee.quorum)
        if not verify_certificate(certificate, committee):
            raise Violation("L7", f"a certificate that does not verify was sent: {certificate.statement}")
        statement = certificate.statement
        self.certificates.see(statement.epoch, statement.view, Phase(statement.phase), statement.block)


def final_block(block: Block) -> FinalBlock:
    """What the invariants need to know of a block."""
    header = block.header
    return FinalBlock(
        header.height,
        block_hash(header),
        header.parent,
        header.epoch,
        header.view,
        header.time_ms,
        header.state_root,
        tuple(transaction_id(raw) for raw in block.transactions),
    )
