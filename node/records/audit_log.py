"""The writer of this node's audit log: what is to be served is durable here before the first byte leaves.

Records that wait at the same time become durable by one fsync. The chain is read in full at each start,
when an intent that a crash left without an outcome gets a RESTART record.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio
from msgspec.structs import replace

from node.ports import Clock, Offload, Store, TaskStatus
from node.records.audit_chain import AuditChain, Verdict
from node.records.denial_tally import EVERYONE_ELSE, DenialTally
from protocol import limits
from protocol.access import DenyReason, VerifiedFetch
from protocol.audit import NO_RECORD, AuditEvent, AuditRecord, record_hash
from protocol.audit_map import AuditMap, LogHead
from protocol.codec import encode
from protocol.errors import Code, StorageError
from protocol.keys import PublicKey
from protocol.statemap import StateMap
from protocol.transactions import TokenId

MAPS_KEPT = 3
_log = logging.getLogger(__name__)
_NOBODY = PublicKey(b"")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to read, and how fresh the ledger was. `fetch` is None where it does not verify."""

    peer: PublicKey
    fetch: VerifiedFetch | None
    final_height: int
    final_age_ms: int


@dataclass(slots=True)
class _Waiting:
    record: AuditRecord
    done: trio.Event = field(default_factory=trio.Event)
    sequence: int = 0
    error: StorageError | None = None


