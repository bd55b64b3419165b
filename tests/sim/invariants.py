"""What must hold, as plain checks over what the world observes from outside the nodes.

The names are those of the protocol's rules: L1 one final block for each height, L2 final blocks on one
chain and no view both finalized and nullified, L3 no key contradicts itself, L4 views never go back,
L5 what was acknowledged stays, L6 equal state at equal height, L8 blocks follow their parents.
Each check raises `Violation`.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocol.blocks import BlockHash, Phase
from protocol.errors import Malformed
from protocol.evidence import Evidence, verify_evidence
from protocol.keys import PublicKey
from protocol.transactions import TransactionId
from tests.sim.world import Violation


@dataclass(frozen=True, slots=True)
class Said:
    """One statement that left a node, signed by `signer`. `block` is anything equal for equal content."""

    epoch: int
    view: int
    phase: Phase
    block: bytes
    signer: Hashable


class VoteCollector:
    """Everything that any key was ever heard to say, across crashes and restarts. L3 and L4."""

    def __init__(self) -> None:
        self._heard: dict[tuple[Hashable, int, int, Phase], bytes] = {}
        self._highest: dict[Hashable, tuple[int, int]] = {}
        self.doubled: set[Hashable] = set()
        """Keys that the story put into two places: what they say is not held against them."""

    def hear(self, said: Said) -> None:
        """Takes in one statement, in the order of sending. Statements sent again are no news."""
        if said.signer in self.doubled:
            return
        place = (said.signer, said.epoch, said.view)
        earlier = self._heard.get((*place, said.phase))
        if earlier == said.block:
            return
        if earlier is not None:
            raise Violation("L3", f"{said.phase.name} for two blocks in view {said.view}: {said}")
        opposite = _EXCLUDES.get(said.phase)
        if opposite is not None and (*place, opposite) in self._heard:
            raise Violation("L3", f"NULL and FINALIZE in view {said.view}: {said}")
        self._heard[(*place, said.phase)] = said.block
        if said.phase != Phase.FINALIZE:
            self._check_order(said)

    def _check_order(self, said: Said) -> None:
        # A FINALIZE is of the view before, and may be heard late: its first copy can die in a crash.
        highest = self._highest.get(said.signer, (0, 0))
        if (said.epoch, said.view) < highest:
            raise Violation("L4", f"a new vote below view {highest[1]}: {said}")
        self._highest[said.signer] = (said.epoch, said.view)


_EXCLUDES = {Phase.NULL: Phase.FINALIZE, Phase.FINALIZE: Phase.NULL}


class CertificateCollector:
    """Every certificate that was seen anywhere. L2, together with the chain at the end."""

    def __init__(self) -> None:
        self.finalized: dict[tuple[int, int], BlockHash] = {}
        self._nullified: set[tuple[int, int]] = set()

    def see(self, epoch: int, view: int, phase: Phase, block: BlockHash) -> None:
        """Takes in one certificate whose signatures were verified."""
        place = (epoch, view)
        if phase == Phase.NULL:
            self._nullified.add(place)
        elif phase == Phase.FINALIZE and self.finalized.setdefault(place, block) != block:
            raise Violation("L2", f"two blocks finalized in view {view} of epoch {epoch}")
        if place in self._nullified and place in self.finalized:
            raise Violation("L2", f"view {view} of epoch {epoch} is both finalized and nullified")

    def check_chain(
        self, chain: Sequence["FinalBlock"], tails: Mapping[BlockHash, BlockHash] | None = None
    ) -> None:
        """Every finalized block up to the end of `chain` is in it, or is a tail of one that closes its
        epoch. `tails` names the closing block of each tail that was heard of."""
        blocks = {block.name for block in chain}
        closing = {one.name for one, two in pairwise(chain) if one.epoch != two.epoch}
        last = (chain[-1].epoch, chain[-1].view) if chain else (0, 0)
        for place, name in self.finalized.items():
            is_tail = tails is not None and tails.get(name) in closing
            if place <= last and name not in blocks and not is_tail:
                raise Violation("L2", f"the block finalized in view {place[1]} is not on the chain")


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A final block as one node holds it."""

    height: int
    name: BlockHash
    parent: BlockHash
    epoch: int
    view: int
    time_ms: int
    state_root: bytes
    transactions: tuple[TransactionId, ...]


