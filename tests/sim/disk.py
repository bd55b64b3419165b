"""A node's disks: what survives a crash, and a power cut in the middle of any call.

A crash between two awaits would never fall between a vote that leaves and the save that should have
come before it. So the power can also be cut inside the k-th call of the stores and the vote file,
just before or just after it took effect.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from node.ports import Put
from node.store.memory import MemoryStore, MemoryVoteFile
from tests.sim.entropy import SimEntropy


class PowerLoss(BaseException):
    """The node's process ends here. Not an Exception: no guard inside a node may survive it."""


class Fuse:
    """Cuts the power at the k-th write from when it is set, `after` it took effect or before."""

    def __init__(self) -> None:
        self._writes_left = 0
        self._after = False
        self._cut: Callable[[], None] = lambda: None

    def set(self, writes: int, *, after: bool, cut: Callable[[], None]) -> None:
        self._writes_left, self._after, self._cut = writes, after, cut

    def clear(self) -> None:
        self._writes_left = 0

    def guard(self, write: Callable[[], None]) -> None:
        """Does `write`, unless the power fails. Raises PowerLoss."""
        if self._writes_left == 0:
            write()
            return
        self._writes_left -= 1
        if self._writes_left > 0:
            write()
            return
        if self._after:
            write()
        self._cut()
        raise PowerLoss


class FusedStore:
    """A `ports.Store` whose writes pass the fuse."""

    def __init__(self, store: MemoryStore, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def get(self, key: bytes) -> bytes | None:
        return self._store.get(key)

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        self._fuse.guard(lambda: self._store.write(puts, deletes, sync=sync))

    def iterate(self, prefix: bytes, *, start: bytes = b"") -> Iterator[Put]:
        return self._store.iterate(prefix, start=start)

    def disk_bytes(self) -> int:
        return self._store.disk_bytes()

    def compact(self) -> None:
        self._store.compact()

    def close(self) -> None:
        self._store.close()


class FusedVoteFile:
    """A `ports.VoteFile` whose saves pass the fuse."""

    def __init__(self, votes: MemoryVoteFile, fuse: Fuse) -> None:
        self._votes, self._fuse = votes, fuse

    def load(self) -> bytes | None:
        return self._votes.load()

    def save(self, record: bytes) -> None:
        self._fuse.guard(lambda: self._votes.save(record))


@dataclass(frozen=True)
class Disk:
    """All that a node keeps on disks, between one crash and the next."""

    ledger: MemoryStore = field(default_factory=MemoryStore)
    blobs: MemoryStore = field(default_factory=MemoryStore)
    audit: MemoryStore = field(default_factory=MemoryStore)
    votes: MemoryVoteFile = field(default_factory=MemoryVoteFile)

    @property
    def stores(self) -> tuple[MemoryStore, ...]:
        return self.ledger, self.blobs, self.audit

    def copy(self) -> "Disk":
        """A snapshot of all of it, as of a virtual machine that runs on."""
        ledger, blobs, audit = (store.copy() for store in self.stores)
        return Disk(ledger, blobs, audit, self.votes.copy())

    def lose_power(self, entropy: SimEntropy) -> "Disk":
        """What the next life finds: of each store a random prefix of its unsynced batches."""
        ledger, blobs, audit = (store.crash(entropy) for store in self.stores)
        return Disk(ledger, blobs, audit, self.votes.crash(entropy))
