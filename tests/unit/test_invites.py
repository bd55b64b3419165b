"""An invitation lets one clinic ask, once it accepts the terms; what is not right looks like nothing."""

import pytest
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.chain.ledger import Ledger
from node.members.changes import Changes
from node.members.invites import Invites
from node.store.memory import MemoryStore
from protocol import limits
from protocol.blocks import Genesis, Member, block_hash, network_id, sign_card
from protocol.errors import Code, Malformed, UserError
from protocol.invitations import SignedInvitation, sign_invitation, verify_invitation
from protocol.keys import SigningKey
from protocol.membership import accept_terms
from protocol.messages.light import JoinReply, JoinRequest
from protocol.pending import PendingChange
from tests.ledger_world import CLINICS, GENESIS, STRANGER, opening, signing
from tests.sim.entropy import SimEntropy

FOUNDERS = tuple(replace(one, addresses=("/ip4/127.0.0.1/tcp/1",)) for one in GENESIS.members)
FOUNDED: Genesis = replace(GENESIS, members=FOUNDERS)
NETWORK = network_id(FOUNDED)
NEW, VOTER = signing("new clinic"), signing("new voter")
REFUSED = JoinReply(False, False, 0, 0)


class Desk:
    """The invitations of clinic 0, over a store in memory, at a time of the test's choice."""

    def __init__(self, store: MemoryStore | None = None, genesis: Genesis = FOUNDED) -> None:
        self.store, self.now_ms = store or MemoryStore(), genesis.created_ms
        self.ledger = Ledger(genesis=genesis, store=self.store, clock=self, offload=InlineOffload())
        self.told: list[PendingChange] = []
        self.submitted: list[bytes] = []
        self.changes = Changes(
            ledger=self.ledger,
            store=self.store,
            key=CLINICS[0],
            clock=self,
            submit=self._submit,
            tell=self.told.append,
        )
        self.invites = Invites(
            ledger=self.ledger,
            store=self.store,
            changes=self.changes,
            key=CLINICS[0],
            clock=self,
            entropy=SimEntropy("invites"),
        )

    def wall_ms(self) -> int:
        return self.now_ms

    def elapsed_ms(self) -> int:
        return self.now_ms

    async def _submit(self, raw: bytes) -> None:
        self.submitted.append(raw)


def request(
    invitation: SignedInvitation,
    *,
    clinic: SigningKey = NEW,
    voter: SigningKey = VOTER,
    name: str = "new",
    terms: bytes = FOUNDED.terms_hash,
) -> JoinRequest:
    card = Member(name, clinic.public, voter.public, opening("new").public, ("/ip4/127.0.0.1/tcp/2",))
    return JoinRequest(invitation, sign_card(card, clinic, voter), accept_terms(terms, clinic, NETWORK))


def test_an_invitation_names_where_to_come_and_the_newest_final_block() -> None:
    desk = Desk()
    invitation = verify_invitation(desk.invites.invite(limits.DAY_MS))
    head = desk.ledger.head.header
    assert (invitation.network, invitation.inviter) == (NETWORK, CLINICS[0].public)
    assert invitation.addresses == ("/ip4/127.0.0.1/tcp/1",)
    assert (invitation.checkpoint_height, invitation.checkpoint_hash) == (head.height, block_hash(head))
    assert invitation.terms_hash == FOUNDED.terms_hash
    assert invitation.expires_ms == desk.now_ms + limits.DAY_MS
    assert desk.invites.invite(1) != desk.invites.invite(1)


def test_a_clinic_that_nobody_can_reach_invites_nobody() -> None:
    with pytest.raises(UserError) as caught:
        Desk(genesis=GENESIS).invites.invite(1)
    assert caught.value.code is Code.MEMBERSHIP


def test_a_request_waits_for_approvals_and_asking_again_changes_nothing() -> None:
    desk = Desk()
    asked = request(desk.invites.invite(1))
    assert desk.invites.join(NEW.public, asked) == JoinReply(True, False, 0, 3)
    assert desk.invites.join(NEW.public, asked) == JoinReply(True, False, 0, 3)
    [(pending, change)] = desk.changes.pool
    assert change.member == NEW.public
    assert desk.told == [pending]
    assert pending.approvals == ()


