"""Whom a light client connects to, and whom it asks first: the clinics configured, or all members."""

from collections.abc import Collection, Sequence

from node.addresses import peer_key, without_peer
from node.config import Clinic
from node.ports import PeerAddress
from protocol.blocks import Member
from protocol.errors import Code, UserError
from protocol.keys import PublicKey


class Dialling:
    """By the clinics configured, in their order.

    Who is a member now only the ledger says. Until it was proven, whoever is configured is taken for one:
    nothing that a clinic says is believed without a proof anyway.
    """

    def __init__(self, configured: Sequence[Clinic] = ()) -> None:
        """Raises UserError CONFIG where one of `configured` has no key."""
        self._addresses: dict[PublicKey, list[str]] = {}
        self._names: dict[PublicKey, str] = {}
        for clinic in configured:
            key = _key_of(clinic)
            self._names.setdefault(key, clinic.name)
            self._addresses.setdefault(key, []).append(without_peer(clinic.address))

    def whom_to_dial(self, members: Sequence[Member], *, are_proven: bool) -> list[PeerAddress]:
        """The clinics configured, at their configured addresses; without any, all members that have some.

        All of `members` are listed, so that they count as members: those not to dial have no address. Once
        they `are_proven`, whoever is configured and is none of them is left out.
        """
        known = {member.id_key: member.addresses for member in members}
        wanted = self._wanted(known, are_proven=are_proven)
        if not wanted:
            return [PeerAddress(key, addresses) for key, addresses in known.items()]
        keys = dict.fromkeys((*known, *wanted))
        return [PeerAddress(key, tuple(self._addresses[key]) if key in wanted else ()) for key in keys]

    def whom_to_ask(self, members: Sequence[Member], *, are_proven: bool) -> list[PublicKey]:
        """The same clinics and members, those configured first and in their order."""
        known = [member.id_key for member in members]
        return list(dict.fromkeys((*self._wanted(known, are_proven=are_proven), *known)))

    def outsiders(self, members: Sequence[Member]) -> list[str]:
        """The names, in the configuration, of those who are none of `members`."""
        known = {member.id_key for member in members}
        return [name for key, name in self._names.items() if key not in known]

    def _wanted(self, known: Collection[PublicKey], *, are_proven: bool) -> list[PublicKey]:
        return [key for key in self._names if key in known or not are_proven]


def _key_of(clinic: Clinic) -> PublicKey:
    key = PublicKey(bytes.fromhex(clinic.id)) if clinic.id else peer_key(clinic.address)
    if key is None:
        raise UserError(
            f"network.clinics: the address of {clinic.name} does not end in the peer id of a clinic",
            "give its id beside the address, as the clinic shows it: chartmesh keys show",
            code=Code.CONFIG,
        )
    return key
