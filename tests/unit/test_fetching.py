"""Fetching: nothing is believed, a bad source is followed by the next, and the order of chunks is kept."""

import hashlib
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from node.records.audit_chain import AuditChain
from node.records.fetch_run import FetchRefused
from node.records.serving import REFUSAL
from protocol import limits
from protocol.blobs import PIECE_BYTES
from protocol.codec import encode
from protocol.errors import Malformed, TransportError
from protocol.messages.blob import ChunkFrame, Serve
from protocol.transactions import Revoke, TokenId
from tests.clinic_world import IDS, Clinic, Given, Record, Sink, World, fetch, grant, issue
from tests.holding import TAMPERS, asked_chunks, at_chunk, chunk_of, copy
from tests.ledger_world import CLINICS

SIZE = 20 * limits.CHUNK_BYTES


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    made = World(nursery)
    await made.start()
    yield made
    assert not made.net.dropped


async def shared(world: World, size: int = SIZE, *, copies: tuple[int, ...] = ()) -> tuple[Record, Given]:
    """A final record of clinic 0, granted to clinic 1, with copies at `copies` too."""
    record = await issue(world.clinics[0], size)
    given = grant(record, 1)
    await world.finalize(record.minted)
    await world.finalize(given.registration)
    for index in copies:
        await copy(world, record, index)
    return record, given


@pytest.mark.parametrize("size", [1, 1000, limits.CHUNK_BYTES, SIZE, SIZE + 77])
async def test_a_record_is_fetched_whole(world: World, size: int) -> None:
    record, given = await shared(world, size)
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0)
    assert content == record.plaintext
    assert (fetched.length, fetched.sha256) == (size, hashlib.sha256(content).digest())
    assert (fetched.source, fetched.audit_sequence, fetched.refusals) == (IDS[0], 1, ())


async def test_the_owner_fetches_with_her_own_key(world: World) -> None:
    record, _ = await shared(world)
    _, content = await fetch(world.clinics[3], record.ask(), 0)
    assert content == record.plaintext


async def test_a_corrupted_chunk_is_never_handed_on_and_the_next_holder_goes_on_from_there(
    world: World,
) -> None:
    record, given = await shared(world, copies=(2,))
    world.net.tampers[IDS[0]] = at_chunk(
        9, lambda chunk: encode(ChunkFrame(9, chunk.path, bytes(len(chunk.ciphertext))))
    )
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert content == record.plaintext
    assert fetched.source == IDS[2]
    assert asked_chunks(world, 2) == list(range(9, record.content.chunks))


@pytest.mark.parametrize("how", TAMPERS)
async def test_whatever_goes_wrong_in_the_middle_the_next_holder_goes_on(world: World, how: str) -> None:
    record, given = await shared(world, copies=(2,))
    world.net.tampers[IDS[0]] = TAMPERS[how](world, 4)
    _, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert content == record.plaintext
    assert asked_chunks(world, 2)[0] == 4


@pytest.mark.parametrize("how", TAMPERS)
async def test_a_record_that_nobody_serves_whole_is_an_error_and_never_a_success(
    world: World, how: str
) -> None:
    record, given = await shared(world)
    world.net.tampers[IDS[0]] = TAMPERS[how](world, 4)
    sink = Sink()
    with pytest.raises(FetchRefused if how == "refused-midway" else TransportError):
        await world.clinics[1].fetcher.fetch(record.ask(given), [IDS[0]], sink.write)
    assert record.plaintext.startswith(sink.content)
    assert len(sink.content) < SIZE


async def test_a_holder_that_breaks_off_again_and_again_is_asked_as_long_as_it_brings_something(
    world: World,
) -> None:
    record, given = await shared(world)
    left = [0]

    def every_fifth(frame: bytes) -> bytes | None:
        left[0] = 5 if chunk_of(frame) is None else left[0] - 1
        return frame if left[0] else None

    world.net.tampers[IDS[0]] = every_fifth
    _, content = await fetch(world.clinics[1], record.ask(given), 0)
    assert content == record.plaintext


async def test_other_content_than_the_tokens_is_not_taken(world: World) -> None:
    record, given = await shared(world)
    other = await issue(world.clinics[0], SIZE, patient="bob")

    def swap(frame: bytes) -> bytes:
        is_serve = frame == encode(Serve(record.content, 1))
        return encode(Serve(other.content, 1)) if is_serve else frame

    world.net.tampers[IDS[0]] = swap
    with pytest.raises(TransportError):
        await fetch(world.clinics[1], record.ask(given), 0)


async def test_the_key_must_be_the_tokens(world: World) -> None:
    record, given = await shared(world)
    with pytest.raises(Malformed):
        await fetch(world.clinics[1], record.ask(given, content_key=bytes(32)), 0)


