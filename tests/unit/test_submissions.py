"""Transactions on their way in: passed on at once, told of when durable, and never lost between."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio
import trio.testing

from node.adapters import InlineOffload
from node.chain.denials import Denials
from node.chain.submissions import Submissions
from node.chain.suspensions import Suspensions
from node.ports import Offload
from node.store import layout
from node.store.memory import MemoryStore
from protocol.errors import Rejected, Rejection
from protocol.keys import PublicKey
from protocol.mempool import Mempool, VerifiedCache
from protocol.messages.consensus import Forward, Submission, decode_consensus
from protocol.transactions import VerifiedTransaction
from tests.clinic_world import IDS
from tests.ledger_world import NETWORK, Signed, grant, keys, mint
from tests.memory_net import MemoryTransport, Net
from tests.unit.test_ledger_store import open_ledger

T = TypeVar("T")
STRANGER = b"stranger"


class SlowDisk:
    """An offload that begins no work before `go`."""

    def __init__(self) -> None:
        self.go = trio.Event()

    async def run(self, work: Callable[[], T]) -> T:
        await self.go.wait()
        return work()


class RecordingTransport(MemoryTransport):
    """Keeps what is sent."""

    def __init__(self, net: Net, identity: PublicKey) -> None:
        super().__init__(net, identity)
        self.frames: list[tuple[PublicKey, bytes]] = []

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        self.frames.append((peer, payload))


class Way:
    """The way in of clinic 0, over a store in memory. `refusals` is what the ledger would say."""

    def __init__(self, nursery: trio.Nursery, offload: Offload, store: MemoryStore | None = None) -> None:
        self.store, self.mempool = store or MemoryStore(), Mempool()
        self.transport = RecordingTransport(Net(nursery), IDS[0])
        self.refusals: dict[bytes, str] = {}
        ledger = open_ledger(MemoryStore())
        self.submissions = Submissions(
            transport=self.transport,
            store=self.store,
            mempool=self.mempool,
            verified=VerifiedCache(NETWORK),
            denials=Denials(ledger, Suspensions(ledger, MemoryStore())),
            membership=ledger.membership,
            offload=offload,
        )
        self.submissions.connect(
            rejection=self._rejection, is_final=lambda name: False, on_narrowing=lambda submission: None
        )

    def _rejection(self, transaction: VerifiedTransaction) -> str | None:
        return self.refusals.get(transaction.id)

    def forwarded(self) -> list[tuple[PublicKey, tuple[Submission, ...]]]:
        found = []
        for peer, payload in self.transport.frames:
            message = decode_consensus(payload)
            assert isinstance(message, Forward)
            found.append((peer, message.submissions))
        return found

    async def submit(self, item: Signed) -> None:
        await self.submissions.submit(item.transaction.raw, item.sealed, sender=STRANGER)


@asynccontextmanager
async def opened(offload: Offload, store: MemoryStore | None = None) -> AsyncIterator[Way]:
    async with trio.open_nursery() as nursery:
        way = Way(nursery, offload, store)
        await nursery.start(way.submissions.run)
        yield way
        nursery.cancel_scope.cancel()


def submission(item: Signed) -> Submission:
    return Submission(item.transaction.raw, item.sealed)


async def test_others_have_a_transaction_before_it_is_durable_and_its_user_is_told_after() -> None:
    disk, told = SlowDisk(), trio.Event()
    item = mint(1)
    async with opened(disk) as way, trio.open_nursery() as nursery:

        async def submit() -> None:
            await way.submit(item)
            told.set()

        nursery.start_soon(submit)
        await trio.testing.wait_all_tasks_blocked()
        assert way.forwarded() == [(peer, (submission(item),)) for peer in IDS[1:]]
        assert item.transaction.id in way.mempool
        assert not told.is_set()
        disk.go.set()
        await told.wait()
        assert way.store.get(layout.pending(item.transaction.id)) is not None


async def test_what_the_ledger_refuses_while_it_is_saved_is_not_accepted() -> None:
    disk, item, other = SlowDisk(), mint(1), mint(2)
    async with opened(disk) as way:

        async def refuse() -> None:
            await trio.testing.wait_all_tasks_blocked()
            way.submissions.reject(item.transaction.id, Rejection.KEY_USED)
            disk.go.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(Rejected, match=Rejection.KEY_USED):
                await way.submit(item)
        assert way.store.get(layout.pending(item.transaction.id)) is None
        await way.submit(other)
        assert way.store.get(layout.pending(other.transaction.id)) is not None


async def test_each_of_several_is_judged_alone() -> None:
    items = [mint(1), mint(2), mint(3)]
    async with opened(InlineOffload()) as way:
        way.refusals[items[1].transaction.id] = Rejection.KEY_USED
        taken = await way.submissions.submit_all(list(map(submission, items)), sender=STRANGER)
        assert taken == [True, False, True]
        assert [item.transaction.id in way.mempool for item in items] == taken
        stored = [way.store.get(layout.pending(item.transaction.id)) is not None for item in items]
        assert stored == taken
        assert len(way.forwarded()) == len(IDS) - 1


async def test_one_that_waits_already_is_accepted_again_once_it_is_durable() -> None:
    disk, item, told = SlowDisk(), mint(1), list[int]()
    async with opened(disk) as way, trio.open_nursery() as nursery:

        async def submit(number: int) -> None:
            await way.submit(item)
            told.append(number)

        nursery.start_soon(submit, 1)
        nursery.start_soon(submit, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(submit, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert told == []
        disk.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(told) == [1, 2, 3]
        await way.submit(item)
        assert len(way.forwarded()) == len(IDS) - 1


async def test_what_was_pending_before_a_restart_is_still_waited_for() -> None:
    item, store = grant(mint(1).token, 1, keys(1).owner), MemoryStore()
    name = item.transaction.id
    async with opened(InlineOffload(), store) as way:
        await way.submit(item)
    async with opened(InlineOffload(), store) as way, trio.open_nursery() as nursery:
        assert name in way.mempool

        async def refuse() -> None:
            await trio.testing.wait_all_tasks_blocked()
            way.submissions.reject(name, Rejection.UNKNOWN_TOKEN)

        nursery.start_soon(refuse)
        with pytest.raises(Rejected, match=Rejection.UNKNOWN_TOKEN):
            await way.submissions.wait_final(name)
        assert store.get(layout.pending(name)) is None
