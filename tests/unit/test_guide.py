"""Whom a newcomer follows: its inviter, up to the checkpoint and no further."""

from msgspec.structs import replace

from node.chain.guide import Guide
from node.ports import PeerAddress
from node.store.memory import MemoryStore
from protocol.invitations import verify_invitation
from tests.ledger_world import CLINICS, STRANGER, mint
from tests.unit.test_applications import SIGNED
from tests.unit.test_ledger_store import commit, open_ledger

ADDRESSES = ("/ip4/192.0.2.7/tcp/4001",)
INVITATION = replace(
    verify_invitation(SIGNED), inviter=STRANGER.public, addresses=ADDRESSES, checkpoint_height=2
)


async def test_the_inviter_leads_up_to_the_checkpoint() -> None:
    ledger = open_ledger(MemoryStore())
    guide = Guide(ledger, INVITATION)
    for number in (1, 2):
        assert guide.is_arriving
        assert guide.addresses == (PeerAddress(STRANGER.public, ADDRESSES),)
        assert guide.keys == (STRANGER.public,)
        await commit(ledger, [mint(number)])
    assert not guide.is_arriving
    assert guide.addresses == ()


def test_an_inviter_that_is_known_as_a_member_is_one_like_all() -> None:
    guide = Guide(open_ledger(MemoryStore()), replace(INVITATION, inviter=CLINICS[0].public))
    assert guide.is_arriving
    assert guide.addresses == ()


def test_a_founder_follows_the_founders() -> None:
    guide = Guide(open_ledger(MemoryStore()), None)
    assert not guide.is_arriving
    assert guide.keys == ()
