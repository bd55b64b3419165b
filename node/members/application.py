"""What a clinic keeps of its wish to join: the invitation, and whether it was let in. A restart goes on."""

from pathlib import Path

from node.store.durable import create_durably, read_private, replace_durably
from protocol import limits
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Code, Malformed, UserError
from protocol.invitations import Invitation, SignedInvitation, verify_invitation

_FILE_BYTES_MAX = 2 * limits.CODE_BYTES_MAX


class Application(Wire, frozen=True):
    """The terms of the invitation were accepted here. `admitted` once the inviter said that the clinic
    is a member; the ledger then says whether that is so."""

    signed: SignedInvitation
    admitted: bool

    @property
    def invitation(self) -> Invitation:
        return verify_invitation(self.signed)


def load_application(path: Path) -> Application | None:
    """The application kept at `path`, None where there is none. Raises UserError INVITATION."""
    if not path.exists():
        return None
    content = read_private(path, _FILE_BYTES_MAX, "invitation file")
    body, check = content[:-HASH_BYTES], content[-HASH_BYTES:]
    try:
        if check != digest("application", body):
            raise Malformed("the checksum does not fit")
        application = decode(Application, body, limit=_FILE_BYTES_MAX)
        verify_invitation(application.signed)
    except Malformed as error:
        raise UserError(
            f"the invitation file {path} is damaged",
            "move it away, and join again with the code",
            code=Code.INVITATION,
        ) from error
    return application


def keep_application(path: Path, application: Application) -> None:
    """Durable when this returns. Raises UserError INVITATION where it cannot be written."""
    body = encode(application)
    write = replace_durably if path.exists() else create_durably
    try:
        write(path, body + digest("application", body))
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "check the directory", code=Code.INVITATION
        ) from error
