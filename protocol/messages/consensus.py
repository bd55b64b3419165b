"""What validators say to each other on the consensus protocol, one frame a message (design §2)."""

from protocol import limits
from protocol.blocks import Block, BlockHash, Certificate, Phase, Statement, check_block
from protocol.codec import HASH_BYTES, Wire, decode
from protocol.errors import Malformed
from protocol.keys import SIGNATURE_BYTES

NULLIFICATIONS_MAX = 256


class Proposal(Wire, frozen=True, tag=1):
    """A leader's block. `signature` is the leader's own vote for it.

    `parent` notarizes or finalizes the parent (None where that is the genesis block), and
    `nullifications` cover every view between the parent's and this one.
    """

    block: Block
    parent: Certificate | None
    nullifications: tuple[Certificate, ...]
    signature: bytes


class Vote(Wire, frozen=True, tag=2):
    """One validator's signed statement of any phase."""

    statement: Statement
    signer: int
    signature: bytes


class Relay(Wire, frozen=True, tag=3):
    """A certificate passed on, so that others enter the view that it ends."""

    certificate: Certificate


class BlockRequest(Wire, frozen=True, tag=4):
    """Asks for a block by hash: one that was notarized without our having seen it."""

    block: BlockHash


class BlockReply(Wire, frozen=True, tag=5):
    block: Block


class Submission(Wire, frozen=True):
    """A transaction with the sealed bytes that travel beside it (empty where it names none)."""

    transaction: bytes
    sealed: bytes


class Forward(Wire, frozen=True, tag=6):
    """Transactions for the mempools of all validators."""

    submissions: tuple[Submission, ...]


ConsensusMessage = Proposal | Vote | Relay | BlockRequest | BlockReply | Forward


def epoch_of(message: ConsensusMessage) -> int | None:
    """The epoch that a message is about, where it is about one."""
    match message:
        case Proposal(block):
            return block.header.epoch
        case Vote(statement) | Relay(Certificate(statement)):
            return statement.epoch
        case BlockRequest() | BlockReply() | Forward():
            return None


def final_block(message: ConsensusMessage) -> BlockHash | None:
    """The block that a message says to be final, by a certificate that is yet to be verified."""
    match message:
        case Relay(Certificate(statement)) | Proposal(parent=Certificate(statement)):
            return statement.block if statement.phase == Phase.FINALIZE else None
        case _:
            return None


def decode_consensus(raw: bytes) -> ConsensusMessage:
    """The message of `raw`, its shape checked and no signature verified.

    Raises:
        Malformed: not canonical, over the limits, or fields of the wrong length.
    """
    message: ConsensusMessage = decode(
        ConsensusMessage,  # type: ignore[arg-type]
        raw,
        limit=limits.CONSENSUS_FRAME_BYTES_MAX,
    )
    match message:
        case Proposal(block, parent, nullifications, signature):
            check_block(block)
            _require(len(nullifications) <= NULLIFICATIONS_MAX)
            _require(len(signature) == SIGNATURE_BYTES)
            for certificate in nullifications if parent is None else (parent, *nullifications):
                _check_certificate(certificate)
        case Vote(statement, signer, signature):
            _require(len(signature) == SIGNATURE_BYTES and 0 <= signer < limits.MEMBERS_MAX)
            _require(len(statement.block) == HASH_BYTES)
        case Relay(certificate):
            _check_certificate(certificate)
        case BlockRequest(block):
            _require(len(block) == HASH_BYTES)
        case BlockReply(block):
            check_block(block)
        case Forward(submissions):
            _require(0 < len(submissions) <= limits.BLOCK_TRANSACTIONS_MAX)
    return message


def _check_certificate(certificate: Certificate) -> None:
    _require(0 <= certificate.signers < 1 << limits.MEMBERS_MAX)
    _require(len(certificate.signatures) <= limits.MEMBERS_MAX)


def _require(condition: bool) -> None:
    if not condition:
        raise Malformed("consensus message has a field out of its limits")
