"""Every error of chartmesh, with the stable code that crosses the control socket and the CLI.

ChartmeshError
├─ ProtocolError
│  ├─ LocalProtocolError      our own bug: the daemon stops
│  └─ RemoteProtocolError     a peer's mistake: the peer is dropped, the daemon goes on
│     └─ Malformed            bytes that are not a canonical message within its limit
├─ Refused                    a refusal or an absence; the two look alike on purpose
├─ Rejected                   a transaction the ledger will not take, with its reason
├─ StorageError               the store failed or cannot be trusted: stop serving and voting
├─ TransportError             a peer could not be reached or went away
│  └─ TooSlow                  a peer holds up what it began to send, or takes nothing of what it asked for
└─ UserError                  bad input or bad state at the edge, said with a hint
"""

from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """Stable error codes: added to, never renamed. `protocol.exits` maps each to an exit status."""

    INTERNAL = "internal"
    MALFORMED = "malformed"
    REFUSED = "refused"
    REJECTED = "rejected"
    USAGE = "usage"
    AMBIGUOUS_ID = "ambiguous-id"
    NOT_FINAL = "not-final"
    PARTIAL = "partial"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    NOT_RUNNING = "not-running"
    NOT_INITIALISED = "not-initialised"
    ALREADY_INITIALISED = "already-initialised"
    ALREADY_RUNNING = "already-running"
    LOCKED = "locked"
    WRONG_PASSPHRASE = "wrong-passphrase"
    STORE_DAMAGED = "store-damaged"
    STORE_NEWER = "store-newer"
    STORE_OLDER = "store-older"
    STORE_FULL = "store-full"
    STORE_FAILED = "store-failed"
    KEY_FILE = "key-file"
    CONFIG = "config"
    PORT_IN_USE = "port-in-use"
    WRONG_NETWORK = "wrong-network"
    GENESIS = "genesis"
    RECORD_FILE = "record-file"
    RECORD_DAMAGED = "record-damaged"
    RECEIVE_CODE = "receive-code"
    INVITATION = "invitation"
    TERMS = "terms"
    MEMBERSHIP = "membership"
    EVIDENCE = "evidence"
    EXPORT = "export"
    TWO_CHAINS = "two-chains"
    WORDS = "words"
    PURPOSE = "purpose"
    DURATION = "duration"
    RETENTION = "retention"
    LIMIT = "limit"
    ROLE = "role"
    INTERRUPTED = "interrupted"


