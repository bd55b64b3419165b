"""Serving: written down before the first byte, one refusal for all reasons, and stopped when it must be."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from node.records.audit_chain import AuditChain
from node.records.audit_log import Asked, AuditLog
from node.records.serving import REFUSAL
from node.store import layout
from node.store.memory import MemoryStore
from protocol import limits
from protocol.access import FetchRequest
from protocol.audit import AuditEvent
from protocol.codec import encode
from protocol.messages.blob import (
    PushRequest,
    Serve,
    decode_blob_reply,
    decode_chunk_frame,
)
from protocol.transactions import Revoke
from tests.asking import Asker, asker, log, request, shared
from tests.clinic_world import IDS, Clinic, Disk, World, mint
from tests.ledger_world import (
    STRANGER,
    keys,
)
from tests.memory_net import MemoryTransport

SIZE = 40 * limits.CHUNK_BYTES
NONCE_FRAME_BYTES_MAX = 64
T = TypeVar("T")


class SlowOffload:
    """A `ports.Offload` of a disk that takes its time."""

    async def run(self, work: Callable[[], T]) -> T:
        await trio.sleep(0.02)
        return work()


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """Four clinics; number 0 issues, and number 1 asks."""
    made = World(nursery)
    await made.start()
    await made.finalize()
    yield made
    assert not made.net.dropped


async def test_whoever_holds_a_live_grant_gets_the_chunks_and_the_log_tells_both_ends(
    world: World,
) -> None:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    reply = decode_blob_reply(await peer.ask(request(record, given, first_chunk=2, chunk_count=9)))
    assert reply == Serve(record.content, 1)
    for index in range(2, 11):
        assert decode_chunk_frame(await peer.frame()).index == index
    await trio.testing.wait_all_tasks_blocked()
    intent, outcome = log(world.clinics[0])
    assert (intent.event, outcome.event, outcome.about) == ("intent", "outcome", 1)
    assert (outcome.bytes, outcome.reason) == (9 * limits.CHUNK_BYTES, "")
    assert (intent.reader, intent.token, intent.grant) == (IDS[1], record.token, given.grant_id)


async def test_an_owner_reads_her_own_record_without_a_grant(world: World) -> None:
    record, given = await shared(world)
    owner = keys("ann").owner
    own = request(record, given, grant_body=b"", signer=owner.public, purpose="PATRQT")
    assert await (await asker(world, owner)).ask(own) == encode(Serve(record.content, 1))


async def sent_before_written(world: World) -> int:
    """How many frames of one served fetch left before its intent was safe from a power cut."""
    record, given = await shared(world, SIZE)
    store = world.clinics[0].disk.audit
    late: list[bytes] = []

    def look(server: bytes, frame: bytes) -> None:
        is_answer = len(frame) > NONCE_FRAME_BYTES_MAX
        if is_answer and (store.unsynced or AuditChain(store).get(1) is None):
            late.append(frame)

    world.net.on_sent = look
    assert await (await asker(world)).ask(request(record, given)) == encode(Serve(record.content, 1))
    return len(late)


class HastyLog(AuditLog):
    """A planted bug: the sequence is given out before the record is durable."""

    async def intend(self, asked: Asked) -> int:
        record = self._record(AuditEvent.INTENT, asked)
        self._queue(record)
        self._open[self.sequence + 1] = record
        return self.sequence + 1


@pytest.mark.parametrize(("log_type", "is_right"), [(AuditLog, True), (HastyLog, False)])
async def test_an_intent_is_durable_before_the_first_byte_leaves_or_it_is_found(
    nursery: trio.Nursery, log_type: type[AuditLog], is_right: bool
) -> None:
    world = World(nursery)
    world.clinics[0] = Clinic(world.net, 0, audit_type=log_type, audit_offload=SlowOffload())
    await world.start()
    assert (await sent_before_written(world) == 0) is is_right


async def read_slowly(peer: Asker, first: bytes, frame_s: float) -> list[bytes]:
    """All frames after `first` until the refusal or the end, one every `frame_s`."""
    frames = [first]
    while frames[-1] != REFUSAL:
        await trio.sleep(frame_s)
        raw = await peer.stream.receive(limits.CHUNK_FRAME_BYTES_MAX)
        if raw is None:
            break
        frames.append(raw)
    return frames


@pytest.mark.parametrize("how", ["revoked-at-sight", "stale"])
async def test_a_fetch_that_runs_stops_within_five_seconds_of_not_being_allowed_any_more(
    world: World, autojump_clock: Any, how: str
) -> None:
    record, given = await shared(world, SIZE, max_stale_s=60 if how == "revoked-at-sight" else 10)
    peer = await asker(world)
    first = await peer.ask(request(record, given))
    assert isinstance(decode_blob_reply(first), Serve)
    last_s: list[float] = []
    world.net.on_sent = lambda server, frame: last_s.append(trio.current_time())
    if how == "revoked-at-sight":
        await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    ended_s = trio.current_time() + (0 if how == "revoked-at-sight" else 10)
    frames = await read_slowly(peer, first, 1.0)
    assert 1 < len(frames) < record.content.chunks
    assert last_s[-1] - ended_s <= 5
    await trio.testing.wait_all_tasks_blocked()
    outcome = log(world.clinics[0])[-1]
    assert (outcome.event, outcome.reason) == ("outcome", how)
    assert 0 < outcome.bytes < SIZE


async def test_a_fast_fetch_is_looked_at_again_every_few_megabytes(
    world: World, autojump_clock: Any
) -> None:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    seen = [await peer.ask(request(record, given)), await peer.frame()]
    await world.clinics[0].ledger.deny(Revoke(record.token, given.grant_id))
    started_s = trio.current_time()
    while seen[-1] != REFUSAL:
        seen.append(await peer.frame())
    assert trio.current_time() == started_s
    assert (len(seen) - 3) * limits.CHUNK_BYTES <= limits.SERVE_CHECK_BYTES + 4 * limits.MIB


async def test_a_server_that_was_stopped_looks_again_before_it_sends_any_more(
    world: World, autojump_clock: Any
) -> None:
    record, given = await shared(world, SIZE)
    server, peer = world.clinics[0], await asker(world)
    seen = [await peer.ask(request(record, given)), await peer.frame()]
    # No task runs and no timer is over; only the clocks show that time has passed.
    server.clock.skip(120_000)
    sent: list[bytes] = []
    world.net.on_sent = lambda who, frame: sent.append(frame)
    while seen[-1] != REFUSAL:
        seen.append(await peer.frame())
    assert sent[0] == REFUSAL, "what was sent before it stopped may still arrive, and nothing else"
    await trio.testing.wait_all_tasks_blocked()
    assert log(server)[-1].reason == "stale"


async def test_a_token_minted_anew_with_someone_elses_content_opens_no_door(world: World) -> None:
    record, _ = await shared(world)
    thief = world.clinics[2]
    minted = mint(thief, record.content, bytes(32), "thief")
    await world.finalize(minted)
    owner = keys("thief").owner
    asking = FetchRequest(minted.token, b"", owner.public, IDS[0], bytes(32), "PATRQT", "thief", 0, 1, 1)
    assert await (await asker(world, owner)).ask(asking) == REFUSAL
    assert log(world.clinics[0])[-1].reason == "not-held"


async def test_a_damaged_blob_ends_in_a_refusal_and_the_log_says_so(
    world: World, autojump_clock: Any
) -> None:
    record, given = await shared(world, SIZE)
    clinic = world.clinics[0]
    found = next(key for key, _ in clinic.disk.blobs.iterate(b"chunk/") if key.endswith(b"\x05"))
    clinic.disk.blobs.write((), [found])
    peer = await asker(world)
    frames = await read_slowly(peer, await peer.ask(request(record, given)), 0)
    assert frames[-1] == REFUSAL
    await trio.testing.wait_all_tasks_blocked()
    assert log(clinic)[-1].reason == "damaged"


async def test_what_turns_out_not_to_be_servable_is_refused_no_sooner_than_anything(
    world: World, autojump_clock: Any
) -> None:
    record, given = await shared(world, SIZE)
    clinic = world.clinics[0]
    clinic.disk.blobs.write((), [key for key, _ in clinic.disk.blobs.iterate(layout.LEAF)])
    peer = await asker(world)
    for asked in (request(record, given), request(record, given, purpose="HRESCH")):
        asked_s = trio.current_time()
        assert await peer.ask(asked) == REFUSAL
        assert round(1000 * (trio.current_time() - asked_s)) == limits.REFUSAL_MS
    await trio.testing.wait_all_tasks_blocked()
    assert [record.reason for record in log(clinic)[-2:]] == ["damaged", "purpose"]


async def test_a_stranger_that_sends_no_message_of_the_protocol_is_dropped(world: World) -> None:
    peer = await asker(world)
    await peer.stream.send(b"\xc1")
    assert await peer.stream.receive(100) is None
    ((who, _),) = world.net.dropped
    assert who == IDS[0]
    world.net.dropped.clear()


async def test_a_stranger_cannot_push(world: World) -> None:
    record, _ = await shared(world)
    outside = MemoryTransport(world.net, STRANGER.public)
    stream = await outside.open_stream(IDS[0], "blob")
    await stream.send(encode(PushRequest(record.content)))
    assert await stream.receive(100) is None
    assert len(world.net.dropped) == 1
    world.net.dropped.clear()


async def test_a_stranger_that_leaves_in_the_middle_is_written_down_as_broken_off(
    world: World, autojump_clock: Any
) -> None:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    await peer.ask(request(record, given))
    await peer.stream.aclose()
    await trio.sleep(limits.WRITE_S + 1)
    outcome = log(world.clinics[0])[-1]
    assert (outcome.event, outcome.reason) == ("outcome", "broken-off")


async def test_a_restart_marks_what_was_being_served(world: World, nursery: trio.Nursery) -> None:
    record, given = await shared(world, SIZE)
    peer = await asker(world)
    await peer.ask(request(record, given))
    kept = MemoryStore()
    kept.write(world.clinics[0].disk.audit.iterate(b""))
    again = Clinic(world.net, 0, Disk(audit=kept))
    await again.start(nursery)
    assert [item.event for item in log(again)] == ["intent", "restart"]
