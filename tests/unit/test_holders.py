"""Copies: pushed where placement says, verified before they are kept, signed for when whole."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from protocol import limits
from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.messages.blob import (
    ChunkFrame,
    Holding,
    PushGo,
    PushRequest,
    Refusal,
    decode_blob_reply,
)
from protocol.placement import holders
from protocol.transactions import Content
from tests.clinic_world import IDS, Clinic, Record, World, fetch, grant, issue
from tests.ledger_world import NETWORK

SIZE = 40 * limits.CHUNK_BYTES


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    made = World(nursery)
    await made.start()
    return made


def placed(content: Content) -> list[int]:
    """The clinics that should hold a blob of clinic 0, itself first."""
    return [IDS.index(key) for key in holders(content.root, IDS[0], IDS, 3)]


def holding(world: World, content: Content) -> list[int]:
    return [clinic.index for clinic in world.clinics if clinic.vault.holds(IDS[0], content.root)]


async def test_a_blob_comes_to_the_best_placed_clinics_and_they_sign_for_it(world: World) -> None:
    record = await issue(world.clinics[0], SIZE)
    pushed = await world.clinics[0].holders.push(record.content)
    assert [IDS.index(key) for key in pushed.holders] == placed(record.content)
    assert pushed.missing == ()
    assert holding(world, record.content) == sorted(placed(record.content))
    assert not world.net.dropped


async def test_a_copy_is_served_like_the_original(world: World) -> None:
    record = await issue(world.clinics[0], SIZE)
    await world.clinics[0].holders.push(record.content)
    _, second, third = placed(record.content)
    (outside,) = set(range(4)) - {0, second, third}
    given = grant(record, outside)
    await world.finalize(record.minted)
    await world.finalize(given.registration)
    _, content = await fetch(world.clinics[outside], record.ask(given), third)
    assert content == record.plaintext


async def test_a_holder_that_is_down_is_named_and_nobody_takes_its_place(world: World) -> None:
    record = await issue(world.clinics[0], SIZE)
    _, second, third = placed(record.content)
    world.net.down.add(IDS[second])
    pushed = await world.clinics[0].holders.push(record.content)
    assert (pushed.holders, pushed.missing) == ((IDS[0], IDS[third]), (IDS[second],))
    assert holding(world, record.content) == sorted([0, third])


async def test_a_holder_that_never_answers_is_given_up_at_its_deadline(
    world: World, autojump_clock: Any
) -> None:
    record = await issue(world.clinics[0], SIZE)
    _, second, _ = placed(record.content)

    async def sleep(stream: object) -> None:
        await trio.sleep_forever()

    world.net.transports[IDS[second]].serve("blob", sleep, strangers=True)
    started_s = trio.current_time()
    pushed = await world.clinics[0].holders.push(record.content)
    assert pushed.missing == (IDS[second],)
    assert trio.current_time() - started_s <= limits.PUSH_S + SIZE / limits.PUSH_BYTES_PER_S_MIN + 1


async def test_a_push_that_breaks_off_goes_on_where_it_ended(world: World, autojump_clock: Any) -> None:
    record = await issue(world.clinics[0], SIZE)
    _, second, _ = placed(record.content)
    clinic, real = world.clinics[second], world.clinics[second].server.serve
    starts: list[int] = []

    async def break_off_once(stream: Any) -> None:
        receive, frames = stream.receive, [0]

        async def limited(limit: int, timeout_s: float | None = None) -> bytes | None:
            frames[0] += 1
            return None if len(starts) == 0 and frames[0] > 20 else await receive(limit, timeout_s)

        stream.receive = limited
        try:
            await real(stream)
        finally:
            starts.append(frames[0])

    world.net.transports[IDS[second]].serve("blob", break_off_once, strangers=True)
    pushed = await world.clinics[0].holders.push(record.content)
    assert pushed.missing == ()
    await trio.testing.wait_all_tasks_blocked()
    assert clinic.vault.holds(IDS[0], record.content.root)
    # The question and 19 chunks on the first stream; the question, the rest and the end on the second.
    assert starts == [21, 1 + record.content.chunks - 19 + 1]


class Issuer:
    """Clinic 0 pushing by hand."""

    def __init__(self, world: World, record: Record) -> None:
        self.world, self.record = world, record
        self.clinic: Clinic = world.clinics[placed(record.content)[1]]

    async def offer(self) -> Any:
        transport = self.world.net.transports[IDS[0]]
        self.stream = await transport.open_stream(self.clinic.identity, "blob")
        await self.stream.send(encode(PushRequest(self.record.content)))
        return await self.answer()

    async def answer(self) -> Any:
        raw = await self.stream.receive(limits.CONTROL_FRAME_BYTES_MAX)
        return None if raw is None else decode_blob_reply(raw)

    async def frames(self) -> list[ChunkFrame]:
        reader = await self.world.clinics[0].vault.open(IDS[0], self.record.content.root)
        assert reader is not None
        return [reader.frame(index) for index in range(self.record.content.chunks)]


CHANGES: dict[str, Callable[[ChunkFrame], bytes]] = {
    "other-bytes": lambda chunk: encode(ChunkFrame(5, chunk.path, bytes(len(chunk.ciphertext)))),
    "other-path": lambda chunk: encode(ChunkFrame(5, (bytes(32),), chunk.ciphertext)),
    "other-index": lambda chunk: encode(ChunkFrame(6, chunk.path, chunk.ciphertext)),
    "short": lambda chunk: encode(ChunkFrame(5, chunk.path, chunk.ciphertext[1:])),
    "garbage": lambda chunk: b"\xc1",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_wrong_chunk_drops_the_issuer_and_only_what_came_before_it_is_kept(
    world: World, change: str
) -> None:
    issuer = Issuer(world, await issue(world.clinics[0], SIZE))
    assert await issuer.offer() == PushGo(0)
    frames = await issuer.frames()
    for frame in frames[:5]:
        await issuer.stream.send(encode(frame))
    await issuer.stream.send(CHANGES[change](frames[5]))
    assert await issuer.answer() is None
    assert [who for who, _ in world.net.dropped] == [issuer.clinic.identity]
    assert holding(world, issuer.record.content) == [0]
    assert await issuer.offer() == PushGo(5)


async def test_a_clinic_that_placement_does_not_name_refuses(world: World) -> None:
    record = await issue(world.clinics[0], SIZE)
    issuer = Issuer(world, record)
    (outside,) = set(range(4)) - set(placed(record.content))
    issuer.clinic = world.clinics[outside]
    assert await issuer.offer() == Refusal()
    assert issuer.clinic.vault.used_bytes == 0


async def test_a_clinic_without_room_refuses(world: World, autojump_clock: Any) -> None:
    record = await issue(world.clinics[0], SIZE)
    issuer = Issuer(world, record)
    issuer.clinic.vault._quota_bytes = SIZE - 1
    assert await issuer.offer() == Refusal()
    pushed = await world.clinics[0].holders.push(record.content)
    assert issuer.clinic.identity in pushed.missing


async def test_what_is_here_already_is_signed_for_at_once(world: World) -> None:
    record = await issue(world.clinics[0], SIZE)
    await world.clinics[0].holders.push(record.content)
    issuer = Issuer(world, record)
    assert await issuer.offer() == PushGo(record.content.chunks)
    answer = await issuer.answer()
    assert isinstance(answer, Holding)
    assert (answer.holder, answer.root) == (issuer.clinic.identity, record.content.root)


async def test_a_signature_that_is_not_the_holders_does_not_count(
    world: World, autojump_clock: Any
) -> None:
    record = await issue(world.clinics[0], SIZE)
    _, second, third = placed(record.content)
    forged = Holding(
        IDS[second], record.content.root, world.clinics[third].key.sign("holding", NETWORK, b"")
    )
    world.net.tampers[IDS[second]] = lambda frame: (
        frame if isinstance(decode_blob_reply(frame), PushGo) else encode(forged)
    )
    pushed = await world.clinics[0].holders.push(record.content)
    assert pushed.missing == (IDS[second],)


async def test_only_what_is_here_can_be_pushed(world: World) -> None:
    record = await issue(world.clinics[1], SIZE)
    with pytest.raises(LocalProtocolError):
        await world.clinics[0].holders.push(record.content)
