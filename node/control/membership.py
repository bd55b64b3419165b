"""The answers about the membership: who is in, what waits for approvals, what an admin does about it."""

from collections.abc import Iterator

from node.clinic import Clinic
from protocol import limits
from protocol.codec import encode
from protocol.control import (
    ChangeItem,
    EvidenceItem,
    MemberItem,
    MembersResult,
    NetworkApprove,
    NetworkChangeResult,
    NetworkEvidence,
    NetworkEvidenceResult,
    NetworkInvite,
    NetworkInviteResult,
    NetworkRemove,
    NetworkSuspend,
    utc,
)
from protocol.errors import Code, UserError
from protocol.evidence import Evidence, evidence_text
from protocol.invitations import encode_invitation, verify_invitation
from protocol.keys import PublicKey
from protocol.membership import Admit, Approved, Promote, Remove, Suspend
from protocol.pending import Change, PendingChange, change_expiry, is_open
from protocol.state import MemberState, Role
from protocol.two_chains import two_chains_text

ROLE_WORDS = {
    Role.FOLLOWER: "follower",
    Role.VALIDATOR: "validator",
    Role.SUSPENDED: "suspended",
    Role.REMOVED: "removed",
}
_LIST = "see who they are: chartmesh network members"


class MembershipAnswers:
    """Of one clinic, by this node's identity key."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic
        self._ledger, self._parts = clinic.services.ledger, clinic.members
        self._identity = clinic.ports.transport.identity

    def members(self) -> MembersResult:
        return MembersResult(members=tuple(self._member_items()), pending=tuple(self._pending_items()))

    def invite(self, request: NetworkInvite) -> NetworkInviteResult:
        signed = self._parts.invites.invite(request.expires_ms)
        invitation = verify_invitation(signed)
        return NetworkInviteResult(
            code=encode_invitation(signed),
            network=invitation.network.hex(),
            name=invitation.name,
            expires=utc(invitation.expires_ms),
            checkpoint_height=invitation.checkpoint_height,
        )

    def evidence(self, request: NetworkEvidence) -> NetworkEvidenceResult:
        found = self._parts.accusations.all()
        if request.member is not None:
            found = self._parts.accusations.against(self._named(request.member))
        chains = self._clinic.services.halt.found
        return NetworkEvidenceResult(
            evidence=tuple(map(self._evidence_item, found)),
            two_chains="" if chains is None else two_chains_text(chains),
        )

    async def approve(self, request: NetworkApprove) -> NetworkChangeResult:
        """Raises UserError: MEMBERSHIP, there is nothing to approve; or as `_named`."""
        member = self._named(request.member)
        if request.validator:
            return await self._agree(member, Promote, Promote(member, self._expiry()))
        for pending, change in self._parts.changes.pool:
            if change.member == member and isinstance(change.body, Admit):
                return await self._agree_to(pending, change)
        raise UserError(
            "this clinic does not wait to be admitted",
            "to let a follower vote, add --validator; " + _LIST,
            code=Code.MEMBERSHIP,
        )

    async def suspend(self, request: NetworkSuspend) -> NetworkChangeResult:
        member = self._named(request.member)
        return await self._agree(member, Suspend, Suspend(member, request.reason, self._expiry()))

    async def remove(self, request: NetworkRemove) -> NetworkChangeResult:
        member = self._named(request.member)
        return await self._agree(member, Remove, Remove(member, self._expiry()))

    # Changes.

    async def _agree(self, member: PublicKey, kind: type[Approved], body: Approved) -> NetworkChangeResult:
        """Approves every waiting change of this kind; brings one up where none waits."""
        waiting = [
            item
            for item in self._parts.changes.pool
            if item[1].member == member and isinstance(item[1].body, kind)
        ]
        if not waiting:
            self._check_voter()
            change = self._parts.changes.bring_up(encode(body))
            found = self._parts.changes.pool.get(change.id)
            assert found is not None
            waiting = [found]
        for pending, change in waiting[1:]:
            await self._agree_to(pending, change)
        return await self._agree_to(*waiting[0])

    async def _agree_to(self, pending: PendingChange, change: Change) -> NetworkChangeResult:
        self._check_voter()
        await self._parts.changes.approve(change)
        known = self._parts.changes.pool.get(change.id)
        item = self._change_item(pending if known is None else known[0], change)
        is_ready = item.approvals >= item.needed
        final = await self._parts.changes.wait_final(change, limits.FINAL_S) if is_ready else False
        table = self.members()
        return NetworkChangeResult(change=item, final=final, members=table.members, pending=table.pending)

    def _check_voter(self) -> None:
        """Raises UserError MEMBERSHIP where an approval of this node counts for nothing."""
        own = self._ledger.state.member(self._identity)
        if own is None or own.role != Role.VALIDATOR:
            raise UserError(
                "this clinic does not vote, so its approval does not count",
                "ask the admins of those that do: chartmesh network members",
                code=Code.MEMBERSHIP,
            )

    def _expiry(self) -> int:
        return change_expiry(self._clinic.ports.clock.wall_ms())

    def _named(self, text: str) -> PublicKey:
        """The member, or the clinic that asks to join, of this name or id prefix.

        Raises:
            UserError: AMBIGUOUS_ID, MEMBERSHIP: more than one fits, or none.
        """
        known = {key: state.name for key, state in self._states()}
        known |= {change.member: change.name for _, change in self._parts.changes.pool if change.name}
        fitting = [key for key, name in known.items() if name == text]
        fitting = fitting or [key for key in known if key.hex().startswith(text.lower())]
        if len(fitting) > 1:
            raise UserError(
                f"more than one clinic fits {text!r}", "give more of its id", code=Code.AMBIGUOUS_ID
            )
        if not fitting:
            raise UserError(f"no clinic of this network fits {text!r}", _LIST, code=Code.MEMBERSHIP)
        return fitting[0]

    # Rows.

    def _states(self) -> Iterator[tuple[PublicKey, MemberState]]:
        for member in self._ledger.state.members():
            yield member.id_key, member

    def _member_items(self) -> Iterator[MemberItem]:
        clinic, parts = self._clinic, self._parts
        connected = {*clinic.ports.transport.connected(), self._identity}
        heights = {**clinic.services.clock_check.heights, self._identity: self._ledger.height}
        committee = self._ledger.state.committee
        for key, member in self._states():
            seen_ms, is_self = parts.last_seen_ms.get(key), key == self._identity
            is_out = member.role == Role.VALIDATOR and key in parts.suspensions
            yield MemberItem(
                id=key.hex(),
                name=member.name,
                role=ROLE_WORDS[Role.SUSPENDED if is_out else Role(member.role)],
                reachable=key in connected,
                last_height=heights.get(key),
                is_self=is_self,
                votes=committee.index(member.vote_key) is not None,
                software=parts.own_software if is_self else parts.software.get(key, ""),
                last_seen=None if seen_ms is None else utc(seen_ms),
                evidence="; ".join(map(_where, parts.accusations.against(key))),
                vote_key=member.vote_key.hex(),
            )

    def _pending_items(self) -> Iterator[ChangeItem]:
        state, now_ms = self._ledger.state, self._clinic.ports.clock.wall_ms()
        for pending, change in self._parts.changes.pool:
            if is_open(change, state, now_ms):
                yield self._change_item(pending, change)

    def _change_item(self, pending: PendingChange, change: Change) -> ChangeItem:
        approved = self._parts.changes.approved_by(pending)
        member = self._ledger.state.member(change.member)
        return ChangeItem(
            change=change.id.hex(),
            act=type(change.body).__name__.lower(),
            member=change.member.hex(),
            name=change.name if member is None else member.name,
            approvals=len(approved),
            needed=self._ledger.state.committee.quorum,
            expires=utc(change.body.not_after_ms),
            approved_by=tuple(key.hex() for key in approved),
            is_approved_here=self._identity in approved,
            sponsor=pending.sponsor.key.hex(),
            reason=change.body.reason if isinstance(change.body, Suspend) else "",
        )

    def _evidence_item(self, evidence: Evidence) -> EvidenceItem:
        owner = self._parts.accusations.owner_of(evidence)
        member = None if owner is None else self._ledger.state.member(owner)
        return EvidenceItem(
            member="" if owner is None else owner.hex(),
            name="" if member is None else member.name,
            vote_key=evidence.vote_key.hex(),
            epoch=evidence.epoch,
            view=evidence.view,
            text=evidence_text(evidence),
        )


def membership_warnings(clinic: Clinic) -> Iterator[str]:
    """What an admin must know of this clinic's own place, and of members that contradicted themselves."""
    state, own = clinic.services.ledger.state, clinic.ports.transport.identity
    member = state.member(own)
    if member is None:
        yield f"this clinic is not a member of {clinic.genesis.name} as far as it has read the ledger"
    elif member.role == Role.FOLLOWER:
        yield (
            "this clinic follows and has no vote: "
            f"members give it one with chartmesh network approve --validator {member.name}"
        )
    elif not member.is_active or own in clinic.members.suspensions:
        word = ROLE_WORDS[Role(max(member.role, Role.SUSPENDED))]
        yield f"this clinic was {word}: it serves nothing, and the members take nothing from it"
    for evidence in clinic.members.accusations.all():
        owner = clinic.members.accusations.owner_of(evidence)
        accused = None if owner is None else state.member(owner)
        name = evidence.vote_key.hex()[:12] if accused is None else accused.name
        yield (
            f"{name} signed two statements that contradict each other in {_where(evidence)}: its vote key "
            "is in two places, or it is hostile; the proof: chartmesh network evidence"
        )


def _where(evidence: Evidence) -> str:
    return f"view {evidence.view} of epoch {evidence.epoch}"
