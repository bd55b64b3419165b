"""Changes of the membership that wait for approvals, before they are transactions.

A change is the body of a transaction that needs a quorum of validators' signatures. Members pass it
around with the signatures there are; nothing of this is on the ledger, and losing it loses only time.
Each has a sponsor, the member that brought it up, which may have so many waiting and no more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NewType

from msgspec.structs import replace

from protocol import limits
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, digest
from protocol.errors import Malformed
from protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey, is_public_key, verify
from protocol.membership import (
    Admit,
    Approved,
    Promote,
    Remove,
    Suspend,
    membership_fault,
    verify_admission,
)
from protocol.state import LedgerState, Role
from protocol.transactions import KIND, Body, Signature, sign_body

ChangeId = NewType("ChangeId", bytes)

_SPONSOR = "sponsor"


class PendingChange(Wire, frozen=True):
    """`body` is an encoded Approved. `sponsor` signs it as kind `sponsor`, which approves nothing;
    `approvals` sign it as a transaction, in rising order of their keys."""

    body: bytes
    sponsor: Signature
    approvals: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a pending change would do. `name` is of the card that comes with it, else empty."""

    id: ChangeId
    body: Approved
    member: PublicKey
    name: str = ""


def change_id(body: bytes) -> ChangeId:
    return ChangeId(digest("change", body))


def change_expiry(now_ms: int) -> int:
    """When a change brought up now expires: at the end of a day, so that members who bring up the same
    one on the same day bring up the same bytes, and their approvals add up."""
    return (now_ms + limits.CHANGE_LIFE_MS) // limits.DAY_MS * limits.DAY_MS + limits.DAY_MS


def read_change(body: bytes, network: NetworkId) -> Change:
    """The change of an encoded body.

    Raises:
        Malformed: no such change, or a clinic that did not sign its card and these terms.
    """
    change: Body = decode(Body, body, limit=limits.CHANGE_BYTES_MAX)  # type: ignore[arg-type]
    if not isinstance(change, Admit | Promote | Suspend | Remove):
        raise Malformed("not a change of the membership that members approve")
    fault = membership_fault(change)
    if fault:
        raise Malformed(f"change of the membership has a field that is not acceptable: {fault}")
    if isinstance(change, Admit):
        card = verify_admission(change, network)
        return Change(change_id(body), change, card.id_key, card.name)
    return Change(change_id(body), change, change.member)


def sponsor_change(body: bytes, key: SigningKey, network: NetworkId) -> PendingChange:
    """`body` brought up by the member with this identity key; not approved yet."""
    return PendingChange(body, Signature(key.public, key.sign(_SPONSOR, network, body)), ())


def approve_change(change: PendingChange, key: SigningKey, network: NetworkId) -> PendingChange:
    """`change` with the approval of the member with this identity key."""
    return _with_approvals(change, [sign_body(change.body, key, network)])


def check_pending(change: PendingChange) -> None:
    """Raises Malformed where the shape is not right; no signature is verified."""
    signatures = (change.sponsor, *change.approvals)
    keys = [item.key for item in change.approvals]
    if (
        len(change.body) > limits.CHANGE_BYTES_MAX
        or len(keys) > limits.MEMBERS_MAX
        or keys != sorted(set(keys))
        or not all(is_public_key(item.key) for item in signatures)
        or not all(len(item.signature) == SIGNATURE_BYTES for item in signatures)
    ):
        raise Malformed("pending change has a field out of its limits")


def is_open(change: Change, state: LedgerState, now_ms: int) -> bool:
    """Whether the ledger could still take `change`: in time, and not yet so."""
    body, member = change.body, state.member(change.member)
    if now_ms > body.not_after_ms:
        return False
    match body:
        case Admit():
            return member is None
        case Promote():
            return member is not None and member.role == Role.FOLLOWER
        case Suspend():
            return member is not None and member.role < Role.SUSPENDED and not _is_alone(change, state)
        case Remove():
            return member is not None and member.role < Role.REMOVED and not _is_alone(change, state)


def _is_alone(change: Change, state: LedgerState) -> bool:
    """Whether nobody else has a vote: then it cannot be taken."""
    return all(seat.id_key == change.member for seat in state.roster.validators)