async def test_when_all_refuse_each_refusal_is_kept_and_all_are_alike(world: World) -> None:
    record, given = await shared(world, copies=(2, 3))
    with pytest.raises(FetchRefused) as by_purpose:
        await fetch(world.clinics[1], record.ask(given, purpose="HRESCH"), 0, 2, 3)
    nothing = record.ask(given, token=TokenId(bytes(32)), content=None, content_key=None)
    with pytest.raises(FetchRefused) as by_absence:
        await fetch(world.clinics[1], nothing, 0, 2, 3)
    assert [seen.member for seen in by_purpose.value.refusals] == [IDS[0], IDS[2], IDS[3]]
    assert by_purpose.value.refusals == by_absence.value.refusals
    assert {seen.sha256 for seen in by_absence.value.refusals} == {hashlib.sha256(REFUSAL).digest()}
    assert (by_purpose.value.message, by_purpose.value.code) == (
        by_absence.value.message,
        by_absence.value.code,
    )


async def test_a_holder_that_refuses_is_followed_by_one_that_serves(world: World) -> None:
    record, given = await shared(world, copies=(2,))
    await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert content == record.plaintext
    assert [seen.member for seen in fetched.refusals] == [IDS[0]]


async def test_holders_that_are_down_are_passed_over_and_all_down_is_not_a_refusal(world: World) -> None:
    record, given = await shared(world, copies=(2,))
    world.net.down.add(IDS[0])
    fetched, _ = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert fetched.source == IDS[2]
    world.net.down.add(IDS[2])
    with pytest.raises(TransportError):
        await fetch(world.clinics[1], record.ask(given), 0, 2)


def own_log(clinic: Clinic) -> list[tuple[str, str]]:
    chain = AuditChain(clinic.disk.audit)
    records = [chain.get(sequence) for sequence in range(1, clinic.audit.sequence + 1)]
    return [(record.event, record.reason) for record in records if record is not None]


async def test_an_own_copy_is_read_under_the_same_rules_and_written_down(world: World) -> None:
    record, given = await shared(world, copies=(1,))
    clinic = world.clinics[1]
    fetched, content = await fetch(clinic, record.ask(given), 1, 0)
    assert content == record.plaintext
    assert fetched.source == IDS[1]
    assert not world.net.sent
    await trio.testing.wait_all_tasks_blocked()
    assert own_log(clinic) == [("intent", ""), ("outcome", "")]
    with pytest.raises(FetchRefused):
        await fetch(clinic, record.ask(given, purpose="HRESCH"), 1)
    await clinic.ledger.deny(Revoke(record.token, given.grant_id))
    with pytest.raises(FetchRefused):
        await fetch(clinic, record.ask(given), 1)
    assert own_log(clinic)[2:] == [("denial", "purpose"), ("denial", "revoked-at-sight")]


async def test_an_own_copy_that_is_damaged_is_made_up_for_by_another_holder(world: World) -> None:
    record, given = await shared(world, copies=(1,))
    clinic = world.clinics[1]
    found = next(key for key, _ in clinic.disk.blobs.iterate(b"chunk/") if key.endswith(b"\x0b"))
    clinic.disk.blobs.write((), [found])
    fetched, content = await fetch(clinic, record.ask(given), 1, 0)
    assert content == record.plaintext
    assert fetched.source == IDS[0]


async def test_a_reader_that_goes_away_in_the_middle_ends_everything(world: World) -> None:
    record, given = await shared(world, copies=(1,))
    clinic = world.clinics[1]
    for source in (0, 1):
        with trio.CancelScope() as leaving:

            async def write(piece: bytes, leaving: trio.CancelScope = leaving) -> None:
                leaving.cancel()
                await trio.lowlevel.checkpoint()

            await clinic.fetcher.fetch(record.ask(given), [IDS[source]], write)
        assert leaving.cancelled_caught


async def test_a_grant_copied_to_another_clinic_opens_nothing(world: World) -> None:
    record, given = await shared(world)
    with pytest.raises(FetchRefused):
        await fetch(world.clinics[2], record.ask(given, signer=CLINICS[2]), 0)


async def test_memory_stays_flat_however_long_the_record(world: World) -> None:
    record, given = await shared(world, 3 * SIZE)
    waiting: list[int] = []

    async def write(piece: bytes) -> None:
        sent, taken = len(asked_chunks(world, 0)), len(waiting)
        waiting.append(sent - taken)
        await trio.testing.wait_all_tasks_blocked()

    await world.clinics[1].fetcher.fetch(record.ask(given), [IDS[0]], write)
    assert len(waiting) == record.content.chunks
    assert max(waiting) <= 4 * limits.RUN_CHUNKS


