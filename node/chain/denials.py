"""What narrows access at sight: revocations and suspensions count from the moment they are seen."""

import trio

from node.chain.ledger import Ledger
from node.chain.suspensions import Suspensions
from node.ports import TaskStatus
from protocol import limits
from protocol.keys import PublicKey
from protocol.ledger import may_revoke
from protocol.membership import Suspend
from protocol.transactions import Revoke, TokenId, TransactionId, VerifiedTransaction


class Denials:
    """Judges revocations against the newest final state; keeps those that come before their token.
    Suspensions are judged by `suspensions`, and never kept: whoever approved one says it again."""

    def __init__(self, ledger: Ledger, suspensions: Suspensions) -> None:
        self._ledger, self._suspensions = ledger, suspensions
        self._early: dict[PublicKey, dict[TransactionId, VerifiedTransaction]] = {}
        self._unknown_by_token: dict[TokenId, int] = {}

    async def see(self, transaction: VerifiedTransaction, sender: PublicKey) -> None:
        """Takes a verified transaction from anywhere; if it narrows access, it counts and is durable
        when this returns."""
        match transaction.body:
            case Revoke() as body:
                await self._see_revoke(transaction, body, sender)
            case Suspend():
                self._suspensions.see(transaction)
            case _:
                return

    async def _see_revoke(self, transaction: VerifiedTransaction, body: Revoke, sender: PublicKey) -> None:
        if (body.token, body.grant_id) in self._ledger.denied:
            return
        state = self._ledger.state
        verdict = may_revoke(state, body, transaction.signers[0])
        if verdict:
            if state.grant(body.token, body.grant_id) is not None or self._has_room(body.token):
                await self._ledger.deny(body)
        elif verdict is None:
            early = self._early.setdefault(sender, {})
            early[transaction.id] = transaction
            # The oldest goes, or a flood of what will never count would keep out all that comes later.
            while len(early) > limits.EARLY_REVOKES_PER_MEMBER_MAX:
                del early[next(iter(early))]

    def _has_room(self, token: TokenId) -> bool:
        """Whether another revocation of a grant nobody knows counts at sight for this token: whoever
        owns one could else fill the disks. The ledger has a quota of its own."""
        counted = self._unknown_by_token.get(token, 0)
        self._unknown_by_token[token] = counted + 1
        return counted < limits.EARLY_REVOKES_PER_TOKEN_MAX

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Judges early revocations again after each final block: their token may be there by now."""
        task_status.started()
        judged = self._ledger.height
        while True:
            if judged == self._ledger.height:
                await self._ledger.wait_advanced()
            judged = self._ledger.height
            for early in list(self._early.values()):
                for transaction in list(early.values()):
                    await self._judge_again(transaction, early)

    async def _judge_again(
        self, transaction: VerifiedTransaction, early: dict[TransactionId, VerifiedTransaction]
    ) -> None:
        body = transaction.body
        assert isinstance(body, Revoke)
        verdict = may_revoke(self._ledger.state, body, transaction.signers[0])
        if verdict is None:
            return
        if verdict:
            await self._ledger.deny(body)
        early.pop(transaction.id, None)
