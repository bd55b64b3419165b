"""Revocations at sight: a validly signed one counts from the moment it is seen, whatever the order."""

import trio

from node.ledger import Ledger
from node.ports import TaskStatus
from protocol import limits
from protocol.keys import PublicKey
from protocol.ledger import may_revoke
from protocol.transactions import Revoke, TokenId, VerifiedTransaction


class Denials:
    """Judges revocations against the newest final state; keeps those that come before their token."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._early: dict[bytes, tuple[VerifiedTransaction, PublicKey]] = {}
        self._early_by_sender: dict[PublicKey, int] = {}
        self._unknown_by_token: dict[TokenId, int] = {}

    async def see(self, transaction: VerifiedTransaction, sender: PublicKey) -> None:
        """Takes a verified Revoke from anywhere; if it counts, it is durable when this returns."""
        body = transaction.body
        assert isinstance(body, Revoke)
        state = self._ledger.state
        verdict = may_revoke(state, body, transaction.signers[0])
        if verdict:
            if state.grant(body.token, body.grant_id) is not None or self._has_room(body.token):
                await self._ledger.deny(body)
        elif verdict is None and transaction.id not in self._early:
            kept = self._early_by_sender.get(sender, 0)
            if kept < limits.EARLY_REVOKES_PER_MEMBER_MAX:
                self._early[transaction.id] = transaction, sender
                self._early_by_sender[sender] = kept + 1

    def _has_room(self, token: TokenId) -> bool:
        """Whether another revocation of a grant nobody knows counts at sight for this token: whoever
        owns one could else fill the disks. The ledger has a quota of its own."""
        counted = self._unknown_by_token.get(token, 0)
        self._unknown_by_token[token] = counted + 1
        return counted < limits.EARLY_REVOKES_PER_TOKEN_MAX

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Judges early revocations again after each final block: their token may be there by now."""
        task_status.started()
        while True:
            await self._ledger.wait_advanced()
            for name, (transaction, sender) in list(self._early.items()):
                body = transaction.body
                assert isinstance(body, Revoke)
                verdict = may_revoke(self._ledger.state, body, transaction.signers[0])
                if verdict is None:
                    continue
                if verdict:
                    await self._ledger.deny(body)
                del self._early[name]
                self._early_by_sender[sender] -= 1
