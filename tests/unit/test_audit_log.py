"""The audit log: durable before it says so, one chain, and any change of it is found."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.records.audit_chain import AuditChain
from node.records.audit_log import Asked, AuditLog
from node.store import layout
from node.store.counted import CountedPrefix
from node.store.memory import MemoryStore
from protocol import limits
from protocol.access import DenyReason, FetchRequest, VerifiedFetch, sign_fetch, verify_fetch
from protocol.audit import NO_RECORD, AuditEvent, AuditRecord, record_hash
from protocol.codec import encode
from protocol.errors import Code, StorageError
from protocol.keys import SigningKey
from protocol.transactions import TokenId
from tests.clinic_world import IDS, world_clock
from tests.ledger_world import CLINICS, NETWORK, STRANGER

T = TypeVar("T")
TOKEN, OTHER = TokenId(b"t" * 32), TokenId(b"u" * 32)


def fetch(token: TokenId = TOKEN, by: SigningKey = CLINICS[1]) -> VerifiedFetch:
    request = FetchRequest(token, b"body", by.public, IDS[0], bytes(32), "TREAT", "dr b", 0, 1, 7)
    return verify_fetch(sign_fetch(request, by, NETWORK), NETWORK)


def asked(token: TokenId = TOKEN, by: SigningKey = CLINICS[1]) -> Asked:
    return Asked(by.public, fetch(token, by), 12, 345)


@asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[AuditLog]:
    log = AuditLog(store=store, clock=world_clock(), offload=InlineOffload())
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield log
        nursery.cancel_scope.cancel()


def records(store: MemoryStore) -> list[AuditRecord]:
    chain = AuditChain(store)
    found = [chain.get(sequence) for sequence in range(1, chain.load().sequence + 1)]
    return [record for record in found if record is not None]


async def some_log() -> MemoryStore:
    """Three intents and their outcomes."""
    store = MemoryStore()
    async with running(store) as log:
        for token in (TOKEN, OTHER, TOKEN):
            log.outcome(await log.intend(asked(token)), sent_bytes=10)
            await trio.testing.wait_all_tasks_blocked()
    return store


async def test_an_intent_is_durable_when_its_sequence_is_known_and_tells_the_whole_request() -> None:
    store = MemoryStore()
    async with running(store) as log:
        sequence = await log.intend(asked())
        (record,) = records(store.crash(0))
    assert (sequence, record.sequence, record.previous) == (1, 1, NO_RECORD)
    assert (record.event, record.token, record.reader) == (AuditEvent.INTENT, TOKEN, IDS[1])
    assert (record.purpose, record.user, record.final_height) == ("TREAT", "dr b", 12)
    assert (record.final_age_ms, record.grant) == (345, fetch().grant_id)
    assert record.request == encode(fetch().signed)


async def test_an_outcome_names_its_intent_and_its_token() -> None:
    store = await some_log()
    outcome = records(store)[1]
    assert (outcome.event, outcome.about, outcome.bytes) == (AuditEvent.OUTCOME, 1, 10)
    assert (outcome.token, outcome.request) == (TOKEN, b"")


async def test_intents_that_wait_together_share_one_write() -> None:
    store = MemoryStore()
    async with running(store) as log:
        sequences: list[int] = []

        async def intend() -> None:
            sequences.append(await log.intend(asked()))

        before = store.calls
        await log.intend(asked())
        calls_of_one = store.calls - before
        before = store.calls
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(intend)
        # Each entry costs reads for the tally, all of them one write.
        assert sorted(sequences) == list(range(2, 22))
        assert store.calls - before < 20 * calls_of_one
        assert log.sequence == 21


async def test_records_chain_over_restarts() -> None:
    store = await some_log()
    async with running(store) as log:
        await log.deny(asked(), DenyReason.REVOKED, is_member=True, is_token=True)
    found = records(store)
    previous = NO_RECORD
    for sequence, record in enumerate(found, 1):
        assert (record.sequence, record.previous) == (sequence, previous)
        previous = record_hash(record)
    assert (found[-1].event, found[-1].reason, found[-1].count) == ("denial", "revoked", 1)
    assert (log.sequence, log.head) == (7, previous)


async def test_an_intent_that_a_crash_left_open_gets_a_restart_record() -> None:
    store = MemoryStore()
    async with running(store) as log:
        log.outcome(await log.intend(asked()), sent_bytes=1)
        await log.intend(asked(OTHER))
        after = store.crash(0)
    for _ in range(2):
        async with running(after):
            pass
    marker = records(after)[-1]
    assert (marker.event, marker.about, marker.token, marker.sequence) == ("restart", 3, OTHER, 4)


async def test_an_outcome_at_the_end_of_the_node_is_still_written() -> None:
    store = MemoryStore()
    async with running(store) as log:
        intent = await log.intend(asked())
        log.outcome(intent, sent_bytes=5, reason="broken-off")
    assert [record.event for record in records(store)] == ["intent", "outcome"]


@pytest.mark.parametrize("code", [Code.STORE_FAILED, Code.STORE_FULL])
async def test_what_cannot_be_written_is_refused(code: Code) -> None:
    store = MemoryStore()
    log = AuditLog(store=store, clock=world_clock(), offload=InlineOffload())

    class Full(MemoryStore):
        def write(self, *_: Any, **__: Any) -> None:
            raise StorageError("no room", code=code)

    async def run(*, task_status: Any) -> None:
        if code is Code.STORE_FULL:
            await log.run(task_status=task_status)
        else:
            with pytest.raises(StorageError):
                await log.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        store.__class__ = Full
        with pytest.raises(StorageError):
            await log.intend(asked())
        store.__class__ = MemoryStore
        if code is Code.STORE_FULL:
            assert await log.intend(asked()) == 1
        else:
            with pytest.raises(StorageError):
                await log.intend(asked())
        nursery.cancel_scope.cancel()


class Breaking(InlineOffload):
    """A `ports.Offload` that fails, once it is told to, in a way nobody expects."""

    is_broken = False

    async def run(self, work: Callable[[], T]) -> T:
        if self.is_broken:
            raise MemoryError
        return await super().run(work)


async def test_whoever_waits_is_told_also_when_the_writer_ends_as_nobody_expected() -> None:
    offload, refused = Breaking(), trio.Event()

    async def ask(log: AuditLog) -> None:
        with pytest.raises(StorageError):
            await log.intend(asked())
        refused.set()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            log = AuditLog(store=MemoryStore(), clock=world_clock(), offload=offload)
            await nursery.start(log.run)
            offload.is_broken = True
            nursery.start_soon(ask, log)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(MemoryError)
    assert refused.is_set()


async def test_nothing_is_taken_before_the_log_was_verified() -> None:
    log = AuditLog(store=MemoryStore(), clock=world_clock(), offload=InlineOffload())
    with pytest.raises(StorageError):
        await log.intend(asked())


def tampered(store: MemoryStore, how: str) -> MemoryStore:
    """The log with record 3 changed, two records swapped, or one taken out."""
    chain = AuditChain(store)
    third, fourth = chain.get(3), chain.get(4)
    assert third is not None
    assert fourth is not None
    match how:
        case "edited":
            store.write([(layout.audit(3), encode(replace(third, user="nobody")))])
        case "swapped":
            store.write([(layout.audit(3), encode(fourth)), (layout.audit(4), encode(third))])
        case "removed":
            store.write((), [layout.audit(3)])
        case "cut":
            store.write((), [layout.audit(6)])
        case "unreadable":
            store.write([(layout.audit(3), b"\xc1")])
    return store


@pytest.mark.parametrize(
    ("how", "bad"), [("edited", 4), ("swapped", 3), ("removed", 3), ("cut", 6), ("unreadable", 3)]
)
async def test_a_changed_log_is_found_while_running_and_stops_the_next_start(how: str, bad: int) -> None:
    store = await some_log()
    async with running(store) as log:
        assert (await log.verify()).bad is None
        tampered(store, how)
        verdict = await log.verify()
        assert verdict.bad == bad
    log = AuditLog(store=store, clock=world_clock(), offload=InlineOffload())
    with pytest.raises(StorageError):
        await log.run()


@pytest.mark.parametrize("is_tallied", [False, True])
async def test_an_index_that_lost_an_entry_stops_the_start(is_tallied: bool) -> None:
    store = await some_log()
    entry = layout.audit_token(TOKEN, 1)
    if is_tallied:
        CountedPrefix(store, layout.AUDIT_TOKEN).write((), [entry])
    else:
        store.write((), [entry])
    with pytest.raises(StorageError):
        AuditChain(store).load()


async def test_an_owner_finds_the_records_of_her_tokens_in_order_and_page_by_page() -> None:
    store = await some_log()
    chain = AuditChain(store)
    found, more = chain.for_tokens([TOKEN], after=0, through=6, bytes_max=limits.MIB)
    assert ([record.sequence for record in found], more) == ([1, 2, 5, 6], False)
    both, _ = chain.for_tokens([OTHER, TOKEN], after=0, through=6, bytes_max=limits.MIB)
    assert [record.sequence for record in both] == [1, 2, 3, 4, 5, 6]
    size = len(encode(found[0])) + len(encode(found[1]))
    first, more = chain.for_tokens([TOKEN], after=0, through=6, bytes_max=size)
    assert ([record.sequence for record in first], more) == ([1, 2], True)
    rest, more = chain.for_tokens([TOKEN], after=2, through=5, bytes_max=limits.MIB)
    assert ([record.sequence for record in rest], more) == ([5], False)


async def test_strangers_who_ask_for_nothing_cost_one_record_a_window(autojump_clock: Any) -> None:
    store = MemoryStore()
    async with running(store) as log:
        for _ in range(1000):
            await log.deny(asked(by=STRANGER), DenyReason.NO_TOKEN, is_member=False, is_token=False)
        assert log.sequence == 0
        await trio.sleep(limits.DENIAL_WINDOW_S + 1)
        assert log.sequence == 1
    (record,) = records(store)
    assert (record.event, record.token, record.count) == (AuditEvent.DENIAL, b"", 1000)


async def test_a_flood_of_one_asker_is_counted_by_token_and_others_are_still_written_down() -> None:
    store = MemoryStore()
    flood = limits.DENIALS_PER_WINDOW + 50
    async with running(store) as log:
        for _ in range(flood):
            await log.deny(asked(by=STRANGER), DenyReason.NO_GRANT, is_member=False, is_token=True)
        await log.deny(asked(), DenyReason.NO_GRANT, is_member=True, is_token=True)
        assert log.sequence == limits.DENIALS_PER_WINDOW + 1
    found = records(store)
    assert sum(record.count for record in found) == flood + 1
    assert (found[-1].token, found[-1].count) == (TOKEN, 50)


async def test_a_denial_that_does_not_verify_names_the_peer_it_came_from() -> None:
    store = MemoryStore()
    async with running(store) as log:
        await log.deny(Asked(IDS[2], None, 1, 2), DenyReason.MALFORMED, is_member=True, is_token=False)
    (record,) = records(store)
    assert (record.reader, record.request, record.token) == (IDS[2], b"", b"")
