"""The audit log on disk: records under their place in the chain, and an index from tokens to them.

Both are counted, so that none can go missing unnoticed. Everything here reads or writes the disk: call
it through Offload where it may be long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from node.ports import Put, Store
from node.store import layout
from node.store.counted import CountedPrefix
from protocol import limits
from protocol.audit import NO_RECORD, AuditEvent, AuditRecord, record_hash
from protocol.audit_map import AuditMap
from protocol.codec import decode, encode
from protocol.errors import Malformed, StorageError
from protocol.statemap import StateMap
from protocol.transactions import TokenId

KEEP_EVIDENCE = "keep its directory as evidence, restore it from a backup, and tell the network's members"
RECORD_BYTES_MAX = 2 * limits.FETCH_REQUEST_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Verdict:
    """A re-read of the chain: its length and head, or the first sequence that breaks it."""

    entries: int
    head: bytes
    bad: int | None


@dataclass(slots=True)
class Loaded:
    """What a start finds: the head, and the intents that have no outcome."""

    sequence: int = 0
    head: bytes = NO_RECORD
    map: AuditMap = field(default_factory=AuditMap)
    open_intents: dict[int, AuditRecord] = field(default_factory=dict)


class AuditChain:
    """Records by sequence, from 1 on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = CountedPrefix(store, layout.AUDIT, KEEP_EVIDENCE)
        self._by_token = CountedPrefix(store, layout.AUDIT_TOKEN, KEEP_EVIDENCE)

    def get(self, sequence: int) -> AuditRecord | None:
        raw = self._store.get(layout.audit(sequence))
        return None if raw is None else decode(AuditRecord, raw, limit=RECORD_BYTES_MAX)

    def for_tokens(
        self, tokens: Sequence[TokenId], *, after: int, through: int, bytes_max: int
    ) -> tuple[list[AuditRecord], bool]:
        """The records of `tokens` from above `after` to `through` in rising order, as many as fit in
        `bytes_max`, and whether there are more.

        Raises:
            StorageError: one that the index names is missing.
        """
        found = sorted({sequence for token in tokens for sequence in self._sequences(token, after)})
        records: list[AuditRecord] = []
        for sequence in found:
            if sequence > through:
                break
            record = self.get(sequence)
            if record is None:
                raise _damaged(sequence)
            bytes_max -= len(encode(record))
            if bytes_max < 0:
                return records, True
            records.append(record)
        return records, False

    def has(self, event: AuditEvent, token: TokenId) -> bool:
        """Whether a record of `token` tells of `event`."""
        found = (self.get(sequence) for sequence in self._sequences(token, 0))
        return any(record is not None and record.event == event for record in found)

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Writes records that follow the newest, with their index, as one; durable when it returns."""
        entries: list[Put] = [(layout.audit(record.sequence), encode(record)) for record in records]
        index: list[Put] = [
            (layout.audit_token(record.token, record.sequence), b"") for record in records if record.token
        ]
        tallies = [self._records.tally(entries), self._by_token.tally(index)]
        self._store.write([*entries, *index, *tallies], sync=True)

    def load(self) -> Loaded:
        """Reads everything. Raises StorageError where the log is not as it was written."""
        count, indexed = self._records.verify(), self._by_token.verify()
        loaded = Loaded()
        for record in self._chained():
            if record is None:
                raise _damaged(loaded.sequence + 1)
            indexed -= bool(record.token)
            if record.event == AuditEvent.INTENT:
                loaded.open_intents[record.sequence] = record
            elif record.event in (AuditEvent.OUTCOME, AuditEvent.RESTART):
                loaded.open_intents.pop(record.about, None)
            loaded.sequence, loaded.head = record.sequence, record_hash(record)
            loaded.map.add(record.token, loaded.head)
        if loaded.sequence != count or indexed:
            raise _damaged(loaded.sequence + 1)
        loaded.map.fixed()
        return loaded

    def verify(self, sequence: int, head: bytes) -> Verdict:
        """Reads the chain up to the record of `sequence`, whose hash should be `head`."""
        entries, last = 0, NO_RECORD
        for record in self._chained():
            if record is None:
                return Verdict(entries, head, entries + 1)
            if entries == sequence:
                break
            entries, last = record.sequence, record_hash(record)
        if entries < sequence:
            return Verdict(entries, head, entries + 1)
        return Verdict(entries, head, None if last == head else entries)

    def map_at(self, sequence: int) -> StateMap | None:
        """The map over the first `sequence` records, read anew; None where the chain is not that long."""
        made, entries = AuditMap(), 0
        for record in self._chained():
            if record is None or entries == sequence:
                break
            made.add(record.token, record_hash(record))
            entries = record.sequence
        return made.fixed() if entries == sequence else None

    def _sequences(self, token: bytes, after: int) -> Iterator[int]:
        """Where the records of `token` above `after` are, in rising order."""
        first = layout.audit_token(token, after + 1)
        for key, _ in self._store.iterate(layout.audit_tokens(token), start=first):
            yield layout.read_audit_sequence(key)

    def _chained(self) -> Iterator[AuditRecord | None]:
        """The records in order as far as they chain, then None at the first that does not."""
        previous = NO_RECORD
        for sequence, (key, raw) in enumerate(self._store.iterate(layout.AUDIT), 1):
            record = decode_record(raw)
            is_next = record is not None and (record.sequence, record.previous) == (sequence, previous)
            if record is None or not is_next or key != layout.audit(sequence):
                yield None
                return
            yield record
            previous = record_hash(record)


def decode_record(raw: bytes) -> AuditRecord | None:
    """A record as stored; None where it is not one."""
    try:
        return decode(AuditRecord, raw, limit=RECORD_BYTES_MAX)
    except Malformed:
        return None


def _damaged(sequence: int) -> StorageError:
    return StorageError(
        f"the audit log is damaged at entry {sequence}",
        KEEP_EVIDENCE,
    )
