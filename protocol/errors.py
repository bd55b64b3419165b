"""Every error of chartmesh, with the stable code that crosses the control socket and the CLI.

ChartmeshError
├─ ProtocolError
│  ├─ LocalProtocolError      our own bug: the daemon stops
│  └─ RemoteProtocolError     a peer's mistake: the peer is dropped, the daemon goes on
│     └─ Malformed            bytes that are not a canonical message within its limit
├─ Refused                    a refusal or an absence; the two look alike on purpose
├─ Rejected                   a transaction the ledger will not take, with its reason
├─ StorageError               the store failed or cannot be trusted: stop serving and voting
├─ TransportError             a peer could not be reached, went away or was too slow
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
    STORE_FULL = "store-full"
    KEY_FILE = "key-file"
    CONFIG = "config"
    PORT_IN_USE = "port-in-use"
    WRONG_NETWORK = "wrong-network"
    GENESIS = "genesis"
    RECORD_FILE = "record-file"
    RECEIVE_CODE = "receive-code"
    WORDS = "words"
    PURPOSE = "purpose"
    DURATION = "duration"
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


class Rejected(ChartmeshError):
    """The ledger does not take this transaction; `reason` is a stable word."""

    code: Code = Code.REJECTED

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"transaction rejected: {reason}", hint)
        self.reason = reason


class StorageError(ChartmeshError):
    """The store failed or returned something that cannot be trusted."""

    code: Code = Code.STORE_DAMAGED


class TransportError(ChartmeshError):
    """A peer is unreachable, gone or too slow."""

    code: Code = Code.UNREACHABLE


class UserError(ChartmeshError):
    """Bad input or bad local state; always constructed with its code and a hint."""
