"""Blocks, certificates, committees and the genesis file: what makes a height final.

A block's hash is the hash of its header; its transactions are committed by `tx_root` and the state
after it by `state_root`. A certificate is q validators' signatures on one statement of one view.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

from msgspec.structs import replace

from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Malformed
from protocol.keys import (
    NETWORK_ID_BYTES,
    PublicKey,
    SealKey,
    SigningKey,
    is_public_key,
    is_seal_key,
    verify,
)
from protocol.limits import NetworkLimits
from protocol.merkle import EMPTY_ROOT

BlockHash = NewType("BlockHash", bytes)
NetworkId = NewType("NetworkId", bytes)

VERSION = 1
NO_BLOCK = BlockHash(bytes(HASH_BYTES))
NO_NETWORK = NetworkId(bytes(NETWORK_ID_BYTES))
_GENESIS_BYTES_MAX = 128 * limits.KIB


class Phase(IntEnum):
    """The three statements of a view. NULL and FINALIZE exclude each other for one signer and view."""

    VOTE = 1
    NULL = 2
    FINALIZE = 3


class Header(Wire, frozen=True):
    """Committed by the block hash. `time_ms` is Unix time in milliseconds."""

    version: int
    network: NetworkId
    epoch: int
    view: int
    height: int
    parent: BlockHash
    time_ms: int
    tx_root: bytes
    state_root: bytes
    proposer: PublicKey


class Block(Wire, frozen=True):
    """A header and what it commits to. `sealed[i]` travels beside `transactions[i]`, or is empty."""

    header: Header
    transactions: tuple[bytes, ...]
    sealed: tuple[bytes, ...]


class Statement(Wire, frozen=True):
    """What a validator signs: one phase of one view. `block` is NO_BLOCK for NULL."""

    epoch: int
    view: int
    phase: int
    block: BlockHash


class Certificate(Wire, frozen=True):
    """A quorum on one statement. Bit i of `signers` is validator i; signatures in rising order of i."""

    statement: Statement
    signers: int
    signatures: tuple[bytes, ...]


class Finality(Wire, frozen=True):
    """What shows that a block is final: a finalization of itself, or of a `tail` of it.

    A tail is an empty block that follows one which closes its epoch: the old committee goes on with
    tails until it has finalized the block. Each carries the height of that block and names it as its
    parent, and none becomes part of the chain.
    """

    certificate: Certificate
    tail: Header | None = None


class Member(Wire, frozen=True):
    """A clinic's public card. `id_key` is its transport identity, `vote_key` signs in the epoch."""

    name: str
    id_key: PublicKey
    vote_key: PublicKey
    enc_key: SealKey
    addresses: tuple[str, ...]


class SignedCard(Wire, frozen=True):
    """A card signed by its identity key and its vote key, outside any network."""

    body: bytes
    id_signature: bytes
    vote_signature: bytes


class Genesis(Wire, frozen=True):
    """The network's first and only given: its id is the hash of this. The first members all validate."""

    version: int
    name: str
    created_ms: int
    terms_hash: bytes
    limits: NetworkLimits
    members: tuple[Member, ...]


def block_hash(header: Header) -> BlockHash:
    return BlockHash(digest("block", encode(header)))


def is_tail(header: Header, closing: Header) -> bool:
    """Whether `header` is that of a tail of `closing`."""
    return header == replace(
        closing,
        view=header.view,
        parent=block_hash(closing),
        time_ms=header.time_ms,
        tx_root=EMPTY_ROOT,
        proposer=header.proposer,
    ) and (header.view > closing.view and header.time_ms > closing.time_ms)


def network_id(genesis: Genesis) -> NetworkId:
    return NetworkId(digest("genesis", encode(genesis)))


def faults_of(count: int) -> int:
    """f of `count` validators."""
    return (count - 1) // 3


def quorum_of(count: int) -> int:
    """q of `count` validators."""
    return (count + faults_of(count)) // 2 + 1


