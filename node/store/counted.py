"""Counted prefixes: entries that cannot go missing without being noticed.

After bit rot a LevelDB iterator can end early without an error. A counted prefix keeps the number of
its entries and the sum of their hashes in an entry of its own, changed in the same batch as they are;
`verify` recomputes both in a full pass. The sum does not depend on order, so entries can be replaced
and deleted. It finds accidents, not forgers: whoever can write the database can write the sum.
"""

import hashlib
from collections.abc import Iterable

from node.ports import Put, Store
from node.store import layout
from protocol.errors import StorageError

REBUILD = "start the node again: it sets the database aside and fetches it from the other clinics"
_COUNT_BYTES = 8
_SUM_BYTES = 32
_SUM_MODULUS = 1 << (8 * _SUM_BYTES)


class CountedPrefix:
    """The entries under one prefix. All writes under the prefix must go through this.

    Nothing is held in memory: the tally is read before and written with each batch, so a failed or
    crashed batch leaves no trace. One task writes at a time, as everywhere with a Store.
    """

    def __init__(self, store: Store, prefix: bytes, remedy: str = REBUILD) -> None:
        self._store, self._remedy = store, remedy
        self._prefix = prefix
        self._tally_key = layout.counted(prefix)

    def count(self) -> int:
        return self._tally()[0]

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        """Writes entries of this prefix alone; see `tally` for batches that hold more."""
        puts, deletes = list(puts), list(deletes)
        self._store.write([*puts, self.tally(puts, deletes)], deletes, sync=sync)

    def tally(self, puts: Iterable[Put], deletes: Iterable[bytes] = ()) -> Put:
        """The entry that must go into the same batch as these changes, once for each batch.

        `puts` and `deletes` are all changes of the batch under this prefix; deletes come last.
        """
        changes: dict[bytes, bytes | None] = dict(puts)
        changes.update(dict.fromkeys(deletes))
        count, total = self._tally()
        for key, value in changes.items():
            if not key.startswith(self._prefix):
                raise ValueError("key is not under the counted prefix")
            before = self._store.get(key)
            count += (value is not None) - (before is not None)
            total += _entry_hash(key, value) - _entry_hash(key, before)
        return self._tally_key, _encode(count, total)

    def verify(self) -> int:
        """The number of entries, after a full pass over them.

        Raises:
            StorageError: the entries are not the ones that were written. Stop serving and voting.
        """
        count = total = 0
        for key, value in self._store.iterate(self._prefix):
            count += 1
            total += _entry_hash(key, value)
        expected, _ = stored = self._tally()
        if (count, total % _SUM_MODULUS) != stored:
            raise StorageError(
                f"the store is damaged: {count} of {expected} entries under "
                f"{self._prefix.decode(errors='replace')} were found, or others than were written",
                self._remedy,
            )
        return count

    def _tally(self) -> tuple[int, int]:
        value = self._store.get(self._tally_key)
        if value is None:
            return 0, 0
        return int.from_bytes(value[:_COUNT_BYTES], "big"), int.from_bytes(value[_COUNT_BYTES:], "big")


def _encode(count: int, total: int) -> bytes:
    return count.to_bytes(_COUNT_BYTES, "big") + (total % _SUM_MODULUS).to_bytes(_SUM_BYTES, "big")


def _entry_hash(key: bytes, value: bytes | None) -> int:
    """0 for an absent entry."""
    if value is None:
        return 0
    return int.from_bytes(hashlib.sha256(len(key).to_bytes(4, "big") + key + value).digest(), "big")
