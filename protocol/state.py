"""The ledger's state: its entries, the keys they live under, and point lookups.

Every entry is a leaf of one state map, so whatever is here can be proven to a light client. Keys are
hashes under a domain of their own for each kind of entry: a key of one kind is never one of another,
and nothing is ever found by a scan. Entries are replaced and never deleted.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from protocol import limits
from protocol.blocks import Committee, Genesis, Member, NetworkId, network_id
from protocol.codec import HASH_BYTES, Wire, decode, decode_own, digest, encode
from protocol.keys import PublicKey, SealKey
from protocol.limits import NetworkLimits
from protocol.statemap import StateMap
from protocol.transactions import Content, GrantId, TokenId, TransactionId

NO_HISTORY = bytes(HASH_BYTES)
NO_AUDIT_HEAD = bytes(HASH_BYTES)
NEAR_BYTES = 2
"""How much of a grant's key is its token's. More would make paths longer in ledgers of few tokens, and what
is left must resist collisions: an owner who finds one has two grants under one entry."""


class TokenState(Wire, frozen=True, tag=1):
    """A token as of `height`, the block of its newest transaction.

    `generation` counts transfers, rotations and the erasure; `grants` counts the grants registered or
    tombstoned in this generation. `history` is folded over every transaction that touched the token,
    so whoever proves this entry cannot have withheld one. An erased token keeps all but its bytes.
    """

    issuer: PublicKey
    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey
    content: Content
    sealed_key_hash: bytes
    generation: int
    grants: int
    history: bytes
    erased: bool
    minted_height: int
    height: int


class GrantState(Wire, frozen=True, tag=2):
    """A grant as of `height`, where it was registered, kept or revoked last.

    It is live while `generation` is its token's and it is not revoked. `registered_generation` is that
    of the key that signed it. A tombstone, for a revocation that came first, has no `sealed_hash`.
    """

    generation: int
    registered_generation: int
    revoked: bool
    sealed_hash: bytes
    height: int


class OwnerKeyState(Wire, frozen=True, tag=3):
    """The token and generation that a one-time owner key was used for. Never changes."""

    token: TokenId
    generation: int


class Role(IntEnum):
    """What a member is. Members only move forward."""

    FOLLOWER = 1
    VALIDATOR = 2
    SUSPENDED = 3
    REMOVED = 4

    @property
    def is_active(self) -> bool:
        """Whether the member may do what members do: hold, serve, issue, fetch."""
        return self in (Role.FOLLOWER, Role.VALIDATOR)


class MemberState(Wire, frozen=True, tag=4):
    """A member as of `height`, where its part changed last, and its newest audit head.

    The head is of `audit_sequence` records, posted at `audit_time_ms`. `vote_key_ms` is the time of the
    block that brought the present vote key, 0 for the one that the member came with.
    """

    id_key: PublicKey
    vote_key: PublicKey
    enc_key: SealKey
    name: str
    addresses: tuple[str, ...]
    role: int
    height: int
    vote_key_ms: int
    audit_sequence: int
    audit_head: bytes
    audit_time_ms: int

    @property
    def is_active(self) -> bool:
        return Role(self.role).is_active


class Seat(Wire, frozen=True):
    """A validator's place in the committee: whose it is, and the key that votes."""

    id_key: PublicKey
    vote_key: PublicKey


class RosterState(Wire, frozen=True, tag=5):
    """The committee of `epoch`, the one that votes on the next block, and all members not removed.

    `members` are identity keys in the order of admission. There is one such entry.
    """

    epoch: int
    terms_hash: bytes
    validators: tuple[Seat, ...]
    members: tuple[PublicKey, ...]


class VoteKeyState(Wire, frozen=True, tag=6):
    """The member that a vote key is or was of. Never changes: a vote key comes once."""

    member: PublicKey


Entry = TokenState | GrantState | OwnerKeyState | MemberState | RosterState | VoteKeyState
E = TypeVar("E", TokenState, GrantState, OwnerKeyState, MemberState, RosterState, VoteKeyState)


def token_entry_key(token: TokenId) -> bytes:
    return digest("state-token", token)


def grant_entry_key(token: TokenId, grant_id: GrantId) -> bytes:
    """Begins as that of its token, so that the upper parts of their two paths are one."""
    near = token_entry_key(token)[:NEAR_BYTES]
    return near + digest("state-grant", token, grant_id)[NEAR_BYTES:]


