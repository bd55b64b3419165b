"""The exit status of every error code: the same for the CLI and for the daemon's own program."""

from typing import Final

from protocol.errors import Code

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
IN_PART: Final = 3
REFUSED: Final = 4
NOT_FINAL: Final = 5
NOT_RUNNING: Final = 6
STALE: Final = 7
INTERRUPTED: Final = 130

_STATUS: Final[dict[str, int]] = {
    Code.INTERNAL: FAILED,
    Code.MALFORMED: FAILED,
    Code.REFUSED: REFUSED,
    Code.REJECTED: FAILED,
    Code.USAGE: USAGE,
    Code.AMBIGUOUS_ID: USAGE,
    Code.NOT_FINAL: NOT_FINAL,
    Code.PARTIAL: IN_PART,
    Code.STALE: STALE,
    Code.UNREACHABLE: FAILED,
    Code.NOT_RUNNING: NOT_RUNNING,
    Code.NOT_INITIALISED: 10,
    Code.ALREADY_INITIALISED: FAILED,
    Code.ALREADY_RUNNING: 11,
    Code.LOCKED: 11,
    Code.WRONG_PASSPHRASE: 12,
    Code.STORE_DAMAGED: 13,
    Code.STORE_NEWER: 14,
    Code.STORE_OLDER: FAILED,
    Code.STORE_FULL: FAILED,
    Code.STORE_FAILED: FAILED,
    Code.KEY_FILE: FAILED,
    Code.CONFIG: FAILED,
    Code.PORT_IN_USE: FAILED,
    Code.WRONG_NETWORK: FAILED,
    Code.GENESIS: FAILED,
    Code.RECORD_FILE: FAILED,
    Code.RECORD_DAMAGED: FAILED,
    Code.RECEIVE_CODE: FAILED,
    Code.INVITATION: FAILED,
    Code.TERMS: FAILED,
    Code.MEMBERSHIP: FAILED,
    Code.EVIDENCE: FAILED,
    Code.EXPORT: FAILED,
    Code.TWO_CHAINS: FAILED,
    Code.WORDS: FAILED,
    Code.PURPOSE: USAGE,
    Code.DURATION: USAGE,
    Code.RETENTION: FAILED,
    Code.LIMIT: FAILED,
    Code.ROLE: FAILED,
    Code.INTERRUPTED: INTERRUPTED,
}


def exit_status(code: str) -> int:
    """The exit status of an error code; of one that this program does not know yet, 1."""
    return _STATUS.get(code, FAILED)


def code_of_exit(status: int) -> Code:
    """The first code that exits with `status`: what to report of a program that only exited."""
    return next((code for code in Code if _STATUS[code] == status), Code.INTERNAL)
