"""Floods, stalls and spam against a running clinic, while honest people use it.

In each the clinic stays the same process within its memory, the honest fetch and finish in time, and
`peers` names the offender, which is disconnected.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
import trio

from node.demo.stage import Stage
from node.net.door import NO_PLACE, TOO_OFTEN, UNPROVED
from protocol import limits
from protocol.codec import encode
from protocol.messages.blocks import BlocksRequest
from tests.e2e import hostile, payloads
from tests.e2e.hostile import DATA, GONE, MESHSUB, PINGING, SYN, Attacker, Target
from tests.e2e.siege import Siege, besieged

STRANGER = b"a stranger".ljust(32, b".")
CONNECT_S = 5.0
SPAM_PER_S = 500
SPAM = 3_000
LARGE_SPAM = 250
PARKERS = 200
who_attacks = pytest.mark.parametrize("who", ["stranger", "member"])


@pytest.fixture(scope="module")
def siege(stage: Stage) -> Iterator[Siege]:
    with besieged(stage) as siege:
        yield siege


@pytest.fixture
async def attacker_seed(siege: Siege, who: str) -> bytes:
    """The identity to attack under, with a clean slate."""
    seed = siege.rogue if who == "member" else STRANGER
    await siege.forgive(seed)
    return seed


async def all_at_once(acts: list[Callable[[], Awaitable[object]]]) -> None:
    async with trio.open_nursery() as nursery:
        for act in acts:
            nursery.start_soon(act)


async def connects_in_time(siege: Siege) -> None:
    """A newcomer finds the door open."""
    with trio.fail_after(CONNECT_S):
        async with siege.light_client(b"a newcomer"):
            pass


# Before authentication.


async def test_many_connections_with_endless_lines_take_no_memory(siege: Siege) -> None:
    async with siege.in_use():
        targets = [siege.stranger(100 + number % 8) for number in range(64)]
        await all_at_once([partial(hostile.stream_endless_line, one, pieces=1_500) for one in targets])
    await siege.require_named("127.0.0.100", UNPROVED)
    await siege.check()


async def test_hundreds_of_half_open_connections_leave_the_door_open(siege: Siege) -> None:
    async with siege.in_use(), trio.open_nursery() as nursery:

        async def idle(number: int) -> None:
            async with hostile.idle_sockets(siege.stranger(number), 50):
                await trio.sleep_forever()

        for number in range(110, 120):
            nursery.start_soon(idle, number)
            nursery.start_soon(partial(hostile.drip_bytes, siege.stranger(number), pause_s=0.2))
        for _ in range(5):
            await connects_in_time(siege)
        nursery.cancel_scope.cancel()
    reasons = {one.reason for one in await siege.offenders() if one.address.startswith("127.0.0.11")}
    assert reasons & {NO_PLACE, UNPROVED, TOO_OFTEN}
    await siege.check()


async def test_a_thousand_connections_keep_no_member_out(siege: Siege) -> None:
    target = siege.stranger(130)
    visitors = iter([b"visitor %d" % number for number in range(1_000)])

    async def come_and_go() -> None:
        for visitor in visitors:
            try:
                await hostile.connect_and_leave(target, visitor.ljust(32, b"."))
            except GONE:
                continue

    await siege.forgive()
    async with siege.in_use():
        await all_at_once([come_and_go] * 8)
        with trio.fail_after(CONNECT_S):
            async with hostile.attack_as(siege.target, siege.rogue) as member:
                assert await member.open_protocol(siege.prefix + "blocks/1")
    await siege.require_named("127.0.0.130", TOO_OFTEN)
    await siege.check()


# The muxer.


async def overrun_window(siege: Siege, attacker: Attacker) -> None:
    # A stream whose negotiation has stalled is read by nobody.
    stream = await attacker.open()
    while True:
        await attacker.frame(DATA, 0, stream, bytes(60_000))


async def flood_with_pings(siege: Siege, attacker: Attacker) -> None:
    for number in range(100_000):
        await attacker.frame(PINGING, SYN, 0, length=number)


async def flood_with_streams(siege: Siege, attacker: Attacker) -> None:
    await hostile.flood_with_streams(attacker, 2_000)


async def park_halves_of_frames(siege: Siege, attacker: Attacker) -> None:
    """As much as the windows take, on as many streams as there may be."""
    while True:
        stream = await attacker.open_protocol(siege.prefix + "submit/1")
        if stream is None:
            return
        await attacker.send(stream, (500_000).to_bytes(4, "big") + bytes(400_000))


@who_attacks
@pytest.mark.parametrize(
    ("attack", "reason"),
    [(overrun_window, "overran"), (flood_with_pings, "pings"), (flood_with_streams, "streams")],
)
async def test_a_flood_in_the_muxer_is_cut_off(
    siege: Siege,
    who: str,
    attacker_seed: bytes,
    attack: Callable[[Siege, Attacker], Awaitable[None]],
    reason: str,
) -> None:
    async with siege.in_use():
        async with hostile.attack_as(siege.stranger(), attacker_seed) as attacker:
            with suppress(*GONE):
                await attack(siege, attacker)
            assert await attacker.is_cut()
        await siege.require_named(attacker_seed, reason)
    await siege.check()


async def test_junk_in_the_muxer_costs_only_its_connection(siege: Siege) -> None:
    async with siege.in_use():
        for seed in (STRANGER, siege.rogue):
            await siege.forgive(seed)
            await hostile.garble_muxer(siege.stranger(), seed)
    await siege.check()


async def test_what_many_strangers_park_here_is_bounded(siege: Siege) -> None:
    async def park(number: int) -> None:
        seed = (b"parker %d" % number).ljust(32, b".")
        try:
            async with hostile.attack_as(siege.stranger(140 + number % 8), seed) as attacker:
                await park_halves_of_frames(siege, attacker)
                await attacker.is_cut()
        except GONE:
            return

    async with siege.in_use():
        await all_at_once([partial(park, number) for number in range(PARKERS)])
    assert any("sends more than is read" in one.reason for one in await siege.offenders())
    await siege.check()


# Slowness.


async def hold_up_frame(siege: Siege, attacker: Attacker) -> None:
    """A byte now and then, and every ping answered."""
    stream = await attacker.open_protocol(siege.prefix + "light/1")
    assert stream is not None
    await attacker.frame(DATA, 0, stream, b"\x00\x00\x10\x00")

    async def drip() -> None:
        with suppress(*GONE):
            while True:
                await attacker.frame(DATA, 0, stream, b"x")
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        await attacker.is_cut()
        nursery.cancel_scope.cancel()


async def drip_muxer_frame(siege: Siege, attacker: Attacker) -> None:
    stream = await attacker.open_protocol(siege.prefix + "light/1")
    assert stream is not None
    await attacker.frame(DATA, 0, stream, b"a drop", length=100_000)
    await attacker.is_cut()


async def read_nothing(siege: Siege, attacker: Attacker) -> None:
    """Asks for all blocks again and again, and gives no credit for the answers."""
    stream = await attacker.open_protocol(siege.prefix + "blocks/1")
    assert stream is not None
    request = encode(BlocksRequest(1, 1_000))
    await attacker.send(stream, 1_000 * (len(request).to_bytes(4, "big") + request))
    await attacker.is_cut()


async def test_who_is_slow_on_purpose_is_dropped(siege: Siege) -> None:
    """All at once, for each takes as long as it is put up with."""
    await siege.forgive()

    async def be_slow(
        attack: Callable[[Siege, Attacker], Awaitable[None]], seed: bytes, target: Target, reason: str
    ) -> None:
        async with hostile.attack_as(target, seed, patience_s=60) as attacker:
            with suppress(*GONE):
                await attack(siege, attacker)
            assert await attacker.is_cut()
        await siege.require_named(seed, reason)

    async with siege.in_use(), trio.open_nursery() as nursery:
        for attack, reason in ((hold_up_frame, "held up"), (drip_muxer_frame, "holds up")):
            seed = reason.encode().ljust(32, b".")
            nursery.start_soon(be_slow, attack, seed, siege.stranger(150), reason)
        nursery.start_soon(be_slow, read_nothing, siege.rogue, siege.target, "took no bytes")
    await siege.check()


# Gossip.


@pytest.mark.parametrize("topic", ["blocks", "urgent"])
async def test_valid_spam_of_a_member_is_dropped_and_then_the_member(siege: Siege, topic: str) -> None:
    await siege.forgive()
    spam = (
        payloads.signed_gossip(siege.prefix + topic, siege.rogue, b"spam %d" % number)
        for number in range(SPAM)
    )
    before = siege.log_bytes()
    async with siege.in_use():
        sent = await hostile.send_frames(siege.target, siege.rogue, MESHSUB, spam, per_s=SPAM_PER_S)
        assert sent < SPAM
        await siege.require_named(siege.rogue, "gossips too much")
    assert siege.log_bytes() - before < limits.MIB
    await siege.check()


async def test_the_largest_gossip_of_a_member_takes_no_memory_and_costs_it_its_connection(
    siege: Siege,
) -> None:
    """Fewer messages than are too many, each as long as it may be."""
    await siege.forgive()
    room = bytes(limits.GOSSIP_BYTES_MAX - 1_000)
    spam = (
        payloads.signed_gossip(siege.prefix + "blocks", siege.rogue, b"%d" % number + room)
        for number in range(LARGE_SPAM)
    )
    async with siege.in_use():
        sent = await hostile.send_frames(
            siege.target,
            siege.rogue,
            MESHSUB,
            spam,
            per_s=limits.GOSSIP_PER_PEER_PER_S / 2,
            patience_s=60,
        )
        assert sent < LARGE_SPAM
        await siege.require_named(siege.rogue, "gossips too much")
    await siege.check()


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(payloads.announcements, id="announcements"),
        pytest.param(lambda topic, names: payloads.requests(names), id="requests"),
        pytest.param(lambda topic, names: payloads.subscription(topic), id="subscriptions"),
        pytest.param(lambda topic, names: payloads.fake_subscriptions(names), id="fake topics"),
    ],
)
async def test_a_flood_of_requests_in_gossip_is_cut_off(
    siege: Siege, flood: Callable[[str, int], bytes]
) -> None:
    await siege.forgive()
    before = siege.log_bytes()
    frames = [flood(siege.prefix + "blocks", 100)] * 600
    async with siege.in_use():
        sent = await hostile.send_frames(siege.target, siege.rogue, MESHSUB, frames, per_s=1_000)
        assert sent < len(frames)
        await siege.require_named(siege.rogue, "floods gossip")
    assert siege.log_bytes() - before < limits.MIB
    await siege.check()


async def test_gossip_of_over_long_messages_is_cut_off(siege: Siege) -> None:
    await siege.forgive()
    topic = siege.prefix + "blocks"
    fits = payloads.signed_gossip(topic, siege.rogue, bytes(limits.GOSSIP_BYTES_MAX - 1_000))
    long = payloads.signed_gossip(topic, siege.rogue, bytes(1_100_000))
    async with siege.in_use():
        await hostile.send_frames(siege.target, siege.rogue, MESHSUB, [fits, long, long], per_s=100)
        await siege.require_named(siege.rogue, "too long")
    await siege.check()