class ChainCollector:
    """The final blocks of all nodes, by height. L1, L6 and L8; a node never loses one again."""

    def __init__(self) -> None:
        self.chain: dict[int, FinalBlock] = {}
        self._first_seen_at: dict[int, str] = {}
        self._heights: dict[str, int] = {}

    @property
    def epoch(self) -> int:
        """The epoch of the highest block seen."""
        return self.chain[max(self.chain)].epoch if self.chain else 0

    def height(self, node: str) -> int:
        """Up to where the blocks of `node` were seen."""
        return self._heights.get(node, 0)

    def see(self, node: str, block: FinalBlock) -> None:
        """Takes in the next final block of a node."""
        known = self.chain.setdefault(block.height, block)
        first = self._first_seen_at.setdefault(block.height, node)
        if known.name != block.name:
            raise Violation("L1", f"{first} and {node} hold different final blocks at {block.height}")
        if known.state_root != block.state_root:
            raise Violation("L6", f"{first} and {node} have different states at {block.height}")
        parent = self.chain.get(block.height - 1)
        if parent is not None:
            _check_follows(parent, block)
        self._heights[node] = max(block.height, self.height(node))

    def put_back(self, node: str) -> None:
        """The story put an older disk into `node`: it may be lower than it was."""
        self._heights.pop(node, None)

    def check_kept(self, node: str, height: int) -> None:
        """`height` is that of the newest block of `node` now."""
        if height < self.height(node):
            raise Violation("L5", f"{node} went back from height {self.height(node)} to {height}")


def _check_follows(parent: FinalBlock, block: FinalBlock) -> None:
    if block.parent != parent.name:
        raise Violation("L8", f"the block at {block.height} does not extend the final one below")
    if block.time_ms <= parent.time_ms:
        raise Violation("L8", f"time goes back at {block.height}")
    if block.view <= parent.view:
        raise Violation("L8", f"the view goes back at {block.height}")
    if block.epoch not in (parent.epoch, parent.epoch + 1):
        raise Violation("L8", f"epoch {block.epoch} follows epoch {parent.epoch} at {block.height}")


class KeyCollector:
    """Which vote keys have ended, by the final changes alone. L8: none counts in an epoch after that."""

    def __init__(self, founders: Mapping[PublicKey, PublicKey]) -> None:
        """`founders` are the vote keys of the first members by their identity keys."""
        self._keys = dict(founders)
        self._ended: dict[PublicKey, int] = {}

    def admitted(self, member: PublicKey, vote_key: PublicKey) -> None:
        self._keys[member] = vote_key

    def ended(self, member: PublicKey, epoch: int, *, next_key: PublicKey | None = None) -> None:
        """A final block of `epoch` ends the vote key of `member`, or changes it for `next_key`."""
        self._ended.setdefault(self._keys[member], epoch)
        if next_key is not None:
            self._keys[member] = next_key

    def check(self, epoch: int, signers: Iterable[PublicKey]) -> None:
        """`signers` are the vote keys that a certificate of `epoch` counts."""
        for key in signers:
            if self._ended.get(key, epoch) < epoch:
                where = f"epoch {self._ended[key]} is counted in epoch {epoch}"
                raise Violation("L8", f"a vote key that ended in {where}: {key.hex()[:12]}")


def check_acknowledged(
    acknowledged: Mapping[TransactionId, int], chains: Mapping[str, Sequence[FinalBlock]]
) -> None:
    """L5: every node holds what was acknowledged, at the height it was told, and nothing twice."""
    for node, chain in chains.items():
        places: dict[TransactionId, int] = {}
        for block in chain:
            for name in block.transactions:
                if name in places:
                    raise Violation("L5", f"{node} holds transaction {name.hex()[:12]} twice")
                places[name] = block.height
        for name, height in acknowledged.items():
            if places.get(name) != height:
                raise Violation(
                    "L5",
                    f"transaction {name.hex()[:12]} was acknowledged at {height}; "
                    f"on {node} it is at {places.get(name)}",
                )


def check_converged(heads: Mapping[str, tuple[int, bytes, bytes]]) -> None:
    """V1 and L6: after the heal, all nodes are at one height, block and state root."""
    if len(set(heads.values())) > 1:
        places = ", ".join(f"{node} at {head[0]} {head[1].hex()[:8]}" for node, head in heads.items())
        raise Violation("V1", f"the nodes did not converge: {places}")


def check_signed_enough(signers: Iterable[Hashable], members: Iterable[Hashable], quorum: int) -> None:
    """L7: a certificate counts distinct members only, and a quorum of them."""
    named = list(signers)
    if len(set(named)) != len(named) or not set(named) <= set(members):
        raise Violation("L7", "a certificate names a signer twice or one who has no vote")
    if len(named) < quorum:
        raise Violation("L7", f"a certificate of {len(named)} signers with a quorum of {quorum}")


def check_evidence(evidence: Iterable[Evidence], traitors: Collection[PublicKey]) -> None:
    """L3 as the nodes see it: what they keep against a vote key convicts it, and it is a traitor's."""
    for item in evidence:
        try:
            verify_evidence(item)
        except Malformed as error:
            raise Violation("L3", f"evidence that convicts nobody: {error}") from error
        if item.vote_key not in traitors:
            raise Violation("L3", f"evidence against an honest validator: {item}")
