"""Whom a light client connects to: the clinics it is configured with, or all that the genesis names."""

from collections.abc import Sequence

from node.addresses import peer_key, without_peer
from node.config import Clinic
from node.ports import PeerAddress
from protocol.blocks import Genesis, Member
from protocol.errors import Code, UserError
from protocol.keys import PublicKey


def whom_to_dial(genesis: Genesis, clinics: Sequence[Clinic]) -> list[PeerAddress]:
    """The clinics configured, at their configured addresses; without any, all members that have some.

    All members are listed, so that they count as members: those not to dial have no address.

    Raises:
        UserError: CONFIG, where one configured is no member.
    """
    if not clinics:
        return [PeerAddress(member.id_key, member.addresses) for member in genesis.members]
    addresses: dict[PublicKey, list[str]] = {member.id_key: [] for member in genesis.members}
    for clinic in clinics:
        addresses[_member_key(genesis, clinic)].append(without_peer(clinic.address))
    return [PeerAddress(key, tuple(found)) for key, found in addresses.items()]


def ordered_members(genesis: Genesis, clinics: Sequence[Clinic]) -> list[Member]:
    """All members, those configured first and in their order. Raises UserError CONFIG."""
    first = list(dict.fromkeys(_member_key(genesis, clinic) for clinic in clinics))
    by_key = {member.id_key: member for member in genesis.members}
    return [by_key[key] for key in first] + [one for one in genesis.members if one.id_key not in first]


def _member_key(genesis: Genesis, clinic: Clinic) -> PublicKey:
    named = PublicKey(bytes.fromhex(clinic.id)) if clinic.id else peer_key(clinic.address)
    if all(member.id_key != named for member in genesis.members):
        names = ", ".join(sorted(member.name for member in genesis.members))
        raise UserError(
            f"network.clinics: {clinic.name} is not a member of the network {genesis.name}",
            f"its members are: {names}",
            code=Code.CONFIG,
        )
    assert named is not None
    return named