@dataclass(frozen=True, slots=True)
class Committee:
    """The validators of one epoch, by vote key, in the order that signer bits and leaders use."""

    network: NetworkId
    epoch: int
    validators: tuple[PublicKey, ...]

    @property
    def faults(self) -> int:
        """f: how many may be hostile. 0 for three or fewer: those tolerate crashes only."""
        return faults_of(len(self.validators))

    @property
    def quorum(self) -> int:
        """q: any two quorums share at least f + 1 validators, and q never exceeds N - f."""
        return quorum_of(len(self.validators))

    def leader(self, view: int) -> int:
        """The index of the leader of `view`: a permutation seeded per epoch, in rotation."""
        return leader_order(self)[view % len(self.validators)]

    def index(self, vote_key: PublicKey) -> int | None:
        """The validator's index, or None where the key has no vote in this epoch."""
        return self.validators.index(vote_key) if vote_key in self.validators else None


def leader_order(committee: Committee) -> tuple[int, ...]:
    """Validator indices ordered by a hash that nobody chooses alone."""
    prefix = committee.network + committee.epoch.to_bytes(8, "big")
    return tuple(
        sorted(
            range(len(committee.validators)),
            key=lambda index: digest("leader", prefix, committee.validators[index]),
        )
    )


def genesis_committee(genesis: Genesis) -> Committee:
    """The committee of epoch 0: every founding member."""
    return Committee(network_id(genesis), 0, tuple(member.vote_key for member in genesis.members))


def sign_statement(statement: Statement, key: SigningKey, network: NetworkId) -> bytes:
    return key.sign("statement", network, encode(statement))


def verify_statement(statement: Statement, signature: bytes, key: PublicKey, network: NetworkId) -> bool:
    return verify(key, "statement", network, encode(statement), signature)


def verify_certificate(certificate: Certificate, committee: Committee) -> bool:
    """Whether `certificate` holds q valid signatures of distinct validators of this committee's epoch."""
    statement, count = certificate.statement, len(committee.validators)
    if statement.epoch != committee.epoch or not is_statement(statement):
        return False
    if certificate.signers < 0 or certificate.signers >> count:
        return False
    signers = [index for index in range(count) if certificate.signers >> index & 1]
    if len(signers) < committee.quorum or len(signers) != len(certificate.signatures):
        return False
    return all(
        verify_statement(statement, signature, committee.validators[index], committee.network)
        for index, signature in zip(signers, certificate.signatures, strict=True)
    )


def is_statement(statement: Statement) -> bool:
    """Whether the shape is right: a known phase, a view from 1 on, and NO_BLOCK exactly for NULL."""
    return (
        statement.phase in (Phase.VOTE, Phase.NULL, Phase.FINALIZE)
        and statement.view >= 1
        and statement.epoch >= 0
        and len(statement.block) == HASH_BYTES
        and (statement.block == NO_BLOCK) == (statement.phase == Phase.NULL)
    )


def sign_card(member: Member, id_key: SigningKey, vote_key: SigningKey) -> SignedCard:
    """A clinic's card; both keys sign, so that nobody can claim a key it does not hold."""
    body = encode(member)
    return SignedCard(body, id_key.sign("card", NO_NETWORK, body), vote_key.sign("card", NO_NETWORK, body))


def verify_card(signed: SignedCard) -> Member:
    """The member of a card.

    Raises:
        Malformed: not canonical, a field out of its limits, or a signature that does not verify.
    """
    member = decode(Member, signed.body, limit=limits.CONTROL_FRAME_BYTES_MAX)
    check_member(member)
    for key, signature in (
        (member.id_key, signed.id_signature),
        (member.vote_key, signed.vote_signature),
    ):
        if not verify(key, "card", NO_NETWORK, signed.body, signature):
            raise Malformed("card is not signed by its own keys")
    return member


