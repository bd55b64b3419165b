"""Who is a member and who votes, as of the newest final block: what every service goes by."""

from collections.abc import Callable

from node.ports import PeerAddress
from protocol.blocks import Committee
from protocol.keys import PublicKey
from protocol.state import LedgerState, MemberState


class Membership:
    """A view of the ledger's roster, kept because it is asked at every message.

    `members` are those not removed, in the order of admission; `keys` the identity keys of the active
    ones, who may do what members do; `validators` identity keys in the order of the committee's seats.
    """

    def __init__(self, state: LedgerState) -> None:
        self._observers: list[Callable[[], None]] = []
        self._read(state)

    def observe(self, observer: Callable[[], None]) -> None:
        """Calls `observer` whenever this has changed."""
        self._observers.append(observer)

    def update(self, state: LedgerState) -> None:
        """Reads the roster of a newer state, and tells the observers."""
        self._read(state)
        for observer in self._observers:
            observer()

    def name_of(self, key: PublicKey) -> str:
        """The name of a member, or the beginning of its key."""
        found = self.member(key)
        return key.hex()[:12] if found is None else found.name

    def member(self, key: PublicKey) -> MemberState | None:
        return self._by_key.get(key)

    def addresses(self) -> list[PeerAddress]:
        """Whom to dial and to trust as members."""
        return [PeerAddress(member.id_key, member.addresses) for member in self.members if member.is_active]

    def _read(self, state: LedgerState) -> None:
        self.committee: Committee = state.committee
        self.members: tuple[MemberState, ...] = tuple(state.members())
        self.keys: tuple[PublicKey, ...] = tuple(one.id_key for one in self.members if one.is_active)
        self.validators: tuple[PublicKey, ...] = tuple(seat.id_key for seat in state.roster.validators)
        self._by_key = {member.id_key: member for member in self.members}