def owner_key_entry_key(owner_key: PublicKey) -> bytes:
    return digest("state-owner-key", owner_key)


def member_entry_key(id_key: PublicKey) -> bytes:
    return digest("state-member", id_key)


def vote_key_entry_key(vote_key: PublicKey) -> bytes:
    return digest("state-vote-key", vote_key)


ROSTER_ENTRY_KEY = digest("state-roster")


def decode_entry(value: bytes) -> Entry:
    """The entry of a leaf's value, whatever its kind. Raises Malformed."""
    return decode(Entry, value, limit=limits.STATE_ENTRY_BYTES_MAX)  # type: ignore[arg-type]


def next_history(history: bytes, transaction: TransactionId) -> bytes:
    """The history of a token after one more transaction; of a mint, after NO_HISTORY."""
    return digest("history", history, transaction)


def is_live(grant: GrantState, token: TokenState) -> bool:
    """Whether `grant`, found under `token`, still gives access as far as the ledger knows."""
    return grant.generation == token.generation and not grant.revoked and not token.erased


class Lookups:
    """Typed point lookups over any source of entries: a state, or an overlay of one."""

    __slots__ = ()

    def entry(self, kind: type[E], key: bytes) -> E | None:
        raise NotImplementedError

    def token(self, token: TokenId) -> TokenState | None:
        return self.entry(TokenState, token_entry_key(token))

    def grant(self, token: TokenId, grant_id: GrantId) -> GrantState | None:
        """The grant or its tombstone; see `is_live`."""
        return self.entry(GrantState, grant_entry_key(token, grant_id))

    def owner_key(self, owner_key: PublicKey) -> OwnerKeyState | None:
        return self.entry(OwnerKeyState, owner_key_entry_key(owner_key))

    def member(self, id_key: PublicKey) -> MemberState | None:
        return self.entry(MemberState, member_entry_key(id_key))

    def vote_key(self, vote_key: PublicKey) -> VoteKeyState | None:
        return self.entry(VoteKeyState, vote_key_entry_key(vote_key))

    @property
    def roster(self) -> RosterState:
        found = self.entry(RosterState, ROSTER_ENTRY_KEY)
        assert found is not None  # since genesis
        return found

    def members(self) -> list[MemberState]:
        """Every member that is not removed, in the order of admission."""
        found = map(self.member, self.roster.members)
        return [member for member in found if member is not None]


@dataclass(frozen=True, slots=True)
class LedgerState(Lookups):
    """What is true after one block. `entries` shares its structure with the states before it."""

    network: NetworkId
    limits: NetworkLimits
    entries: StateMap

    def entry(self, kind: type[E], key: bytes) -> E | None:
        value = self.entries.get(key)
        return None if value is None else decode_own(kind, value)

    @property
    def committee(self) -> Committee:
        """The validators that vote on the next block."""
        return committee_of(self.roster, self.network)


def committee_of(roster: RosterState, network: NetworkId) -> Committee:
    return Committee(network, roster.epoch, tuple(seat.vote_key for seat in roster.validators))


def new_member(card: Member, role: Role, height: int) -> MemberState:
    """The entry of a clinic that becomes a member at `height`."""
    return MemberState(
        id_key=card.id_key,
        vote_key=card.vote_key,
        enc_key=card.enc_key,
        name=card.name,
        addresses=card.addresses,
        role=role,
        height=height,
        vote_key_ms=0,
        audit_sequence=0,
        audit_head=NO_AUDIT_HEAD,
        audit_time_ms=0,
    )


def genesis_state(genesis: Genesis) -> LedgerState:
    """The state that the first block builds on: the founding members, all validators, nothing else."""
    members = genesis.members
    roster = RosterState(
        epoch=0,
        terms_hash=genesis.terms_hash,
        validators=tuple(Seat(member.id_key, member.vote_key) for member in members),
        members=tuple(member.id_key for member in members),
    )
    entries = {ROSTER_ENTRY_KEY: encode(roster)}
    for member in members:
        entries[member_entry_key(member.id_key)] = encode(new_member(member, Role.VALIDATOR, 0))
        entries[vote_key_entry_key(member.vote_key)] = encode(VoteKeyState(member.id_key))
    return LedgerState(network_id(genesis), genesis.limits, StateMap.empty().update(entries))
