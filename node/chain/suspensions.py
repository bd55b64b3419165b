"""Suspension at sight: a member whose suspension a quorum approved is shut out from that moment on.

Order does not matter and cannot undo it: the ledger only says later what counts here already. Kept like
revocations, in a counted prefix, so that a store that silently reads short stops the node.
"""

from collections.abc import Callable, Container

from node.chain.ledger import Ledger
from node.ports import Store
from node.store import layout
from node.store.counted import CountedPrefix
from protocol.keys import PublicKey
from protocol.membership import Suspend
from protocol.roster import suspends_at_sight
from protocol.transactions import VerifiedTransaction


class Suspensions(Container[PublicKey]):
    """The members shut out here: suspended or removed on the ledger, or suspended at sight.

    Each test is a point read or two. Raises StorageError at construction where the store reads short.
    """

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger, self._store = ledger, store
        self._kept = CountedPrefix(store, layout.SUSPENDED)
        self._kept.verify()
        self._observers: list[Callable[[PublicKey], None]] = []

    def __contains__(self, member: object) -> bool:
        if not isinstance(member, bytes):
            return False
        if self._store.get(layout.suspended(member)) is not None:
            return True
        known = self._ledger.state.member(PublicKey(member))
        return known is not None and not known.is_active

    def observe(self, observer: Callable[[PublicKey], None]) -> None:
        """Calls `observer` with each member that is newly suspended at sight."""
        self._observers.append(observer)

    def see(self, transaction: VerifiedTransaction) -> None:
        """Takes a verified Suspend from anywhere; if it counts, it is durable when this returns."""
        body = transaction.body
        assert isinstance(body, Suspend)
        key = layout.suspended(body.member)
        if self._store.get(key) is not None:
            return
        time_ms = self._ledger.head.header.time_ms
        if suspends_at_sight(self._ledger.state, body, transaction.signers, time_ms):
            self._kept.write([(key, b"\x01")], sync=True)
            for observer in self._observers:
                observer(body.member)
