"""The `members` protocol: what members tell each other beside the ledger, one frame a message.

Changes of the membership that wait for approvals, evidence against a validator, and which software each
runs. All of it is said again on every connection, so a message that is lost costs time and nothing else.
"""

from protocol import limits
from protocol.codec import Wire, decode
from protocol.errors import Malformed
from protocol.evidence import Evidence
from protocol.pending import PendingChange, check_pending
from protocol.two_chains import TwoChains

CHANGES_MAX = 32
EVIDENCE_MAX = limits.MEMBERS_MAX


class Hello(Wire, frozen=True, tag=1):
    """The sender's program, for the table of members: a word that is shown and never acted on."""

    software: str


class Changes(Wire, frozen=True, tag=2):
    """Changes that wait for approvals, with those that the sender knows."""

    changes: tuple[PendingChange, ...]


class Accusations(Wire, frozen=True, tag=3):
    """Evidence that the sender holds, at most one for each vote key."""

    evidence: tuple[Evidence, ...]


class Conflict(Wire, frozen=True, tag=4):
    """Why the sender neither serves nor votes any more."""

    found: TwoChains


MembersMessage = Hello | Changes | Accusations | Conflict


def decode_members(raw: bytes) -> MembersMessage:
    """The message of `raw`, its shape checked and no signature verified. Raises Malformed."""
    message: MembersMessage = decode(
        MembersMessage,  # type: ignore[arg-type]
        raw,
        limit=limits.MEMBERS_FRAME_BYTES_MAX,
    )
    match message:
        case Hello(software):
            _require(len(software) <= limits.SOFTWARE_CHARS_MAX and software.isprintable())
        case Changes(changes):
            _require(1 <= len(changes) <= CHANGES_MAX)
            for change in changes:
                check_pending(change)
        case Accusations(evidence):
            _require(1 <= len(evidence) <= EVIDENCE_MAX)
        case Conflict():
            pass  # whoever takes it verifies all of it
    return message


def _require(condition: bool) -> None:
    if not condition:
        raise Malformed("members message has a field out of its limits")