def may_approve(key: PublicKey, state: LedgerState) -> bool:
    """Whether an approval by the member with identity key `key` counts now."""
    return any(seat.id_key == key for seat in state.roster.validators)


def approvals_of(pending: PendingChange, state: LedgerState) -> tuple[Signature, ...]:
    """The approvals that count now, in rising order of their keys."""
    return tuple(item for item in pending.approvals if may_approve(item.key, state))


class Pool:
    """The pending changes that one node knows, by id. Their signatures are verified as they come."""

    def __init__(self, network: NetworkId) -> None:
        self._network = network
        self._changes: dict[ChangeId, tuple[PendingChange, Change]] = {}

    def __iter__(self) -> Iterator[tuple[PendingChange, Change]]:
        return iter(list(self._changes.values()))

    def __len__(self) -> int:
        return len(self._changes)

    def get(self, name: ChangeId) -> tuple[PendingChange, Change] | None:
        return self._changes.get(name)

    def take(self, pending: PendingChange, state: LedgerState, now_ms: int) -> PendingChange | None:
        """Merges what another member or this one says; the change as it is now, where that was news.

        What the ledger would not take, what its sponsor has too many of, and approvals that do not
        count are left out.

        Raises:
            Malformed: a signature that does not verify, or no change of the membership.
        """
        check_pending(pending)
        known = self._changes.get(change_id(pending.body))
        if known is None:
            return self._take_new(pending, state, now_ms)
        held, change = known
        have = {item.key for item in held.approvals}
        news = [item for item in pending.approvals if item.key not in have]
        fresh = self._verified(pending.body, news, state)
        if not fresh:
            return None
        return self._keep(_with_approvals(held, fresh), change)

    def restore(self, pending: PendingChange) -> None:
        """Takes back a change that this node had kept. Raises Malformed."""
        self._keep(pending, read_change(pending.body, self._network))

    def settle(self, state: LedgerState, now_ms: int) -> list[ChangeId]:
        """Drops what is over: done, too late, or its sponsor no member any more. The ids dropped."""
        over = [
            name
            for name, (pending, change) in self._changes.items()
            if not is_open(change, state, now_ms) or not _may_sponsor(pending.sponsor.key, state)
        ]
        for name in over:
            del self._changes[name]
        return over

    def ready(self, state: LedgerState) -> list[tuple[PendingChange, Change]]:
        """The changes that have a quorum of the present committee's approvals."""
        return [
            (pending, change)
            for pending, change in self._changes.values()
            if len(approvals_of(pending, state)) >= state.committee.quorum
        ]

    def _take_new(self, pending: PendingChange, state: LedgerState, now_ms: int) -> PendingChange | None:
        change = read_change(pending.body, self._network)
        sponsor = pending.sponsor
        if not verify(sponsor.key, _SPONSOR, self._network, pending.body, sponsor.signature):
            raise Malformed("pending change is not signed by its sponsor")
        if not is_open(change, state, now_ms) or not _may_sponsor(sponsor.key, state):
            return None
        by_sponsor = [held for held, _ in self._changes.values() if held.sponsor.key == sponsor.key]
        if len(by_sponsor) >= limits.CHANGES_PER_SPONSOR_MAX:
            return None
        approvals = self._verified(pending.body, pending.approvals, state)
        return self._keep(_with_approvals(replace(pending, approvals=()), approvals), change)

    def _verified(self, body: bytes, approvals: Iterable[Signature], state: LedgerState) -> list[Signature]:
        """Those of `approvals` that count. Raises Malformed where one of these is not what it says."""
        counting = [item for item in approvals if may_approve(item.key, state)]
        if not all(verify(item.key, KIND, self._network, body, item.signature) for item in counting):
            raise Malformed("approval of a pending change does not verify")
        return counting

    def _keep(self, pending: PendingChange, change: Change) -> PendingChange:
        self._changes[change.id] = (pending, change)
        return pending


def _may_sponsor(key: PublicKey, state: LedgerState) -> bool:
    member = state.member(key)
    return member is not None and member.is_active


def _with_approvals(change: PendingChange, more: Iterable[Signature]) -> PendingChange:
    by_key = {item.key: item for item in (*change.approvals, *more)}
    return replace(change, approvals=tuple(by_key[key] for key in sorted(by_key)))
