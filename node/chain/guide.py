"""Whom a newcomer follows while it knows no present member: the one that invited it.

The genesis file names the founders, and all of them may be gone. The invitation names a member of the time
at which it was made, and the block that was final then: up to there its blocks are as good as a member's,
since each is verified from the genesis file on and the last must be that block.
"""

from node.chain.ledger import Ledger
from node.ports import PeerAddress
from protocol.invitations import Invitation
from protocol.keys import PublicKey


class Guide:
    """Of the clinic that came by `invitation`; without one, nobody."""

    def __init__(self, ledger: Ledger, invitation: Invitation | None) -> None:
        self._ledger, self._invitation = ledger, invitation

    @property
    def is_arriving(self) -> bool:
        """Whether the checkpoint of the invitation is still ahead."""
        pinned = self._invitation
        return pinned is not None and self._ledger.height < pinned.checkpoint_height

    @property
    def addresses(self) -> tuple[PeerAddress, ...]:
        """Who invited this clinic, while it is arriving and does not know that one as a member anyway."""
        pinned = self._invitation
        if pinned is None or not self.is_arriving or pinned.inviter in self._ledger.membership.keys:
            return ()
        return (PeerAddress(pinned.inviter, pinned.addresses),)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return tuple(address.id_key for address in self.addresses)
