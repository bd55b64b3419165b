"""Which clinics a light client connects to, and in which order it asks them."""

import pytest

from node.addresses import peer_key, without_peer
from node.config import Clinic
from node.dialling import ordered_members, whom_to_dial
from node.ports import PeerAddress
from protocol.blocks import VERSION, Genesis, Member
from protocol.errors import Code, UserError
from protocol.keys import ED25519
from protocol.limits import NetworkLimits
from tests.ledger_world import CLINICS, STRANGER, VOTERS, opening

MEMBERS = tuple(
    Member(name, id_key.public, vote_key.public, opening(name).public, (f"/ip4/127.0.0.1/tcp/{port}",))
    for name, id_key, vote_key, port in zip("abcd", CLINICS, VOTERS, range(1, 5), strict=True)
)
GENESIS = Genesis(VERSION, "test", 0, bytes(32), NetworkLimits(), MEMBERS)
# The peer id of the Ed25519 key 0102…20, made with py-libp2p.
PEER_ID = "12D3KooW9tJMax94Lrqw7Y5Qw36viGQAS2gTEPQ5Wg1vTk7xPfQs"


def configured(member: Member, address: str) -> Clinic:
    return Clinic(name="any", address=address, id=member.id_key.hex())


def test_without_configured_clinics_all_members_are_dialled() -> None:
    assert whom_to_dial(GENESIS, ()) == [PeerAddress(one.id_key, one.addresses) for one in MEMBERS]
    assert ordered_members(GENESIS, ()) == list(MEMBERS)


def test_configured_clinics_alone_are_dialled_at_their_configured_address_and_asked_first() -> None:
    clinics = (
        configured(MEMBERS[2], "/dns4/c.example/tcp/9"),
        configured(MEMBERS[1], "/ip4/1.2.3.4/tcp/5"),
    )
    assert [one.addresses for one in whom_to_dial(GENESIS, clinics)] == [
        (),
        ("/ip4/1.2.3.4/tcp/5",),
        ("/dns4/c.example/tcp/9",),
        (),
    ]
    assert [one.name for one in ordered_members(GENESIS, clinics)] == ["c", "b", "a", "d"]


def test_a_configured_clinic_outside_the_network_is_an_error_that_names_the_members() -> None:
    stranger = Clinic(name="else", address="/ip4/1.2.3.4/tcp/5", id=STRANGER.public.hex())
    with pytest.raises(UserError) as raised:
        whom_to_dial(GENESIS, (stranger,))
    assert raised.value.code == Code.CONFIG
    assert "a, b, c, d" in raised.value.hint


def test_a_peer_id_in_an_address_names_its_key() -> None:
    address = f"/ip4/1.2.3.4/tcp/5/p2p/{PEER_ID}"
    assert peer_key(address) == bytes([ED25519, *range(1, 33)])
    assert without_peer(address) == "/ip4/1.2.3.4/tcp/5"


@pytest.mark.parametrize(
    "peer", ["", "/p2p/Qm", f"/p2p/{PEER_ID}w", f"/p2p/{PEER_ID[:-1]}", f"/p2p/0{PEER_ID[1:]}"]
)
def test_what_is_no_ed25519_peer_id_names_no_key(peer: str) -> None:
    assert peer_key(f"/ip4/1.2.3.4/tcp/5{peer}") is None
