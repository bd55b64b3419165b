"""This node's own audit log for its administrator: the answers to `audit list` and `audit verify`."""

from collections.abc import Callable

from node.chain.ledger import Ledger
from node.ports import Offload
from node.records.audit_log import AuditLog
from node.records.patient_history import PatientHistory
from protocol.audit import AuditEvent, AuditRecord, record_hash
from protocol.control import AuditItem, AuditList, AuditListResult, AuditVerify, AuditVerifyResult, utc
from protocol.keys import PublicKey

Keep = Callable[[AuditRecord], bool]


class AuditViews:
    """`identity` is this node's."""

    def __init__(
        self,
        *,
        identity: PublicKey,
        audit: AuditLog,
        ledger: Ledger,
        history: PatientHistory,
        offload: Offload,
    ) -> None:
        self._identity, self._audit, self._ledger = identity, audit, ledger
        self._history, self._offload = history, offload

    async def rows(self, request: AuditList) -> AuditListResult:
        """Records newest first, and whether each listed is the one that its successor names."""
        sequence, head = self._audit.sequence, self._audit.head
        return await self._offload.run(lambda: self._rows(request, sequence, head))

    async def verify(self, request: AuditVerify) -> AuditVerifyResult:
        """Reads the whole chain again and compares it with what was posted to the ledger."""
        verdict = await self._audit.verify()
        member = self._ledger.state.member(self._identity)
        posted, bad = None, verdict.bad
        if member is not None and member.audit_sequence:
            sequence = member.audit_sequence
            found = await self._offload.run(lambda: self._audit.chain.map_at(sequence))
            if found is not None and found.root == member.audit_head:
                posted = sequence
            else:
                # A log that was cut or written anew may chain, and is still not the one that was posted.
                bad = min(bad or sequence, sequence, verdict.entries + 1)
        return AuditVerifyResult(
            entries=verdict.entries, ok=bad is None, head=verdict.head.hex(), bad=bad, posted=posted
        )

    def _rows(self, request: AuditList, sequence: int, head: bytes) -> AuditListResult:
        keep = self._filter(request)
        items: list[AuditItem] = []
        ok, more, after = True, False, None
        start = sequence if request.before is None else min(sequence, request.before - 1)
        if start < sequence:
            after = self._audit.chain.get(start + 1)
            ok = after is not None
        for number in range(start if ok else 0, 0, -1):
            record = self._audit.chain.get(number)
            expected = head if after is None else after.previous
            if record is None or record_hash(record) != expected:
                ok = False
                break
            after = record
            if keep(record):
                more = len(items) == request.rows
                if more:
                    break
                items.append(self._item(record, expected))
        return AuditListResult(entries=tuple(items), ok=ok, head=head.hex(), more=more)

    def _filter(self, request: AuditList) -> Keep:
        tokens = None if request.patient is None else self._history.tokens(request.patient)

        def keep(record: AuditRecord) -> bool:
            return (
                record.time_ms >= (request.since_ms or 0)
                and (request.record is None or record.token.hex().startswith(request.record))
                and (tokens is None or record.token in tokens)
                and (request.by is None or self._is_by(record, request.by))
            )

        return keep

    def _is_by(self, record: AuditRecord, who: str) -> bool:
        return who in (record.user, self._name(record.reader)) or record.reader.hex().startswith(who)

    def _name(self, key: bytes) -> str:
        member = self._ledger.membership.member(PublicKey(key))
        return "" if member is None else member.name

    def _item(self, record: AuditRecord, hashed: bytes) -> AuditItem:
        return AuditItem(
            sequence=record.sequence,
            time=utc(record.time_ms),
            event=record.event,
            outcome=_outcome(record),
            hash=hashed.hex(),
            member=record.reader.hex(),
            member_name=self._name(record.reader),
            user=record.user,
            purpose=record.purpose,
            grant=record.grant.hex() or None,
            token=record.token.hex() or None,
            reason=record.reason,
            bytes=record.bytes,
        )


def _outcome(record: AuditRecord) -> str:
    match record.event:
        case AuditEvent.INTENT:
            return "allowed"
        case AuditEvent.OUTCOME:
            return "stopped" if record.reason else "served"
        case AuditEvent.DENIAL:
            return "refused" if record.count <= 1 else f"refused {record.count} times"
        case AuditEvent.DELETION:
            return "deleted"
        case _:
            return "unknown"