async def test_the_reply_counts_approvals() -> None:
    desk = Desk()
    asked = request(desk.invites.invite(1))
    desk.invites.join(NEW.public, asked)
    [(_, change)] = desk.changes.pool
    await desk.changes.approve(change)
    assert desk.invites.join(NEW.public, asked) == JoinReply(True, False, 1, 3)
    assert desk.submitted == []


def test_a_restart_keeps_the_request_and_who_used_the_invitation() -> None:
    desk = Desk()
    invitation = desk.invites.invite(1)
    desk.invites.join(NEW.public, request(invitation))
    again = Desk(desk.store.crash(0))
    assert len(again.changes.pool) == 1
    assert again.invites.join(STRANGER.public, request(invitation, clinic=STRANGER)) == REFUSED


def test_an_invitation_is_good_for_one_clinic() -> None:
    desk = Desk()
    invitation = desk.invites.invite(1)
    assert desk.invites.join(NEW.public, request(invitation)).taken
    assert desk.invites.join(STRANGER.public, request(invitation, clinic=STRANGER)) == REFUSED
    assert len(desk.changes.pool) == 1


def test_an_invitation_expires_but_not_for_the_clinic_that_came_in_time() -> None:
    desk = Desk()
    late, timely = desk.invites.invite(10), desk.invites.invite(10)
    assert desk.invites.join(NEW.public, request(timely)).taken
    desk.now_ms += 11
    assert desk.invites.join(NEW.public, request(timely)).taken
    assert desk.invites.join(STRANGER.public, request(late, clinic=STRANGER)) == REFUSED


def test_a_request_of_another_than_the_card_names_looks_like_nothing() -> None:
    desk = Desk()
    assert desk.invites.join(STRANGER.public, request(desk.invites.invite(1))) == REFUSED


def test_terms_that_were_not_accepted_look_like_nothing() -> None:
    desk = Desk()
    asked = request(desk.invites.invite(1), terms=bytes(31) + b"\1")
    assert desk.invites.join(NEW.public, asked) == REFUSED
    assert len(desk.changes.pool) == 0


def test_another_members_invitation_looks_like_nothing() -> None:
    desk = Desk()
    theirs = replace(verify_invitation(desk.invites.invite(1)), inviter=CLINICS[1].public)
    assert desk.invites.join(NEW.public, request(sign_invitation(theirs, CLINICS[1]))) == REFUSED


def test_a_forged_invitation_or_card_costs_its_sender() -> None:
    desk = Desk()
    invitation = desk.invites.invite(1)
    with pytest.raises(Malformed):
        desk.invites.join(NEW.public, request(replace(invitation, signature=bytes(64))))
    asked = request(invitation)
    spoiled = replace(asked, card=replace(asked.card, vote_signature=bytes(64)))
    with pytest.raises(Malformed):
        desk.invites.join(NEW.public, spoiled)


def test_a_member_is_told_that_it_is_one() -> None:
    desk = Desk()
    asked = request(desk.invites.invite(1), clinic=CLINICS[1], voter=VOTER, name="clinic-1")
    assert desk.invites.join(CLINICS[1].public, asked) == JoinReply(True, True, 3, 3)


async def test_a_quorum_is_submitted_once_it_is_there() -> None:
    desk = Desk()
    desk.invites.join(NEW.public, request(desk.invites.invite(1)))
    [(pending, change)] = desk.changes.pool
    for key in CLINICS[1:3]:
        other = Changes(
            ledger=desk.ledger,
            store=MemoryStore(),
            key=key,
            clock=desk,
            submit=desk._submit,
            tell=desk.told.append,
        )
        await other.take(pending)
        await other.approve(change)
        await desk.changes.take(desk.told[-1])
    assert desk.submitted == []
    await desk.changes.approve(change)
    assert len(desk.submitted) == 1
