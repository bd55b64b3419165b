"""Fail stop: a node that was shown two valid chains neither serves nor votes any more, after a restart too.

What counts is in `protocol.two_chains`. The proof is kept in the ledger's database, told to the other
members, and for people to pass on: who stands by which chain is theirs to settle.
"""

import logging
from collections.abc import Callable, Sequence

from node.chain.ledger import Ledger
from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.blocks import Finality, Header, block_hash
from protocol.codec import decode, encode
from protocol.two_chains import Shown, TwoChains, find_two_chains, named_block, verify_two_chains

_log = logging.getLogger(__name__)


class Halt:
    """`found` is why this node stopped, None while it runs."""

    def __init__(self, *, ledger: Ledger, store: Store) -> None:
        self._ledger, self._store = ledger, store
        self._observers: list[Callable[[TwoChains], None]] = []
        self.found = load_two_chains(store)

    @property
    def is_on(self) -> bool:
        return self.found is not None

    def observe(self, observer: Callable[[TwoChains], None]) -> None:
        """Calls `observer` once this node stops, after the proof is durable."""
        self._observers.append(observer)

    def see(self, headers: Sequence[Header], finality: Finality) -> None:
        """Looks at headers that somebody shows as final; where they are of another chain, this stops."""
        own = None if self.is_on else self._against(headers)
        if own is None:
            return
        other = Shown(tuple(headers), finality)
        found = find_two_chains(own, other, self._ledger.membership.committee)
        if found is not None:
            self._stop(found)

    def take(self, found: TwoChains) -> None:
        """A member's proof: it stops this node too, if it is of the committee that is open here.

        Raises:
            Malformed: it proves nothing.
        """
        if not self.is_on and found.committee == self._ledger.membership.committee:
            verify_two_chains(found)
            self._stop(found)

    def _against(self, headers: Sequence[Header]) -> Shown | None:
        """The own chain from where `headers` leave it; None where they do not, as far as is known here."""
        if not headers:
            return None
        height = min(self._ledger.height, headers[-1].height)
        own, name = self._ledger.header(height), named_block(headers, height)
        if own is None or name is None or block_hash(own) == name:
            return None
        if own.epoch != self._ledger.membership.committee.epoch:
            height += 1  # a block of the epoch that is open names this one as its parent
        line: list[Header] = []
        while (header := self._ledger.header(height)) is not None:
            line.append(header)
            finality = self._ledger.finality(height)
            if finality is not None:
                return Shown(tuple(line), finality)
            height += 1
        return None

    def _stop(self, found: TwoChains) -> None:
        self.found = found
        _log.critical(
            "two chains are final at height %d of epoch %d: nothing is served or signed any more",
            found.height,
            found.epoch,
        )
        keep_two_chains(self._store, found)
        for observer in self._observers:
            observer(found)


def load_two_chains(store: Store) -> TwoChains | None:
    """The proof kept in a database."""
    raw = store.get(layout.two_chains())
    return None if raw is None else decode(TwoChains, raw, limit=limits.ARMOUR_BYTES_MAX)


def keep_two_chains(store: Store, found: TwoChains) -> None:
    """Durable when this returns."""
    store.write([(layout.two_chains(), encode(found))], sync=True)
