"""Posting this node's audit head to the ledger, at most as often as the network allows: from then on a log
that was cut, edited or rolled back does not agree with what everyone has."""

import logging

import trio

from node.chain.ledger import Ledger
from node.chain.submissions import Submissions
from node.ports import Clock, TaskStatus
from node.records.audit_log import AuditLog
from protocol.errors import Rejected, UserError
from protocol.keys import SigningKey
from protocol.transactions import AuditHead, sign_transaction

_log = logging.getLogger(__name__)


class AuditHeads:
    """`key` is the clinic's identity key."""

    def __init__(
        self, *, key: SigningKey, audit: AuditLog, ledger: Ledger, submissions: Submissions, clock: Clock
    ) -> None:
        self._key, self._audit, self._ledger = key, audit, ledger
        self._submissions, self._clock = submissions, clock

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Looks at each final block whether it is time again."""
        task_status.started()
        while True:
            if self._is_due():
                await self._post()
            await self._ledger.wait_advanced()

    def _is_due(self) -> bool:
        state = self._ledger.state
        member = state.member(self._key.public)
        if member is None or self._audit.sequence <= member.audit_sequence:
            return False
        # Whoever proposes the block may have a clock that is behind by the tolerance.
        wait_ms = state.limits.audit_head_interval_ms + state.limits.tolerance_ms
        return not member.audit_sequence or self._clock.wall_ms() >= member.audit_time_ms + wait_ms

    async def _post(self) -> None:
        head = self._audit.post()
        body = AuditHead(self._key.public, head.sequence, head.root)
        raw = sign_transaction(body, (self._key,), self._ledger.state.network)
        # Whatever keeps it from the ledger now, a later head covers it too.
        try:
            name = await self._submissions.submit(raw, b"", sender=self._key.public)
            await self._submissions.wait_final(name)
        except (Rejected, UserError) as error:
            _log.info("the audit head was not posted: %s", error)
