"""By what right this clinic is in a network: as one of its founders, or by an invitation that it keeps."""

from pathlib import Path

from node import paths
from node.founding import check_founder, check_same_network, is_founder
from node.keystore import ClinicKeys, Keyring
from node.members.application import Application, keep_application, load_application
from protocol.blocks import Genesis
from protocol.invitations import SignedInvitation
from protocol.keys import SigningKey


class Admission:
    """Of the clinic with these keys, by the files of its data directory."""

    def __init__(self, data_dir: Path, keys: ClinicKeys) -> None:
        self._path, self._keys = paths.application(data_dir), keys
        self._identity = SigningKey(keys.identity_seed).public

    def application(self, genesis: Genesis) -> Application | None:
        """The invitation by which this clinic came, None where it is a founder or has none.

        Raises:
            UserError: INVITATION: the file is damaged.
        """
        return None if is_founder(genesis, self._identity) else load_application(self._path)

    def check(self, genesis: Genesis) -> None:
        """Raises UserError GENESIS, WRONG_NETWORK where this clinic has no right to this network."""
        application = self.application(genesis)
        if application is not None:
            check_same_network(genesis, application.invitation.network)
            return
        own = Keyring.of(self._keys)
        assert own.vote is not None
        vote_key = None if self._keys.generation else own.vote.public
        check_founder(genesis, self._identity, vote_key, own.opening.public)

    def keep(self, signed: SignedInvitation) -> None:
        """Keeps an invitation whose terms were accepted, for this start and those to come."""
        keep_application(self._path, Application(signed, admitted=False))

    def mark_admitted(self, genesis: Genesis) -> None:
        """The inviter says that this clinic is a member now."""
        application = self.application(genesis)
        if application is not None:
            keep_application(self._path, Application(application.signed, admitted=True))
