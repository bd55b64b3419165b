"""The Store in memory, with a disk that can lose power: what the simulator and most tests use.

A batch written without `sync` is applied but may be lost; a synced one makes all before it durable.
`crash` loses power: a prefix of the unsynced batches survives, and the old handle is dead. `fail_at`
makes one call fail; as on a real disk, a write that failed may have landed or not.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from node.ports import Entropy, Put
from node.store import layout
from protocol.errors import Code, StorageError

_Undo = list[tuple[bytes, bytes | None]]


class MemoryStore:
    """A `ports.Store`. Several handles may follow each other over one disk; only the last is alive."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._unsynced: list[_Undo] = []
        self._refusal = ""
        self._fail_call = 0
        self.is_full = False
        """Whether the disk is nearly full: puts are refused then, and nothing else is."""
        self.calls = 0
        """Calls of get, write and iterate so far: the range that `fail_at` can be run through."""

    def get(self, key: bytes) -> bytes | None:
        self._count_call()
        return self._entries.get(key)

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        changes: list[tuple[bytes, bytes | None]] = [*puts, *((key, None) for key in deletes)]
        if self.is_full and any(value is not None for _, value in changes):
            raise StorageError("the disk is nearly full", "free disk space", code=Code.STORE_FULL)
        try:
            self._count_call()
        except StorageError:
            if self.calls == self._fail_call:
                self._apply(changes)
            raise
        self._apply(changes)
        if sync:
            self._unsynced.clear()

    def iterate(self, prefix: bytes, *, start: bytes = b"") -> Iterator[Put]:
        """The entries as they were at the call, whatever is written meanwhile."""
        self._count_call()
        end = layout.after(prefix)
        first = bisect_left(self._keys, max(prefix, start))
        last = len(self._keys) if end is None else bisect_left(self._keys, end)
        return iter([(key, self._entries[key]) for key in self._keys[first:last]])

    def disk_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self._entries.items())

    def compact(self) -> None:
        """Nothing is kept of what was deleted."""

    def close(self) -> None:
        self._refusal = "the store is closed"

    def synced(self, key: bytes) -> bytes | None:
        """The value that even the worst crash would leave now. Counts as no call, and never fails."""
        for undo in self._unsynced:
            for name, value in undo:
                if name == key:
                    return value
        return self._entries.get(key)

    @property
    def unsynced(self) -> int:
        """How many batches a crash may lose."""
        return len(self._unsynced)

    def fail_at(self, call: int) -> None:
        """Makes the `call`-th call from now (1 is the next) raise StorageError, and all after it."""
        self._fail_call = self.calls + call

    def crash(self, keep: int | Entropy) -> "MemoryStore":
        """Loses power: kills this handle and returns the one that the restarted node opens.

        The first `keep` unsynced batches survive, or a random number of them. Killing a process
        alone loses nothing: that is `crash(store.unsynced)`.
        """
        count = len(self._unsynced)
        kept = min(keep, count) if isinstance(keep, int) else keep.below(count + 1)
        for undo in reversed(self._unsynced[kept:]):
            for key, value in reversed(undo):
                self._set(key, value)
        self._refusal = "the store went down in a crash"
        reopened = MemoryStore()
        reopened._entries, self._entries = self._entries, {}
        reopened._keys, self._keys = self._keys, []
        return reopened

    def copy(self) -> "MemoryStore":
        """What a snapshot of the disk holds: another store, which goes its own way."""
        copy = MemoryStore()
        copy._entries, copy._keys = dict(self._entries), list(self._keys)
        return copy

    def _count_call(self) -> None:
        if not self._refusal:
            self.calls += 1
            if self.calls != self._fail_call:
                return
            self._refusal = "the store failed"
        raise StorageError(self._refusal, "reopen the store", code=Code.STORE_FAILED)

    def _apply(self, changes: _Undo) -> None:
        undo: _Undo = []
        for key, value in changes:
            undo.append((key, self._entries.get(key)))
            self._set(key, value)
        self._unsynced.append(undo)

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self._entries:
                insort(self._keys, key)
            self._entries[key] = value
        elif key in self._entries:
            del self._entries[key]
            del self._keys[bisect_left(self._keys, key)]


class MemoryVoteFile:
    """A `ports.VoteFile` that survives a crash, and whose failed save may have landed or not."""

    def __init__(self, record: bytes | None = None, *, lost: bool = False) -> None:
        self._record = record
        self._landing: bytes | None = None
        self._refusal = "the vote file is missing" if lost else ""
        self._fail_save = 0
        self.saves = 0

    def load(self) -> bytes | None:
        self._check()
        return self._record

    def save(self, record: bytes) -> None:
        self._check()
        self.saves += 1
        if self.saves == self._fail_save:
            self._landing = record
            self._refusal = "saving to the vote file failed"
            self._check()
        self._record = record

    def close(self) -> None:
        self._refusal = "the vote file is closed"

    def fail_at(self, save: int) -> None:
        """Makes the `save`-th save from now (1 is the next) raise StorageError, and all after it."""
        self._fail_save = self.saves + save

    def crash(self, keep: int | Entropy) -> "MemoryVoteFile":
        """Kills this handle and returns the next; `keep` 0 drops a save that had failed, 1 keeps it."""
        landed = self._landing is not None and bool(keep if isinstance(keep, int) else keep.below(2))
        self._refusal = "the vote file went down in a crash"
        return MemoryVoteFile(self._landing if landed else self._record)

    def copy(self) -> "MemoryVoteFile":
        """What a snapshot of the disk holds."""
        return MemoryVoteFile(self._record)

    def _check(self) -> None:
        if self._refusal:
            raise StorageError(self._refusal, "the node must not vote")
