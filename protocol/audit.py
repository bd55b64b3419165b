"""The audit log's records: a hash chain, written before the first byte leaves.

A record's hash covers the one before it, so nothing can be changed, moved or taken out without every
later hash changing. What a clinic posts to the ledger (`transactions.AuditHead`) is the root of a map
over its log (`protocol.audit_map`).
"""

from enum import StrEnum

from protocol.codec import HASH_BYTES, Wire, digest, encode

NO_RECORD = bytes(HASH_BYTES)


class AuditEvent(StrEnum):
    """What a record tells. INTENT comes before the first byte, OUTCOME after the last.

    DELETION attests that nothing of an erased token's ciphertext is here.
    """

    INTENT = "intent"
    OUTCOME = "outcome"
    DENIAL = "denial"
    RESTART = "restart"
    DELETION = "deletion"


class AuditRecord(Wire, frozen=True):
    """One entry. `previous` is the hash of the entry before (NO_RECORD for the first, sequence 1).

    `reader` is the key that signed the request, `user` the human it names, `request` the whole signed
    request: the receipt. `reason` is why a denial was one, and never leaves this clinic but to the
    record's owner. An OUTCOME names its INTENT in `about` and says in `bytes` how much left; a
    RESTART closes, in `about`, an intent that a crash left without an outcome. Denials of strangers are
    aggregated: `count` is how many this one stands for. Fields that do not apply are empty or 0.
    """

    sequence: int
    previous: bytes
    time_ms: int
    event: str
    token: bytes
    grant: bytes
    reader: bytes
    user: str
    purpose: str
    reason: str
    request: bytes
    final_height: int
    final_age_ms: int
    about: int
    bytes: int
    count: int


def record_hash(record: AuditRecord) -> bytes:
    """What the next record names as `previous`."""
    return digest("audit", encode(record))
