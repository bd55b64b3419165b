"""The rules of membership on the ledger: what each change needs, and which entries it changes.

A change that touches the committee closes the epoch: the roster's `epoch` after the block is one more
than the header's. One block closes at most one epoch, so two committees in a row differ in one member.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from protocol import limits
from protocol.blocks import Member, quorum_of
from protocol.codec import decode
from protocol.errors import Rejected, Rejection
from protocol.keys import PublicKey
from protocol.limits import NetworkLimits
from protocol.membership import Admit, Approved, MembershipBody, Promote, Remove, RotateVoteKey, Suspend
from protocol.state import (
    ROSTER_ENTRY_KEY,
    Entry,
    Lookups,
    MemberState,
    Role,
    RosterState,
    Seat,
    VoteKeyState,
    member_entry_key,
    new_member,
    vote_key_entry_key,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change stands: in a block of this epoch, height and time, under these limits."""

    epoch: int
    height: int
    time_ms: int
    limits: NetworkLimits


def membership_changes(
    state: Lookups, body: MembershipBody, signers: tuple[PublicKey, ...], place: Place
) -> dict[bytes, Entry]:
    """The entries that `body`, signed by `signers`, changes in `state`, by their keys.

    Raises:
        Rejected: with a `Rejection`.
    """
    roster = state.roster
    if not isinstance(body, RotateVoteKey):
        _check_approvals(roster, body, signers, place)
    match body:
        case Admit():
            return _admit(state, roster, body, place)
        case Promote():
            return _promote(roster, _member(state, body.member), place)
        case Suspend():
            return _end(roster, _member(state, body.member), Role.SUSPENDED, place)
        case Remove():
            return _end(roster, _member(state, body.member), Role.REMOVED, place)
        case RotateVoteKey():
            return _rotate(state, roster, _member(state, body.member), body.vote_key, place)


def is_approved(roster: RosterState, signers: tuple[PublicKey, ...]) -> bool:
    """Whether `signers`, identity keys, are a quorum of the validators of `roster`."""
    validators = {seat.id_key for seat in roster.validators}
    return len(validators & set(signers)) >= quorum_of(len(validators))


def suspends_at_sight(state: Lookups, body: Suspend, signers: tuple[PublicKey, ...], time_ms: int) -> bool:
    """Whether a Suspend signed by `signers` counts in `state` from sight on, whatever the order.

    `time_ms` is that of the newest final block.
    """
    member = state.member(body.member)
    return (
        member is not None
        and member.role < Role.SUSPENDED
        and time_ms <= body.not_after_ms
        and is_approved(state.roster, signers)
    )


def _check_approvals(
    roster: RosterState, body: Approved, signers: tuple[PublicKey, ...], place: Place
) -> None:
    _require(is_approved(roster, signers), Rejection.APPROVALS)
    _require(place.time_ms <= body.not_after_ms, Rejection.CHANGE_EXPIRED)


def _admit(state: Lookups, roster: RosterState, body: Admit, place: Place) -> dict[bytes, Entry]:
    card = decode(Member, body.card.body, limit=limits.CONTROL_FRAME_BYTES_MAX)
    _require(body.terms_hash == roster.terms_hash, Rejection.TERMS)
    _require(state.member(card.id_key) is None, Rejection.MEMBER_KNOWN)
    _require(state.vote_key(card.vote_key) is None, Rejection.VOTE_KEY_USED)
    _require(all(card.name != member.name for member in state.members()), Rejection.NAME_TAKEN)
    _require(len(roster.members) < limits.MEMBERS_MAX, Rejection.MEMBERS_FULL)
    return {
        ROSTER_ENTRY_KEY: replace(roster, members=(*roster.members, card.id_key)),
        member_entry_key(card.id_key): new_member(card, Role.FOLLOWER, place.height),
        vote_key_entry_key(card.vote_key): VoteKeyState(card.id_key),
    }


def _promote(roster: RosterState, member: MemberState, place: Place) -> dict[bytes, Entry]:
    _require(member.role == Role.FOLLOWER, Rejection.ROLE)
    seats = (*roster.validators, Seat(member.id_key, member.vote_key))
    return {
        ROSTER_ENTRY_KEY: _next_epoch(roster, seats, place),
        member_entry_key(member.id_key): replace(member, role=Role.VALIDATOR, height=place.height),
    }


def _end(roster: RosterState, member: MemberState, role: Role, place: Place) -> dict[bytes, Entry]:
    _require(member.role < role, Rejection.ROLE)
    changed: dict[bytes, Entry] = {
        member_entry_key(member.id_key): replace(member, role=role, height=place.height)
    }
    ended = roster
    if member.role == Role.VALIDATOR:
        seats = tuple(seat for seat in roster.validators if seat.id_key != member.id_key)
        _require(bool(seats), Rejection.LAST_VALIDATOR)
        ended = _next_epoch(roster, seats, place)
    if role == Role.REMOVED:
        ended = replace(ended, members=tuple(key for key in ended.members if key != member.id_key))
    return changed if ended is roster else {**changed, ROSTER_ENTRY_KEY: ended}


def _rotate(
    state: Lookups, roster: RosterState, member: MemberState, vote_key: PublicKey, place: Place
) -> dict[bytes, Entry]:
    _require(member.is_active, Rejection.ROLE)
    _require(state.vote_key(vote_key) is None, Rejection.VOTE_KEY_USED)
    due_ms = member.vote_key_ms + place.limits.rotation_interval_ms
    _require(place.time_ms >= due_ms, Rejection.ROTATED_TOO_SOON)
    changed: dict[bytes, Entry] = {
        member_entry_key(member.id_key): replace(
            member, vote_key=vote_key, vote_key_ms=place.time_ms, height=place.height
        ),
        vote_key_entry_key(vote_key): VoteKeyState(member.id_key),
    }
    if member.role == Role.VALIDATOR:
        seats = tuple(
            Seat(seat.id_key, vote_key) if seat.id_key == member.id_key else seat
            for seat in roster.validators
        )
        changed[ROSTER_ENTRY_KEY] = _next_epoch(roster, seats, place)
    return changed


def _next_epoch(roster: RosterState, seats: tuple[Seat, ...], place: Place) -> RosterState:
    _require(roster.epoch == place.epoch, Rejection.EPOCH_CLOSES)
    return replace(roster, epoch=roster.epoch + 1, validators=seats)


def _member(state: Lookups, id_key: PublicKey) -> MemberState:
    member = state.member(id_key)
    if member is None:
        raise Rejected(Rejection.NOT_MEMBER)
    return member


def _require(condition: bool, rejection: Rejection) -> None:
    if not condition:
        raise Rejected(rejection)
