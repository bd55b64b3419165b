"""A long record from several holders at the same time: each brings a part, and none spoils or stalls it."""

from collections.abc import AsyncIterator
from itertools import chain

import pytest
import trio
import trio.testing

from node.records.fetch_run import FetchRefused
from protocol import limits
from protocol.blobs import PIECE_BYTES
from protocol.errors import StorageError, TransportError
from protocol.transactions import Revoke
from tests.asking import log
from tests.clinic_world import IDS, Given, Record, Sink, World, fetch, grant, issue
from tests.holding import TAMPERS, asked_chunks, at_chunk, copy

CHUNKS = 100
SIZE = CHUNKS * limits.CHUNK_BYTES - 20_000
READER = 1
HOLDERS = (0, 2, 3)


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    made = World(nursery)
    await made.start()
    yield made
    assert not made.net.dropped


async def shared(
    world: World, size: int = SIZE, *, copies: tuple[int, ...] = HOLDERS[1:]
) -> tuple[Record, Given]:
    """A long record of clinic 0 with copies at others, granted to a clinic that has none."""
    record = await issue(world.clinics[0], size)
    given = grant(record, READER)
    await world.finalize(record.minted)
    await world.finalize(given.registration)
    for index in copies:
        await copy(world, record, index)
    assert record.content.chunks > limits.FETCH_ALONE_CHUNKS_MAX
    return record, given


async def test_each_holder_brings_a_part_and_writes_down_what_it_sent(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world)
    world.net.delays_s.update(dict.fromkeys(IDS, 0.2))
    began_s = trio.current_time()
    fetched, content = await fetch(world.clinics[READER], record.ask(given), *HOLDERS)
    assert content == record.plaintext
    assert fetched.length == SIZE
    parts = [asked_chunks(world, holder) for holder in HOLDERS]
    assert sorted(chain(*parts)) == list(range(record.content.chunks))
    assert min(map(len, parts)) > record.content.chunks // 5
    assert trio.current_time() - began_s < 0.2 * record.content.chunks / 2
    await trio.testing.wait_all_tasks_blocked()
    for holder, part in zip(HOLDERS, parts, strict=True):
        intent, outcome = log(world.clinics[holder])
        assert (intent.event, outcome.event, outcome.reason) == ("intent", "outcome", "")
        assert len(part) - 1 <= outcome.bytes / limits.CHUNK_BYTES <= len(part)


