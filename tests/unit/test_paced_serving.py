"""Serving at the asker's pace: one request, written down once, and chunks of it as they are asked for."""

import pytest
import trio
import trio.testing

from node.records.serving import REFUSAL
from protocol import limits
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.messages.blob import Serve, decode_chunk_frame
from protocol.transactions import Revoke
from tests.asking import Asker, asker, log, request, shared
from tests.clinic_world import World

SIZE = 40 * limits.CHUNK_BYTES


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """Four clinics; number 0 issues, and number 1 asks."""
    made = World(nursery)
    await made.start()
    await made.finalize()
    return made


async def begun(world: World, first_chunk: int = 2, chunk_count: int = 20) -> Asker:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    asked = request(record, given, first_chunk=first_chunk, chunk_count=chunk_count)
    assert await peer.ask_paced(asked) == encode(Serve(record.content, 1))
    return peer


async def received(peer: Asker, count: int) -> list[int]:
    return [decode_chunk_frame(await peer.frame()).index for _ in range(count)]


async def test_chunks_come_as_they_are_asked_for_and_are_one_access(world: World) -> None:
    peer = await begun(world)
    await peer.read(10, 3)
    await peer.read(2, 2)
    assert await received(peer, 5) == [10, 11, 12, 2, 3]
    await peer.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    intent, outcome = log(world.clinics[0])
    assert (intent.event, outcome.event, outcome.reason) == ("intent", "outcome", "")
    assert outcome.bytes == 5 * limits.CHUNK_BYTES
    assert not world.net.dropped


async def test_all_that_was_asked_for_ends_it_and_the_stream_is_good_for_another(world: World) -> None:
    peer = await begun(world, chunk_count=4)
    await peer.read(2, 4)
    assert await received(peer, 4) == [2, 3, 4, 5]
    assert await peer.nonce()
    assert [record.event for record in log(world.clinics[0])] == ["intent", "outcome"]
    assert not world.net.dropped


@pytest.mark.parametrize(
    ("first", "count"),
    [(1, 2), (21, 2), (0, 1), (22, 1), (2, 21)],
    ids=["before", "beyond", "far-before", "after", "too-many"],
)
async def test_who_asks_for_other_chunks_than_its_request_has_gets_none_and_is_dropped(
    world: World, first: int, count: int
) -> None:
    peer = await begun(world)
    await peer.read(first, count)
    await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for _, error in world.net.dropped] == [Malformed]
    assert log(world.clinics[0])[-1].bytes == 0


async def test_the_same_chunks_over_and_over_are_more_than_the_request_has(world: World) -> None:
    peer = await begun(world)
    await peer.read(2, 15)
    assert await received(peer, 15) == list(range(2, 17))
    await trio.testing.wait_all_tasks_blocked()
    assert not world.net.dropped
    await peer.read(2, 6)
    with pytest.raises(AssertionError):
        decode_chunk_frame(await peer.frame())


async def test_chunks_are_asked_for_under_a_request_or_not_at_all(world: World) -> None:
    peer = await asker(world)
    await peer.read(0, 1)
    await trio.testing.wait_all_tasks_blocked()
    assert [type(error) for _, error in world.net.dropped] == [Malformed]


async def test_one_refusal_for_what_may_not_be_read(world: World) -> None:
    record, given = await shared(world, SIZE)
    await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    peer = await asker(world)
    assert await peer.ask_paced(request(record, given)) == REFUSAL


async def test_between_two_reads_a_revocation_ends_it(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    await peer.ask_paced(request(record, given))
    await peer.read(0, 2)
    assert await received(peer, 2) == [0, 1]
    await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    began_s = trio.current_time()
    assert await peer.frame() == REFUSAL
    assert trio.current_time() - began_s < 5
    await trio.testing.wait_all_tasks_blocked()
    assert log(world.clinics[0])[-1].reason == "revoked-at-sight"


async def test_an_asker_that_asks_for_nothing_more_loses_its_place(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, SIZE)
    for _ in range(limits.SERVES_PER_PEER_MAX):
        await (await asker(world)).ask_paced(request(record, given))
    began_s = trio.current_time()
    assert await (await asker(world)).ask_paced(request(record, given)) == encode(Serve(record.content, 9))
    assert limits.PACED_WAIT_S - 1 < trio.current_time() - began_s < limits.PACED_WAIT_S + 1
    assert log(world.clinics[0])[-1].reason == "broken-off"