def check_member(member: Member) -> None:
    """Raises Malformed where a field of the card is out of its limits."""
    if not 1 <= len(member.name) <= limits.NAME_CHARS_MAX or not member.name.isprintable():
        raise Malformed("member name is empty, too long or not printable")
    keys_known = is_public_key(member.id_key) and is_public_key(member.vote_key)
    if not (keys_known and is_seal_key(member.enc_key)):
        raise Malformed("member key of an unknown kind")
    if len(member.addresses) > limits.ADDRESSES_MAX or any(
        len(address) > limits.ADDRESS_CHARS_MAX for address in member.addresses
    ):
        raise Malformed("member has too many or too long addresses")


def decode_genesis(raw: bytes) -> Genesis:
    """The genesis of `raw`.

    Raises:
        Malformed: not canonical, of another version, or members that are too many or share a key.
    """
    genesis = decode(Genesis, raw, limit=_GENESIS_BYTES_MAX)
    if genesis.version != VERSION:
        raise Malformed(f"genesis version {genesis.version} is not {VERSION}")
    if not 1 <= len(genesis.members) <= limits.MEMBERS_MAX:
        raise Malformed("genesis has no members or too many")
    for member in genesis.members:
        check_member(member)
    check_limits(genesis.limits)
    keys = [key for member in genesis.members for key in (member.id_key, member.vote_key)]
    names = {member.name for member in genesis.members}
    if len(set(keys)) != len(keys) or len(names) != len(genesis.members):
        raise Malformed("two members of the genesis share a key or a name")
    return genesis


def check_limits(own: NetworkLimits) -> None:
    """Raises Malformed where a network's limits are not ones that a node could work under."""
    in_range = (
        limits.SECOND_MS <= own.heartbeat_ms <= own.max_stale_default_ms <= limits.DAY_MS
        and limits.SECOND_MS <= own.tolerance_ms <= own.max_stale_default_ms
        and 0 < own.view_timeout_ms <= own.view_timeout_max_ms <= limits.HOUR_MS
        and limits.HOUR_MS <= own.grant_life_max_ms <= limits.GRANT_LIFE_MS_MAX
        and limits.BLOCK_BYTES_MIN <= own.block_bytes_max <= limits.BLOCK_BYTES_MAX
        and 1 <= own.holders <= limits.MEMBERS_MAX
        and 1 <= own.grants_per_token_max <= limits.GRANTS_PER_TOKEN_MAX
        and limits.MINUTE_MS <= own.audit_head_interval_ms <= limits.DAY_MS
        and 0 <= own.rotation_interval_ms <= limits.DAY_MS
    )
    if not in_range:
        raise Malformed("genesis has limits that no node can work under")


def decode_block(raw: bytes) -> Block:
    """The block of `raw`, its shape checked; nothing about its contents is verified.

    Raises:
        Malformed: not canonical, over the limits, or fields of the wrong length.
    """
    block = decode(Block, raw, limit=limits.CONSENSUS_FRAME_BYTES_MAX)
    check_block(block)
    return block


def check_block(block: Block) -> None:
    """Raises Malformed where a field is of the wrong length or a list over its limit."""
    header = block.header
    hashes = (header.network, header.parent, header.tx_root, header.state_root)
    if header.version != VERSION or any(len(item) != HASH_BYTES for item in hashes):
        raise Malformed("block header is not of this version or has a field of the wrong length")
    if min(header.epoch, header.view, header.height, header.time_ms) < 0:
        raise Malformed("block header has a negative number")
    if len(block.transactions) > limits.BLOCK_TRANSACTIONS_MAX:
        raise Malformed("block has too many transactions")
    if len(block.sealed) != len(block.transactions):
        raise Malformed("block has not one sealed entry for each transaction")
    if any(len(item) > limits.SEALED_BYTES_MAX for item in block.sealed):
        raise Malformed("block has a sealed entry over its limit")
