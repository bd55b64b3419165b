"""What the entries of a backup say together: where the chain stands, and whether they are whole."""

from collections.abc import Iterator

from node.backup.archive import damaged
from node.chain.ledger import Head
from node.ports import Put
from node.records.audit_chain import decode_record
from node.store import layout
from protocol import limits
from protocol.audit import NO_RECORD, record_hash
from protocol.blocks import Header
from protocol.codec import decode
from protocol.errors import Malformed
from protocol.statemap import StateMap


class Contents:
    """What was noted of entries as they passed by."""

    def __init__(self) -> None:
        self._head: bytes | None = None
        self.audit_entries = 0

    def note(self, key: bytes, value: bytes) -> None:
        if key == layout.head():
            self._head = value
        elif key.startswith(layout.AUDIT):
            self.audit_entries += 1

    def header(self) -> Header | None:
        """The header of the newest final block; None where the ledger is none of a clinic's."""
        if self._head is None:
            return None
        try:
            return decode(Head, self._head, limit=limits.CONSENSUS_FRAME_BYTES_MAX).header
        except Malformed:
            return None


def state_root(entries: Iterator[Put]) -> bytes:
    """The root of the ledger state among the entries of a ledger database, in key order."""
    strip = len(layout.STATE)
    return StateMap.from_sorted(
        (key[strip:], value) for key, value in entries if key.startswith(layout.STATE)
    ).root


def check_audit_chain(entries: Iterator[Put]) -> int:
    """How many records the audit log has. Raises StorageError where they do not chain."""
    count, previous = 0, NO_RECORD
    for key, raw in entries:
        if not key.startswith(layout.AUDIT):
            continue
        record = decode_record(raw)
        count += 1
        if record is None or (record.sequence, record.previous) != (count, previous):
            raise damaged(f"the audit log in the backup is damaged at entry {count}")
        previous = record_hash(record)
    return count
