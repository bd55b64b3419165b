"""Inviting a clinic, and taking its request to be admitted."""

from node.chain.ledger import Ledger
from node.members.changes import Changes
from node.ports import Clock, Entropy, Store
from node.store import layout
from protocol import limits
from protocol.blocks import block_hash, verify_card
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, Malformed, UserError
from protocol.invitations import (
    SECRET_BYTES,
    Invitation,
    SignedInvitation,
    invitation_id,
    sign_invitation,
    verify_invitation,
)
from protocol.keys import PublicKey, SigningKey, verify
from protocol.membership import Admit
from protocol.messages.light import JoinReply, JoinRequest
from protocol.pending import PendingChange, change_expiry

_REFUSED = JoinReply(taken=False, admitted=False, approvals=0, needed=0)


class Use(Wire, frozen=True):
    """Who used an invitation. After `expires_ms` nobody else can, and this may be forgotten."""

    clinic: PublicKey
    expires_ms: int


class Invites:
    """The invitations of this member. Each is good for one clinic: the first that comes with it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        changes: Changes,
        key: SigningKey,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._ledger, self._store, self._changes = ledger, store, changes
        self._key, self._clock, self._entropy = key, clock, entropy
        self._genesis = ledger.genesis

    def invite(self, life_ms: int) -> SignedInvitation:
        """A new invitation for one clinic. Raises UserError MEMBERSHIP: this clinic may not invite."""
        own = self._ledger.state.member(self._key.public)
        if own is None or not own.is_active:
            raise UserError(
                "only a member can invite, and this clinic is none", "ask a member", code=Code.MEMBERSHIP
            )
        if not own.addresses:
            raise UserError(
                "nobody could reach this clinic: its card has no address",
                "invite from a member whose card has one: chartmesh network members",
                code=Code.MEMBERSHIP,
            )
        head = self._ledger.head.header
        invitation = Invitation(
            network=self._ledger.state.network,
            name=self._genesis.name,
            inviter=self._key.public,
            addresses=own.addresses,
            checkpoint_height=head.height,
            checkpoint_hash=block_hash(head),
            terms_hash=self._genesis.terms_hash,
            expires_ms=self._clock.wall_ms() + life_ms,
            secret=self._entropy.bytes(SECRET_BYTES),
        )
        return sign_invitation(invitation, self._key)

    def join(self, peer: PublicKey, request: JoinRequest) -> JoinReply:
        """How far the request of the clinic `peer` is; brings it up where it is new.

        Raises:
            Malformed: an invitation or a card that is not signed by whom it names.
        """
        invitation, card = verify_invitation(request.invitation), verify_card(request.card)
        state = self._ledger.state
        is_ours = (invitation.network, invitation.inviter) == (state.network, self._key.public)
        accepts = verify(card.id_key, "terms", state.network, self._genesis.terms_hash, request.acceptance)
        if not is_ours or not accepts or card.id_key != peer:
            return _REFUSED
        quorum, member = state.committee.quorum, state.member(card.id_key)
        if member is not None:
            return JoinReply(True, True, quorum, quorum) if member.is_active else _REFUSED
        if not self._claim(invitation, card.id_key):
            return _REFUSED
        # A request that the ledger or the pool does not take now looks like any other refusal.
        try:
            pending = self._pending(card.id_key) or self._bring_up(request)
        except (UserError, Malformed):
            return _REFUSED
        approvals = len(self._changes.approved_by(pending))
        return JoinReply(True, False, min(approvals, quorum), quorum)

    def _claim(self, invitation: Invitation, clinic: PublicKey) -> bool:
        """Whether this clinic may use the invitation: in time, or it did so before."""
        key, now_ms = layout.invited(invitation_id(invitation)), self._clock.wall_ms()
        raw = self._store.get(key)
        if raw is not None:
            return decode(Use, raw, limit=limits.KIB).clinic == clinic
        if now_ms > invitation.expires_ms:
            return False
        self._store.write([(key, encode(Use(clinic, invitation.expires_ms)))], sync=True)
        return True

    def _pending(self, clinic: PublicKey) -> PendingChange | None:
        for pending, change in self._changes.pool:
            if isinstance(change.body, Admit) and change.member == clinic:
                return pending
        return None

    def _bring_up(self, request: JoinRequest) -> PendingChange:
        not_after_ms = change_expiry(self._clock.wall_ms())
        body = Admit(request.card, self._genesis.terms_hash, request.acceptance, not_after_ms)
        change = self._changes.bring_up(encode(body))
        found = self._changes.pool.get(change.id)
        assert found is not None
        return found[0]