async def test_a_slow_holder_is_left_for_another_and_the_rest_comes_from_that(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, copies=(2,))
    world.net.delays_s[IDS[0]] = 2.0
    began_s = trio.current_time()
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert content == record.plaintext
    assert fetched.source == IDS[2]
    slow = asked_chunks(world, 0)
    assert 0 < len(slow) < record.content.chunks // 2
    assert asked_chunks(world, 2)[-1] == record.content.chunks - 1
    assert trio.current_time() - began_s < record.content.chunks * 2.0 / 2


async def test_where_all_are_slow_the_record_comes_all_the_same(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, copies=(2,))
    world.net.delays_s.update({IDS[0]: 1.5, IDS[2]: 1.6})
    _, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert content == record.plaintext
    # Each was asked once: two who are slow do not take turns.
    first, rest = asked_chunks(world, 0), asked_chunks(world, 2)
    assert first == list(range(len(first)))
    assert rest == list(range(rest[0], record.content.chunks))
    assert rest[0] <= len(first)


async def test_a_long_record_of_a_holder_that_is_fast_enough_comes_from_it_alone(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, 2 * SIZE, copies=(2,))
    delay_s = 0.8 * limits.CHUNK_BYTES / limits.FETCH_BYTES_PER_S_MIN
    world.net.delays_s[IDS[0]] = delay_s
    assert record.content.chunks * delay_s > limits.FETCH_PATIENCE_S
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0, 2)
    assert (content, fetched.source) == (record.plaintext, IDS[0])
    assert asked_chunks(world, 2) == []


async def test_a_source_that_trickles_is_kept_where_it_is_the_only_one(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, 4 * limits.CHUNK_BYTES)
    world.net.delays_s[IDS[0]] = limits.FETCH_PATIENCE_S + 1
    fetched, content = await fetch(world.clinics[1], record.ask(given), 0)
    assert (content, fetched.source) == (record.plaintext, IDS[0])


async def test_a_reader_that_pauses_does_not_lose_its_source(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    record, given = await shared(world, copies=(2,))

    async def write(piece: bytes) -> None:
        await trio.sleep(3 * limits.FETCH_PATIENCE_S)

    sources = [IDS[0], IDS[2]]
    fetched = await world.clinics[1].fetcher.fetch(record.ask(given), sources, write)
    assert fetched.source == IDS[0]
    assert asked_chunks(world, 2) == []


def brought(octets: bytes, size: int) -> AsyncIterator[bytes]:
    """What an earlier run brought, in pieces of another size."""
    send, receive = trio.open_memory_channel[bytes](len(octets))
    with send:
        for start in range(0, len(octets), size):
            send.send_nowait(octets[start : start + size])
    return receive


@pytest.mark.parametrize("pieces", [1, 7, 17, 20])
async def test_what_an_earlier_run_brought_is_not_fetched_again(world: World, pieces: int) -> None:
    record, given = await shared(world)
    sink, done = Sink(), pieces * PIECE_BYTES
    earlier = brought(record.plaintext[:done], 60_000)
    fetched = await world.clinics[1].fetcher.fetch(record.ask(given), [IDS[0]], sink.write, earlier)
    assert sink.content == record.plaintext[done:]
    assert (fetched.length, fetched.sha256) == (SIZE, hashlib.sha256(record.plaintext).digest())
    assert asked_chunks(world, 0) == list(range(pieces, record.content.chunks))


async def test_what_an_earlier_run_brought_is_judged_with_all_the_rest(world: World) -> None:
    record, given = await shared(world)
    spoilt = bytearray(record.plaintext[: 5 * PIECE_BYTES])
    spoilt[3 * PIECE_BYTES] ^= 1
    with pytest.raises(Malformed, match="not the one its token commits to"):
        await world.clinics[1].fetcher.fetch(
            record.ask(given), [IDS[0]], Sink().write, brought(bytes(spoilt), 60_000)
        )


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES + 1, SIZE + 5 * PIECE_BYTES])
async def test_what_an_earlier_run_brought_is_whole_pieces_and_less_than_the_record(
    world: World, size: int
) -> None:
    record, given = await shared(world)
    octets = (record.plaintext * 2)[:size]
    with pytest.raises(Malformed):
        await world.clinics[1].fetcher.fetch(
            record.ask(given), [IDS[0]], Sink().write, brought(octets, 60_000)
        )
    assert not world.net.sent


async def test_who_may_not_read_learns_nothing_from_what_she_brings(world: World) -> None:
    record, given = await shared(world)
    nothing = record.ask(given, token=TokenId(bytes(32)), content=None, content_key=None)
    with pytest.raises(FetchRefused):
        await world.clinics[1].fetcher.fetch(
            nothing, [IDS[0]], Sink().write, brought(record.plaintext[:PIECE_BYTES], 60_000)
        )
