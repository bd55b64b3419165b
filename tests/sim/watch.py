"""Turns what nodes send and store into observations, and has the invariants judge them."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from node.chain.ledger import StoredOpening
from node.chain.services import LedgerServices
from node.store import layout
from protocol.blocks import (
    Block,
    BlockHash,
    Certificate,
    Committee,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    decode_block,
    genesis_committee,
    is_tail,
    verify_card,
    verify_certificate,
)
from protocol.chain import genesis_header
from protocol.codec import decode, encode
from protocol.epochs import next_committee
from protocol.errors import Malformed, Rejected, StorageError
from protocol.keys import PublicKey
from protocol.ledger import Overlay
from protocol.limits import KIB
from protocol.membership import Admit, Remove, RotateVoteKey, Suspend
from protocol.mempool import VerifiedCache
from protocol.messages.consensus import Proposal, Relay, Vote, decode_consensus
from protocol.state import LedgerState, genesis_state
from protocol.transactions import decode_transaction
from tests.sim.chains import final_block
from tests.sim.invariants import (
    CertificateCollector,
    ChainCollector,
    FinalBlock,
    KeyCollector,
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
        self._hostile = {node.identity for node in cluster.nodes if node.seat.index in cluster.traitors}
        self.votes = VoteCollector()
        self.certificates = CertificateCollector()
        self.chains = ChainCollector()
        self.keys = KeyCollector({one.id_key: one.vote_key for one in cluster.genesis.members})
        self.tails: dict[BlockHash, BlockHash] = {}
        """The parent of every tail that was proposed: a block of the height of its parent."""
        self._heights = {block_hash(genesis_header(cluster.genesis)): 0}
        self._counted: set[tuple[int, tuple[PublicKey, ...]]] = set()
        self._read_through = 0
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
            self._judge(self._check_doors, node)
        self._judge(self._check_keys, self._counted)

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
        """L6, L7 and L8 from what is on a disk alone: the chain applied again from the genesis block gives
        its states, and every block is final by a quorum of the committee that the state before it names,
        as seen by code that is not the node's."""
        state = genesis_state(self._cluster.genesis)
        for block, after in self._replay(node):
            committee = state.committee
            raw = node.disk.ledger.get(layout.finality(block.header.height))
            if raw is not None:
                self._look_again(node, block.header, decode(Finality, raw, limit=KIB * KIB), committee)
            if self._committee(committee.epoch) != committee:
                raise Violation("L8", f"{node.name} has another committee in epoch {committee.epoch}")
            state = after

    def _look_again(self, node: SimNode, header: Header, finality: Finality, committee: Committee) -> None:
        certificate, final = finality.certificate, finality.tail or header
        validators = [key[1:] for key in committee.validators]
        if not second_look(encode(certificate), self._cluster.network_id, validators, header.epoch):
            raise Violation("L7", f"{node.name} keeps a certificate that a second look refuses")
        if certificate.statement.block != block_hash(final):
            raise Violation("L7", f"{node.name} keeps a certificate of another block at {header.height}")
        if finality.tail is not None and not is_tail(finality.tail, header):
            raise Violation("L8", f"{node.name} keeps a tail of another block at {header.height}")

    def _replay(self, node: SimNode) -> Iterator[tuple[Block, LedgerState]]:
        """The final blocks of a node, and the state after each."""
        height, state = 0, genesis_state(self._cluster.genesis)
        verified = VerifiedCache(self._cluster.network_id)
        while (raw := node.disk.ledger.get(layout.block(height + 1))) is not None:
            block = decode_block(raw)
            height = block.header.height
            overlay = Overlay(state, height=height, time_ms=block.header.time_ms)
            try:
                for item in block.transactions:
                    overlay.apply(verified.check(item))
            except (Rejected, Malformed) as error:
                raise Violation("L6", f"{node.name} cannot be replayed from genesis: {error}") from error
            if block.header.epoch != state.roster.epoch:
                raise Violation("L8", f"{node.name} has a block of another epoch at {height}")
            state = overlay.commit()
            if block.header.state_root != state.entries.root:
                raise Violation("L6", f"{node.name} has another state at {height} when replayed")
            yield block, state

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
                self._read_changes(node, height)
        except StorageError:
            return  # its disk failed; what is on it shows after the restart

    def _read_changes(self, node: SimNode, height: int) -> None:
        """Takes in what the block that is final at `height` says of vote keys, the first time."""
        raw = node.disk.ledger.get(layout.block(height))
        if height <= self._read_through or raw is None:
            return
        self._read_through = height
        block = decode_block(raw)
        for item in block.transactions:
            match decode_transaction(item).body:
                case Admit(card):
                    member = verify_card(card)
                    self.keys.admitted(member.id_key, member.vote_key)
                case Suspend(who) | Remove(who):
                    self.keys.ended(who, block.header.epoch)
                case RotateVoteKey(who, next_key):
                    self.keys.ended(who, block.header.epoch, next_key=next_key)
                case _:
                    pass

    def _check_keys(self, counted: set[tuple[int, tuple[PublicKey, ...]]]) -> None:
        """L8: what was certified since the last look counts no key that had ended."""
        known = [item for item in counted if item[0] <= self.chains.epoch]
        for epoch, signers in known:
            self.keys.check(epoch, signers)
        counted.difference_update(known)

    def _check_doors(self, node: SimNode) -> None:
        """S6: whoever a node's own ledger says is no member any more does not reach it as one."""
        life = node.life
        if life is None or not isinstance(life.service, LedgerServices):
            return
        for other in self._cluster.ended:
            member = life.service.ledger.state.member(other.identity)
            if member is not None and not member.is_active and life.transport.admits(other.identity):
                raise Violation("S6", f"{node.name} still takes {other.name} for a member")

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
            self._judge(self._overhear if sender in self._hostile else self._hear, raw)

    def _overhear(self, raw: bytes) -> None:
        """What a traitor sends is no finding, but a certificate that verifies counts like any other."""
        match decode_consensus(raw):
            case Relay(certificate) if self._is_certified(certificate):
                self._see_certificate(certificate)
            case Proposal(block):
                self._see_header(block.header)
            case _:
                pass

    def _hear(self, raw: bytes) -> None:
        match decode_consensus(raw):
            case Vote(statement, signer):
                self._say(statement, self._committee(statement.epoch).validators[signer])
            case Proposal(block, parent, nullifications):
                header = block.header
                self._see_header(header)
                said = Statement(header.epoch, header.view, int(Phase.VOTE), block_hash(header))
                self._say(said, header.proposer)
                for certificate in nullifications if parent is None else (parent, *nullifications):
                    self._see_certificate(certificate)
            case Relay(certificate):
                self._see_certificate(certificate)
            case _:
                pass

    def _say(self, statement: Statement, key: PublicKey) -> None:
        if self._cluster.owners[key].identity in self._hostile:
            return
        phase = Phase(statement.phase)
        self.votes.hear(Said(statement.epoch, statement.view, phase, statement.block, key))

    def _see_header(self, header: Header) -> None:
        name = block_hash(header)
        self._heights[name] = header.height
        if self._heights.get(header.parent) == header.height:
            self.tails[name] = header.parent

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
        self._counted.add((committee.epoch, tuple(signers)))
        if not verify_certificate(certificate, committee):
            raise Violation("L7", f"a certificate that does not verify was sent: {certificate.statement}")
        statement = certificate.statement
        self.certificates.see(statement.epoch, statement.view, Phase(statement.phase), statement.block)