class AuditLog:
    """The one writer of the audit database. `head` is the hash of record `sequence`, the newest.

    Outside of `run` nothing can be written, so nothing may be served.
    """

    def __init__(self, *, store: Store, clock: Clock, offload: Offload) -> None:
        self.chain = AuditChain(store)
        self._clock, self._offload = clock, offload
        self._waiting: list[_Waiting] = []
        self._work = trio.Event()
        self._tally = DenialTally()
        self._open: dict[int, AuditRecord] = {}
        self._failure: StorageError | None = _closed()
        self._map, self._maps = AuditMap(), dict[int, StateMap]()
        self._reading = trio.Lock()
        self.sequence, self.head = 0, NO_RECORD

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Verifies the log, then writes until cancelled.

        Raises:
            StorageError: the log is damaged, or the disk failed: nothing may be served.
        """
        loaded = await self._offload.run(self.chain.load)
        self.sequence, self.head, self._map = loaded.sequence, loaded.head, loaded.map
        self._failure = None
        for intent in loaded.open_intents.values():
            self._close(intent, AuditEvent.RESTART, 0, "")
        try:
            await self._write_waiting()
            task_status.started()
            await self._write()
        except trio.Cancelled:
            self._count_denials()
            await self._write_waiting()
            raise
        finally:
            self._fail(_closed())

    async def intend(self, asked: Asked) -> int:
        """Writes down that a fetch is about to be served; its sequence. Durable when it returns.

        Raises:
            StorageError: it could not be written, so nothing may be served.
        """
        return await self._append(self._record(AuditEvent.INTENT, asked))

    def outcome(self, intent: int, *, sent_bytes: int, reason: str = "") -> None:
        """Says how much left under `intent`, and why no more did; written soon."""
        self._close(self._open.pop(intent), AuditEvent.OUTCOME, sent_bytes, reason)

    async def deny(self, asked: Asked, reason: DenyReason, *, is_member: bool, is_token: bool) -> None:
        """Writes down a denial, durable when it returns, or counts it (see `DenialTally`).

        `is_token` says whether the token asked for exists.

        Raises:
            StorageError: it could not be written.
        """
        token = b"" if asked.fetch is None or not is_token else asked.fetch.request.token
        if self._tally.keeps(asked.peer if is_member else EVERYONE_ELSE, token):
            record = self._record(AuditEvent.DENIAL, asked)
            await self._append(replace(record, reason=reason.value, count=1))

    async def attest_deletion(self, token: TokenId) -> None:
        """Writes down, once for each token, that its ciphertext is not here; durable when it returns.

        Raises:
            StorageError: it could not be written.
        """
        if not await self._offload.run(lambda: self.chain.has(AuditEvent.DELETION, token)):
            record = self._record(AuditEvent.DELETION, Asked(_NOBODY, None, 0, 0))
            await self._append(replace(record, token=token))

    @property
    def map(self) -> StateMap:
        """The map over all records; its root is the audit head."""
        return self._map.fixed()

    def post(self) -> LogHead:
        """The head to be posted. What is under it can be shown until MAPS_KEPT later ones were posted."""
        self._keep(self.sequence, self.map)
        return LogHead(self.sequence, self.map.root)

    async def map_at(self, sequence: int, *, is_posted: bool) -> StateMap | None:
        """The map under a head posted before; None where it is not known. That of the newest head on the
        ledger (`is_posted`) is read from the disk after a restart, once."""
        async with self._reading:
            if is_posted and 0 < sequence <= self.sequence and sequence not in self._maps:
                found = await self._offload.run(lambda: self.chain.map_at(sequence))
                if found is not None:
                    self._keep(sequence, found)
        return self._maps.get(sequence)

    async def verify(self) -> Verdict:
        """Reads the whole chain again."""
        sequence, head = self.sequence, self.head
        return await self._offload.run(lambda: self.chain.verify(sequence, head))

    # Inside.

    def _keep(self, sequence: int, entries: StateMap) -> None:
        self._maps[sequence] = entries
        while len(self._maps) > MAPS_KEPT:
            del self._maps[min(self._maps)]

    def _record(self, event: AuditEvent, asked: Asked) -> AuditRecord:
        fetch = asked.fetch
        request = None if fetch is None else fetch.request
        return AuditRecord(
            sequence=0,
            previous=NO_RECORD,
            time_ms=self._clock.wall_ms(),
            event=event.value,
            token=b"" if request is None else request.token,
            grant=b"" if fetch is None else fetch.grant_id or b"",
            reader=asked.peer if request is None else request.signer,
            user="" if request is None else request.user,
            purpose="" if request is None else request.purpose,
            reason="",
            request=b"" if fetch is None else encode(fetch.signed),
            final_height=asked.final_height,
            final_age_ms=asked.final_age_ms,
            about=0,
            bytes=0,
            count=0,
        )

    def _close(self, intent: AuditRecord, event: AuditEvent, sent_bytes: int, reason: str) -> None:
        closing = replace(
            intent,
            time_ms=self._clock.wall_ms(),
            event=event.value,
            reason=reason,
            request=b"",
            about=intent.sequence,
            bytes=sent_bytes,
        )
        self._queue(closing)

    def _count_denials(self) -> None:
        """Queues one record for each token whose denials were only counted."""
        for token, count in self._tally.take():
            record = self._record(AuditEvent.DENIAL, Asked(_NOBODY, None, 0, 0))
            self._queue(replace(record, token=token, count=count))

    def _queue(self, record: AuditRecord) -> _Waiting:
        waiting = _Waiting(record)
        self._waiting.append(waiting)
        self._work.set()
        return waiting

    async def _append(self, record: AuditRecord) -> int:
        if self._failure is not None:
            raise self._failure
        waiting = self._queue(record)
        # Whoever is cancelled meanwhile still learns whether there is an intent to close.
        with trio.CancelScope(shield=True):
            await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        return waiting.sequence

    async def _write(self) -> None:
        window_end = trio.current_time() + limits.DENIAL_WINDOW_S
        while True:
            with trio.move_on_at(window_end):
                await self._work.wait()
            if trio.current_time() >= window_end:
                window_end += limits.DENIAL_WINDOW_S
                self._count_denials()
            self._work = trio.Event()
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        """Makes what waits durable in one go. A full disk fails what waits; any other failure is final."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        records, hashes = list[AuditRecord](), list[bytes]()
        sequence, previous = self.sequence, self.head
        for waiting in batch:
            sequence += 1
            records.append(replace(waiting.record, sequence=sequence, previous=previous))
            previous = record_hash(records[-1])
            hashes.append(previous)
        try:
            # What began before the node was told to stop is finished.
            with trio.CancelScope(shield=True):
                await self._offload.run(lambda: self.chain.append(records))
        except StorageError as error:
            _log.error("the audit log could not be written: %s", error)
            _refuse(batch, error)
            if error.code == Code.STORE_FULL:
                return
            self._fail(error)
            raise
        except BaseException:
            # Those who wait are shielded: not told, they would keep the node from ever stopping.
            _refuse(batch, _closed())
            raise
        self.sequence, self.head = sequence, previous
        for record, hashed in zip(records, hashes, strict=True):
            self._map.add(record.token, hashed)
        for waiting, record in zip(batch, records, strict=True):
            waiting.sequence = record.sequence
            if record.event == AuditEvent.INTENT:
                self._open[record.sequence] = record
            waiting.done.set()

    def _fail(self, error: StorageError) -> None:
        self._failure = self._failure or error
        waiting, self._waiting = self._waiting, []
        _refuse(waiting, error)


def _refuse(waiting: Iterable[_Waiting], error: StorageError) -> None:
    """Tells those who wait that their records were not written."""
    for item in waiting:
        item.error = error
        item.done.set()


def _closed() -> StorageError:
    return StorageError("the audit log is closed", "start the daemon", code=Code.STORE_FAILED)
