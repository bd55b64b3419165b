"""The seams of the daemon: what a service may ask of the world. Each has a real and a simulated adapter.

Peers are named by their identity key (`PublicKey`), never by an address. All times are integers in
milliseconds unless a name says otherwise; deadlines are enforced by the caller with trio scopes.
"""

from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from protocol.keys import PublicKey

if TYPE_CHECKING:
    # The stubs that come with libp2p hide trio's own.
    from trio_typing import TaskStatus as TaskStatus
else:
    TaskStatus = trio.TaskStatus

T = TypeVar("T")


class Clock(Protocol):
    """Time. Wall time may be wrong; elapsed time counts suspend and never steps."""

    def wall_ms(self) -> int:
        """Unix time in milliseconds."""
        ...

    def elapsed_ms(self) -> int:
        """Milliseconds since an arbitrary start, monotonic, suspend included (CLOCK_BOOTTIME)."""
        ...


class Entropy(Protocol):
    """Randomness: from the operating system, or seeded in the simulator."""

    def bytes(self, count: int) -> bytes: ...

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""
        ...


class Offload(Protocol):
    """Runs a CPU-bound or blocking function beside the event loop (inline in the simulator)."""

    async def run(self, work: Callable[[], T]) -> T: ...


Put = tuple[bytes, bytes]


class Store(Protocol):
    """An ordered key-value store of one database. One writer; batches are atomic.

    Every method raises StorageError on failure or on a value that fails its checksum. After a write
    error the store refuses everything: reopening is the only way on.
    """

    def get(self, key: bytes) -> bytes | None: ...

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        """Applies all or nothing. With `sync`, durable when it returns."""
        ...

    def iterate(self, prefix: bytes, *, start: bytes = b"") -> Iterator[Put]:
        """Entries whose key begins with `prefix`, from key `start` on, in key order, keys in full."""
        ...

    def disk_bytes(self) -> int: ...

    def compact(self) -> None:
        """Gives the room of what was deleted back to the disk. Takes long, and room meanwhile."""
        ...

    def close(self) -> None: ...


class VoteFile(Protocol):
    """The small durable file that keeps a validator from voting twice: two checksummed slots."""

    def load(self) -> bytes | None:
        """The newest valid record, or None where none was ever written.

        Raises:
            StorageError: the file is missing or neither slot is valid. The node must not vote.
        """
        ...

    def save(self, record: bytes) -> None:
        """Durable when it returns. Raises StorageError, after which nothing may be signed."""
        ...


class Stream(Protocol):
    """One bidirectional stream of length-prefixed frames with an authenticated peer."""

    @property
    def peer(self) -> PublicKey: ...

    async def send(self, frame: bytes) -> None:
        """Raises TransportError when the peer is gone or too slow (limits.WRITE_S)."""
        ...

    async def receive(self, limit: int, timeout_s: float | None = None) -> bytes | None:
        """The next frame of at most `limit` bytes, or None at the end of the stream.

        `timeout_s` None means limits.IDLE_READ_S; math.inf waits for ever (kept streams).

        Raises:
            TransportError: reset, or nothing within the deadline.
            Malformed: a frame over `limit`.
        """
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer to dial: its identity key, and multiaddrs like `/ip4/127.0.0.1/tcp/4001`, without `/p2p`."""

    id_key: PublicKey
    addresses: tuple[str, ...] = ()


StreamHandler = Callable[[Stream], Awaitable[None]]
DatagramHandler = Callable[[PublicKey, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GossipMessage:
    topic: str
    sender: PublicKey | None
    payload: bytes


class Transport(Protocol):
    """The network. `protocol` and `topic` are the short names of design §8 (`consensus`, `blocks` …).

    The adapter adds the `/chartmesh/<network>/…/1` around them, admits strangers only to the
    protocols registered with `strangers=True`, and drops a peer whose handler raises.
    """

    @property
    def identity(self) -> PublicKey: ...

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        """Registers the handler of inbound streams. Call before the transport runs."""
        ...

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        """Registers the handler of single frames sent by `send`. Members only."""
        ...

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        """Says who is a member and where to dial each, instead of those before."""
        ...

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        """Queues one frame to a member: may be lost, duplicated or overtaken. Never blocks."""
        ...

    async def open_stream(self, peer: PublicKey, protocol: str) -> Stream:
        """Raises TransportError where the peer cannot be reached within limits.STREAM_OPEN_S."""
        ...

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        """Messages of a topic, own ones excluded. Call before the transport runs. May lose messages."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None: ...

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        """The connected peers that said they take part in a topic."""
        ...

    def connected(self) -> Sequence[PublicKey]:
        """Peers with a live connection, members and strangers, in key order."""
        ...

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        """Calls `callback` each time a member's connection comes up."""
        ...

    def shut_out(self, peers: Container[PublicKey]) -> None:
        """Takes no connection with any of `peers` from now on; `drop` ends those that there are."""
        ...

    def drop(self, peer: PublicKey) -> None:
        """Ends every connection with `peer`."""
        ...


class Visitor(Transport, Protocol):
    """A transport that dials and listens nowhere, run by whoever asked for it."""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...


@dataclass(frozen=True)
class Ports:
    """Everything a node gets from the world. `visit` makes a way to the members under a fresh identity, by
    which nobody knows this node."""

    transport: Transport
    ledger_store: Store
    blob_store: Store
    audit_store: Store
    votes: VoteFile | None
    clock: Clock
    entropy: Entropy
    offload: Offload
    visit: Callable[[], Visitor]
