"""The pending changes of this node: kept, passed on, and submitted once enough members have approved."""

import logging
from collections.abc import Awaitable, Callable

import trio

from node.chain.ledger import Ledger
from node.ports import Clock, Store
from node.store import layout
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, Rejected, UserError
from protocol.keys import PublicKey, SigningKey
from protocol.pending import (
    Change,
    PendingChange,
    Pool,
    approvals_of,
    approve_change,
    change_id,
    is_open,
    read_change,
    sponsor_change,
)
from protocol.transactions import approved_transaction

_CHANGE_BYTES_MAX = limits.MEMBERS_FRAME_BYTES_MAX
_log = logging.getLogger(__name__)

Submit = Callable[[bytes], Awaitable[object]]
Tell = Callable[[PendingChange], None]


class Changes:
    """A `Pool` on the store. `submit` takes a transaction, `tell` passes a change to the other members."""

    def __init__(
        self, *, ledger: Ledger, store: Store, key: SigningKey, clock: Clock, submit: Submit, tell: Tell
    ) -> None:
        self._ledger, self._store, self._key, self._clock = ledger, store, key, clock
        self._submit, self._tell = submit, tell
        self._network = ledger.state.network
        self.pool = Pool(self._network)
        for _, raw in store.iterate(layout.CHANGE):
            self.pool.restore(decode(PendingChange, raw, limit=_CHANGE_BYTES_MAX))

    async def take(self, pending: PendingChange) -> None:
        """Merges what another member knows. Raises Malformed, as `Pool.take`."""
        merged = self.pool.take(pending, self._ledger.state, self._clock.wall_ms())
        if merged is not None:
            self._keep(merged)
            self._tell(merged)
            await self.submit_ready()

    def bring_up(self, body: bytes) -> Change:
        """Sponsors a change, unless it is known; nothing is approved by that.

        Raises:
            UserError: LIMIT, MEMBERSHIP: this member has too many waiting, or the ledger would not take it.
        """
        if self.pool.get(change_id(body)) is None:
            pending = sponsor_change(body, self._key, self._network)
            change = read_change(body, self._network)
            merged = self.pool.take(pending, self._ledger.state, self._clock.wall_ms())
            if merged is None:
                raise self._not_taken(change)
            self._keep(merged)
            self._tell(merged)
        return read_change(body, self._network)

    async def approve(self, change: Change) -> None:
        """Adds this member's approval. Durable, and passed on, when this returns."""
        known = self.pool.get(change.id)
        if known is not None:
            await self.take(approve_change(known[0], self._key, self._network))

    async def submit_ready(self) -> None:
        """Submits what a quorum has approved. Every member does, and the ledger takes it once."""
        for pending, change in self.pool.ready(self._ledger.state):
            approvals = approvals_of(pending, self._ledger.state)
            # The same signatures of all that there may be, so that members submit the same bytes.
            enough = approvals[: self._ledger.state.committee.quorum]
            raw = approved_transaction(change.body, enough)
            # Somebody else may have been faster, or another change comes first: it is tried again.
            try:
                await self._submit(raw)
            except (Rejected, UserError, Malformed) as error:
                _log.info("a change that is approved is not taken yet: %s", error)

    def settle(self) -> None:
        """Forgets what is over."""
        over = self.pool.settle(self._ledger.state, self._clock.wall_ms())
        if over:
            self._store.write((), [layout.change(name) for name in over])

    async def wait_final(self, change: Change, timeout_s: float) -> bool:
        """Whether the ledger has taken `change`, or what makes it pointless, within `timeout_s`."""
        with trio.move_on_after(timeout_s):
            while is_open(change, self._ledger.state, self._clock.wall_ms()):
                await self._ledger.wait_advanced()
        return not is_open(change, self._ledger.state, self._clock.wall_ms())

    def approved_by(self, pending: PendingChange) -> list[PublicKey]:
        return [item.key for item in approvals_of(pending, self._ledger.state)]

    def _not_taken(self, change: Change) -> UserError:
        """Why the pool took nothing."""
        if is_open(change, self._ledger.state, self._clock.wall_ms()):
            return UserError(
                f"{limits.CHANGES_PER_SPONSOR_MAX} changes that this clinic brought up wait already",
                "see them: chartmesh network members; have them approved, or let them expire",
                code=Code.LIMIT,
            )
        return UserError(
            "the ledger would not take this: it is so already, or cannot be any more",
            "see who is what: chartmesh network members",
            code=Code.MEMBERSHIP,
        )

    def _keep(self, pending: PendingChange) -> None:
        name = change_id(pending.body)
        self._store.write([(layout.change(name), encode(pending))], sync=True)
