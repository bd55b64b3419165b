"""The roll: who is a member at one height, shown to whoever holds that height's header and nothing else."""

from collections.abc import Iterable

from protocol import limits
from protocol.blocks import Header, Member
from protocol.codec import Wire, decode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.state import (
    ROSTER_ENTRY_KEY,
    LedgerState,
    MemberState,
    RosterState,
    member_entry_key,
)
from protocol.statemap import Proof, verify_proof


class ProvenEntry(Wire, frozen=True):
    """An entry of the ledger's state, encoded, and its proof against a header's state root."""

    value: bytes
    proof: Proof


class Roll(Wire, frozen=True):
    """The roster's entry, and that of each member in the roster's order."""

    roster: ProvenEntry
    members: tuple[ProvenEntry, ...]


def prove_roll(state: LedgerState) -> Roll:
    """The roll of `state`."""
    keys = map(member_entry_key, state.roster.members)
    return Roll(_prove(state, ROSTER_ENTRY_KEY), tuple(_prove(state, key) for key in keys))


def verify_roll(header: Header, roll: Roll) -> tuple[MemberState, ...]:
    """All members after the block of `header`, a final one, in the order of admission, also the suspended.

    Raises:
        RemoteProtocolError: an entry is not proven, or one is missing.
    """
    roster = decode(
        RosterState, _proven(header, ROSTER_ENTRY_KEY, roll.roster), limit=limits.STATE_ENTRY_BYTES_MAX
    )
    if len(roll.members) != len(roster.members):
        raise RemoteProtocolError("a roll without all members")
    entries = zip(roster.members, roll.members, strict=True)
    return tuple(
        decode(
            MemberState, _proven(header, member_entry_key(key), entry), limit=limits.STATE_ENTRY_BYTES_MAX
        )
        for key, entry in entries
    )


def active_members(states: Iterable[MemberState]) -> tuple[Member, ...]:
    """The cards of those that are neither suspended nor removed, in their order."""
    return tuple(
        Member(one.name, one.id_key, one.vote_key, one.enc_key, one.addresses)
        for one in states
        if one.is_active
    )


def _prove(state: LedgerState, key: bytes) -> ProvenEntry:
    value = state.entries.get(key)
    if value is None:
        raise LocalProtocolError("a state without an entry that its roster names")
    return ProvenEntry(value, state.entries.prove(key))


def _proven(header: Header, key: bytes, entry: ProvenEntry) -> bytes:
    if not verify_proof(header.state_root, key, entry.value, entry.proof):
        raise RemoteProtocolError("an entry of the roll that is not in the state")
    return entry.value