async def test_what_is_here_already_or_short_is_asked_of_nobody_else(world: World) -> None:
    record, given = await shared(world, copies=(READER, 2))
    _, content = await fetch(world.clinics[READER], record.ask(given), READER, 0, 2)
    assert content == record.plaintext
    span = (0, limits.FETCH_ALONE_CHUNKS_MAX * limits.CHUNK_BYTES // 2)
    await fetch(world.clinics[3], record.ask(span=span), 0, 2)
    assert asked_chunks(world, 0)
    assert not asked_chunks(world, 2)


@pytest.mark.parametrize("how", TAMPERS)
@pytest.mark.parametrize("index", [4, 36])
async def test_whatever_one_of_them_does_the_others_bring_the_rest(
    world: World, autojump_clock: trio.testing.MockClock, how: str, index: int
) -> None:
    record, given = await shared(world)
    world.net.delays_s.update(dict.fromkeys(IDS, 0.01))
    for holder in HOLDERS[:2]:
        world.net.tampers[IDS[holder]] = TAMPERS[how](world, index)
    began_s = trio.current_time()
    _, content = await fetch(world.clinics[READER], record.ask(given), *HOLDERS)
    assert content == record.plaintext
    assert trio.current_time() - began_s < limits.FETCH_STALL_S
    # Nobody is asked twice for anything: not who lied, nor who is honest for others' lies.
    for holder in HOLDERS:
        asked = asked_chunks(world, holder)
        assert len(asked) == len(set(asked))
    assert index in asked_chunks(world, 3)


async def test_where_none_of_them_brings_a_chunk_it_is_an_error_and_never_a_success(world: World) -> None:
    record, given = await shared(world)
    for holder in HOLDERS:
        world.net.tampers[IDS[holder]] = at_chunk(70, lambda chunk: None)
    sink = Sink()
    with pytest.raises(TransportError):
        await world.clinics[READER].fetcher.fetch(
            record.ask(given), [IDS[one] for one in HOLDERS], sink.write
        )
    assert record.plaintext.startswith(sink.content)
    assert len(sink.content) < SIZE


async def test_one_that_is_much_slower_is_left_once_the_others_wait_for_it(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world)
    world.net.delays_s.update({IDS[0]: 0.05, IDS[2]: 0.24, IDS[3]: 0.05})
    began_s = trio.current_time()
    _, content = await fetch(world.clinics[READER], record.ask(given), *HOLDERS)
    assert content == record.plaintext
    assert 0 < len(asked_chunks(world, 2)) < limits.SPANS_AHEAD * limits.SPAN_CHUNKS
    assert trio.current_time() - began_s < 3 * limits.FETCH_STALL_S


async def test_a_reader_that_pauses_loses_none_of_them_and_holds_no_more_than_its_window(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    most = limits.SPANS_MAX * limits.SPAN_CHUNKS
    record, given = await shared(world, 2 * most * PIECE_BYTES)
    world.net.delays_s.update(dict.fromkeys(IDS, 0.01))
    written = 0
    waiting: list[int] = []

    async def write(piece: bytes) -> None:
        nonlocal written
        # Not for longer in all than the ledger stays fresh enough to serve by.
        await trio.sleep(0.9 * limits.FETCH_STALL_S if written < 20 else 0)
        written += 1
        waiting.append(sum(len(asked_chunks(world, holder)) for holder in HOLDERS) - written)

    await world.clinics[READER].fetcher.fetch(record.ask(given), [IDS[one] for one in HOLDERS], write)
    assert written == 2 * most
    assert most / 2 < max(waiting) <= most + 2 * limits.RUN_CHUNKS
    parts = [asked_chunks(world, holder) for holder in HOLDERS]
    assert sum(map(len, parts)) < 1.2 * record.content.chunks
    assert min(map(len, parts)) > record.content.chunks / 5


async def test_the_time_that_a_reader_takes_is_no_holders_fault(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, 3 * SIZE)
    world.net.delays_s.update(dict.fromkeys(IDS, 0.01))
    sink = Sink()

    async def write(piece: bytes) -> None:
        if not sink.pieces:
            await trio.sleep(2 * limits.FETCH_STALL_S)
        await sink.write(piece)

    await world.clinics[READER].fetcher.fetch(record.ask(given), [IDS[one] for one in HOLDERS], write)
    assert sink.content == record.plaintext
    await trio.testing.wait_all_tasks_blocked()
    for holder in HOLDERS:
        assert [one.event for one in log(world.clinics[holder])] == ["intent", "outcome"]
        assert len(asked_chunks(world, holder)) > record.content.chunks / 5


async def test_when_all_refuse_each_refusal_is_kept_and_who_was_not_asked_yet_is_asked(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world)
    world.net.delays_s.update(dict.fromkeys(IDS, 0.1))
    await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    fetched, content = await fetch(world.clinics[READER], record.ask(given), *HOLDERS)
    assert content == record.plaintext
    assert [seen.member for seen in fetched.refusals] == [IDS[0]]
    for holder in HOLDERS[1:]:
        await world.clinics[holder].ledger.deny(Revoke(record.token, given.grant_id))
    with pytest.raises(FetchRefused) as refused:
        await fetch(world.clinics[READER], record.ask(given), *HOLDERS)
    assert {seen.member for seen in refused.value.refusals} == {IDS[one] for one in HOLDERS}
    assert len(refused.value.refusals) == len(HOLDERS)


async def test_what_cannot_be_written_ends_it_with_that_error(world: World) -> None:
    record, given = await shared(world)

    tried = []

    async def write(piece: bytes) -> None:
        tried.append(piece)
        raise StorageError("no room")

    with pytest.raises(StorageError, match="no room"):
        await world.clinics[READER].fetcher.fetch(record.ask(given), [IDS[one] for one in HOLDERS], write)
    assert len(tried) == 1
