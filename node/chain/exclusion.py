"""That the members ended this clinic's part while it could not follow the ledger: it has stopped for good.

Who was suspended or removed is told so by no one: members take no connection from it, so its ledger ends
before the block that says it. How it learns that all the same is in `node.members.standing`. Kept in the
ledger's database, for nothing after it can change it.
"""

from collections.abc import Callable

from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.codec import Wire, decode, encode


class Ended(Wire, frozen=True):
    """The Role of this clinic after the final block of `height`, whose time is `time_ms`."""

    role: int
    height: int
    time_ms: int


class Exclusion:
    """`ended` is how this clinic's part ended, None while it is a member as far as it knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._observers: list[Callable[[], None]] = []
        raw = store.get(layout.ended())
        self.ended = None if raw is None else decode(Ended, raw, limit=limits.KIB)

    @property
    def is_on(self) -> bool:
        return self.ended is not None

    def observe(self, observer: Callable[[], None]) -> None:
        """Calls `observer` once this clinic stops, after that is durable."""
        self._observers.append(observer)

    def keep(self, ended: Ended) -> None:
        """Stops this clinic. Durable when this returns."""
        self._store.write([(layout.ended(), encode(ended))], sync=True)
        self.ended = ended
        for observer in self._observers:
            observer()
