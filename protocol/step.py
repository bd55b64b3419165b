"""What goes into a step of the consensus machine, and what comes out of it."""

from dataclasses import dataclass, field
from typing import Protocol

from protocol.ballot import VoteRecord
from protocol.blocks import Block, BlockHash, Certificate, Finality
from protocol.messages.consensus import ConsensusMessage


@dataclass(frozen=True, slots=True)
class Now:
    """`elapsed_ms` drives timers, `wall_ms` block times."""

    elapsed_ms: int
    wall_ms: int


class Chain(Protocol):
    """What the machine asks of the ledger. Every method is pure computation on memory."""

    def block(self, name: BlockHash) -> Block | None:
        """A block known and not yet final, executed or not."""
        ...

    def base(self, name: BlockHash) -> BlockHash:
        """The block that counts as `name`: itself, or the one that it is a tail of."""
        ...

    def closes_epoch(self, name: BlockHash) -> bool:
        """Whether a known block is the last of its epoch."""
        ...

    def add(self, block: Block) -> None:
        """Remembers a block that may become notarized."""
        ...

    def is_valid(self, block: Block, now: Now) -> bool:
        """Executes `block` on its parent's state. False where the parent's is not known."""
        ...

    def propose(self, parent: BlockHash, view: int, now: Now) -> Block | None:
        """A block of all that waits, on `parent`, or a tail of it where it closes the epoch.

        None where its state is not known.
        """
        ...

    def has_work(self, parent: BlockHash, now: Now) -> bool:
        """Whether transactions wait that `parent`'s chain does not hold, or a heartbeat is due."""
        ...


@dataclass(slots=True)
class Output:
    """What one step asks of the world, in this order: store, make `record` durable, send, apply.

    `blocks` and `certificates` are what the record rests on; they are empty without one. `sends` go
    to the validator of that index, or to every other one where it is None. `behind` says that a
    final block is known whose chain is not: catch up by height. `is_forged` says that the message came with
    a signature of this epoch that does not verify: whoever sent it made it up, or passes on what it did
    not check.
    """

    blocks: list[Block] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    record: VoteRecord | None = None
    sends: list[tuple[int | None, ConsensusMessage]] = field(default_factory=list)
    finalized: list[tuple[tuple[Block, ...], Finality]] = field(default_factory=list)
    behind: bool = False
    is_forged: bool = False

    def broadcast(self, message: ConsensusMessage) -> None:
        self.sends.append((None, message))
