"""Which clinics a light client connects to, and in which order it asks them."""

import pytest

from node.addresses import peer_key, without_peer
from node.config import Clinic
from node.dialling import Dialling
from node.ports import PeerAddress
from protocol.blocks import Member
from protocol.errors import Code, UserError
from protocol.keys import ED25519
from tests.ledger_world import CLINICS, STRANGER, VOTERS, opening

MEMBERS = tuple(
    Member(name, id_key.public, vote_key.public, opening(name).public, (f"/ip4/127.0.0.1/tcp/{port}",))
    for name, id_key, vote_key, port in zip("abcd", CLINICS, VOTERS, range(1, 5), strict=True)
)
LATER = Member("e", STRANGER.public, bytes(33), bytes(33), ("/ip4/127.0.0.1/tcp/5",))  # type: ignore[arg-type]
# The peer id of the Ed25519 key 0102…20, made with py-libp2p.
PEER_ID = "12D3KooW9tJMax94Lrqw7Y5Qw36viGQAS2gTEPQ5Wg1vTk7xPfQs"
ADDRESS = "/ip4/1.2.3.4/tcp/5"


def configured(member: Member, address: str = ADDRESS) -> Clinic:
    return Clinic(name=f"my {member.name}", address=address, id=member.id_key.hex())


def dialled(dialling: Dialling, members: tuple[Member, ...], *, are_proven: bool) -> dict[str, str]:
    """The address at which each is dialled, by name, in the order of `members`; empty for none."""
    names = {one.id_key: one.name for one in (*MEMBERS, LATER)}
    addresses = dialling.whom_to_dial(members, are_proven=are_proven)
    return {names[one.id_key]: "".join(one.addresses) for one in addresses}


def asked(dialling: Dialling, members: tuple[Member, ...], *, are_proven: bool) -> str:
    names = {one.id_key: one.name for one in (*MEMBERS, LATER)}
    return "".join(names[key] for key in dialling.whom_to_ask(members, are_proven=are_proven))


@pytest.mark.parametrize("are_proven", [False, True])
def test_without_configured_clinics_all_members_are_dialled(are_proven: bool) -> None:
    everyone = [PeerAddress(one.id_key, one.addresses) for one in MEMBERS]
    assert Dialling().whom_to_dial(MEMBERS, are_proven=are_proven) == everyone
    assert asked(Dialling(), MEMBERS, are_proven=are_proven) == "abcd"


@pytest.mark.parametrize("are_proven", [False, True])
def test_configured_clinics_alone_are_dialled_at_their_configured_address_and_asked_first(
    are_proven: bool,
) -> None:
    dialling = Dialling((configured(MEMBERS[2], "/dns4/c.example/tcp/9"), configured(MEMBERS[1])))
    expected = {"a": "", "b": ADDRESS, "c": "/dns4/c.example/tcp/9", "d": ""}
    assert dialled(dialling, MEMBERS, are_proven=are_proven) == expected
    assert asked(dialling, MEMBERS, are_proven=are_proven) == "cbad"


def test_a_configured_clinic_unknown_so_far_is_dialled_until_it_is_proven_to_be_no_member() -> None:
    dialling = Dialling((configured(LATER), configured(MEMBERS[1])))
    expected = {"a": "", "b": ADDRESS, "c": "", "d": ""}
    assert dialled(dialling, MEMBERS, are_proven=False) == expected | {"e": ADDRESS}
    assert asked(dialling, MEMBERS, are_proven=False) == "ebacd"
    assert dialled(dialling, MEMBERS, are_proven=True) == expected
    assert asked(dialling, MEMBERS, are_proven=True) == "bacd"
    assert dialling.outsiders(MEMBERS) == ["my e"]
    assert dialling.outsiders((*MEMBERS, LATER)) == []


def test_where_no_configured_clinic_is_a_member_any_more_all_members_are_dialled() -> None:
    dialling = Dialling((configured(MEMBERS[0]),))
    left = (*MEMBERS[1:], LATER)
    assert dialled(dialling, left, are_proven=True) == {one.name: one.addresses[0] for one in left}


def test_a_configured_clinic_without_a_key_is_an_error() -> None:
    with pytest.raises(UserError) as raised:
        Dialling((Clinic(name="St. Mary", address=f"{ADDRESS}/p2p/Qm"),))
    assert raised.value.code == Code.CONFIG
    assert "St. Mary" in str(raised.value)


def test_a_peer_id_in_an_address_names_its_key() -> None:
    address = f"/ip4/1.2.3.4/tcp/5/p2p/{PEER_ID}"
    assert peer_key(address) == bytes([ED25519, *range(1, 33)])
    assert without_peer(address) == "/ip4/1.2.3.4/tcp/5"


@pytest.mark.parametrize(
    "peer", ["", "/p2p/Qm", f"/p2p/{PEER_ID}w", f"/p2p/{PEER_ID[:-1]}", f"/p2p/0{PEER_ID[1:]}"]
)
def test_what_is_no_ed25519_peer_id_names_no_key(peer: str) -> None:
    assert peer_key(f"/ip4/1.2.3.4/tcp/5{peer}") is None