class ChartmeshError(Exception):
    """Base of all expected errors: `code`, one sentence of what happened, one of what to do."""

    code: Code = Code.INTERNAL

    def __init__(self, message: str, hint: str = "", *, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class ProtocolError(ChartmeshError):
    """A rule of the protocol was broken, by us or by a peer."""


class LocalProtocolError(ProtocolError):
    """We broke the rule: a bug, and a reason to stop."""

    code: Code = Code.INTERNAL


class RemoteProtocolError(ProtocolError):
    """A peer broke the rule: drop the peer and go on."""

    code: Code = Code.MALFORMED


class Malformed(RemoteProtocolError):
    """Bytes that are not the one canonical encoding of a value within its limits."""


class Refused(ChartmeshError):
    """Refused or not there. The message is constant, so that neither can be told from the other."""

    code: Code = Code.REFUSED
    MESSAGE: ClassVar[str] = "no such record, or no permission to read it"
    HINT: ClassVar[str] = "ask the patient to share it, with the purpose you need"

    def __init__(self) -> None:
        super().__init__(self.MESSAGE, self.HINT)


class Rejection(StrEnum):
    """Why the ledger does not take a transaction. The words are stable; hints are in `Rejected`."""

    UNKNOWN_TOKEN = "unknown-token"
    ERASED = "erased"
    NOT_MEMBER = "not-a-member"
    ENROLMENT_EXPIRED = "enrolment-expired"
    KEY_USED = "owner-key-used-before"
    SAME_KEY = "next-key-is-owner-key"
    NOT_OWNER = "not-the-owner"
    GENERATION = "other-generation"
    NEXT_KEY = "wrong-next-key"
    KEEP = "keeps-no-live-grant"
    ALREADY_GRANTED = "already-granted"
    ALREADY_REVOKED = "already-revoked"
    REVOKED = "grant-was-revoked"
    GRANTS_FULL = "too-many-grants"
    AUDIT_SEQUENCE = "audit-sequence-not-higher"
    AUDIT_TOO_SOON = "audit-head-too-soon"
    SEALED = "wrong-sealed-bytes"
    APPROVALS = "too-few-approvals"
    CHANGE_EXPIRED = "change-expired"
    TERMS = "other-terms"
    MEMBER_KNOWN = "member-known"
    VOTE_KEY_USED = "vote-key-used-before"
    NAME_TAKEN = "name-taken"
    MEMBERS_FULL = "too-many-members"
    ROLE = "other-role"
    LAST_VALIDATOR = "last-validator"
    ROTATED_TOO_SOON = "vote-key-rotated-too-soon"
    EPOCH_CLOSES = "epoch-closes-here"


_REJECTION_HINTS = {
    Rejection.UNKNOWN_TOKEN: "wait until the record is final, or check its id",
    Rejection.ERASED: "the patient erased this record; nothing can be done with it any more",
    Rejection.NOT_MEMBER: "only members of the network post this; see `chartmesh network members`",
    Rejection.ENROLMENT_EXPIRED: "ask the patient for a new receive code",
    Rejection.KEY_USED: "ask the patient for a new receive code; each is good for one record",
    Rejection.SAME_KEY: "make new keys: the next key must differ from the owner key",
    Rejection.NOT_OWNER: "sign with the record's present owner key",
    Rejection.GENERATION: "the record's keys have changed since; look at it again and sign anew",
    Rejection.NEXT_KEY: "the 24 words are not those of this record's owner",
    Rejection.KEEP: "keep only shares that are final and belong to the present keys",
    Rejection.ALREADY_GRANTED: "nothing to do: this share is on the ledger",
    Rejection.ALREADY_REVOKED: "nothing to do: this share has ended",
    Rejection.REVOKED: "a share that was stopped stays stopped; make a new one",
    Rejection.GRANTS_FULL: "rotate the record's keys, keeping the shares still needed",
    Rejection.AUDIT_SEQUENCE: "a newer head of this audit log is on the ledger already",
    Rejection.AUDIT_TOO_SOON: "audit heads are posted once an hour",
    Rejection.SEALED: "send the sealed bytes whose hash the transaction names",
    Rejection.APPROVALS: "ask more validators to approve it: see `chartmesh network members`",
    Rejection.CHANGE_EXPIRED: "propose the change again: its approvals were not there in time",
    Rejection.TERMS: "ask for a new invitation: it names the terms of another network",
    Rejection.MEMBER_KNOWN: "a clinic that left comes back with new keys: make them with chartmesh init",
    Rejection.VOTE_KEY_USED: "make a new vote key: each is used by one member, once",
    Rejection.NAME_TAKEN: "choose another name: a member of the network has this one",
    Rejection.MEMBERS_FULL: "the network is as large as it may be; remove a member first",
    Rejection.ROLE: "the member is not what this change starts from: see `chartmesh network members`",
    Rejection.LAST_VALIDATOR: "promote another member first: nobody would be left to vote",
    Rejection.ROTATED_TOO_SOON: "wait before another rotation: each opens an epoch",
    Rejection.EPOCH_CLOSES: "nothing to do: it waits for the next block",
}


class Rejected(ChartmeshError):
    """The ledger does not take this transaction; `reason` is a `Rejection` or another stable word."""

    code: Code = Code.REJECTED

    def __init__(self, reason: str, hint: str = "") -> None:
        hint = hint or _REJECTION_HINTS.get(reason, "")  # type: ignore[call-overload]
        super().__init__(f"transaction rejected: {reason}", hint)
        self.reason = reason


class StorageError(ChartmeshError):
    """The store failed or returned something that cannot be trusted."""

    code: Code = Code.STORE_DAMAGED


class TransportError(ChartmeshError):
    """A peer is unreachable, gone or too slow."""

    code: Code = Code.UNREACHABLE


class TooSlow(TransportError):
    """A peer holds up a frame: one that serves it may drop it for that."""


class UserError(ChartmeshError):
    """Bad input or bad local state; always constructed with its code and a hint."""
