"""What strangers, and a member gone bad, throw at a running clinic: it costs them their connection.

After every attack the clinic is the same process, fresh, not much larger, shows the chain to a light
client and serves a record to a reader with a grant.
"""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import pytest
import trio

from node.demo.stage import Stage
from protocol import limits
from protocol.blocks import BlockHash, Statement
from protocol.codec import HASH_BYTES, encode
from protocol.keys import SIGNATURE_BYTES
from protocol.messages import audit, blob, blocks, light
from protocol.messages.consensus import BlockRequest, Forward, Submission, Vote
from protocol.messages.submit import SubmitRequest
from protocol.transactions import Content
from tests.e2e import hostile
from tests.e2e.clinics import member_of
from tests.e2e.siege import Siege, besieged, identities
from tests.fuzz import protobuf
from tests.fuzz.doors import DECODERS
from tests.fuzz.mutate import mutate
from tests.fuzz.test_doors import SEED, told

PROTOCOLS = ("consensus", "submit", "blocks", "blob", "audit", "light")
BUSY = 8  # attackers at the same time
ROUNDS, SPOILED_MAX, CONNECTIONS_BEFORE_BLOCK = 2, 2_000, 20
THROWN = 40  # spoiled requests on each protocol
SERVED = {
    "consensus": ("protocol.messages.consensus.decode_consensus",),
    "submit": ("protocol.messages.submit.decode_submit_request",),
    "blocks": ("protocol.messages.blocks.decode_question",),
    "blob": ("protocol.messages.blob.decode_blob_question",),
    "audit": ("protocol.messages.audit.decode_audit_ask",),
    "light": ("protocol.messages.light.decode_light_question",),
    "members": ("protocol.messages.members.decode_members",),
}
FAR = 2**63 - 1
NOTHING = BlockHash(bytes(HASH_BYTES))
NO_SIGNATURE = bytes(SIGNATURE_BYTES)

# Well-formed, and as far from sense as their types allow. One for each kind of message that is received.
CRAFTED = (
    Vote(Statement(FAR, FAR, 255, NOTHING), 63, NO_SIGNATURE),
    Vote(Statement(0, 1, 0, NOTHING), 0, NO_SIGNATURE),
    BlockRequest(NOTHING),
    Forward((Submission(b"", b""), Submission(b"\xc1" * 1000, b"\x00"))),
    SubmitRequest((Submission(b"", b""),) * 64),
    blocks.BlocksRequest(FAR, FAR),
    blocks.BlocksRequest(-1, 0),
    blocks.BlocksRequest(2, 1),
    blocks.TimeRequest(b""),
    blob.PushRequest(Content(255, 1, FAR, FAR, NOTHING, b"", b"", b"")),
    blob.PushRequest(Content(1, 0, 0, 0, NOTHING, bytes(32), bytes(32), bytes(32))),
    audit.AuditQuestion(bytes(32), (), (), (), FAR, 0),
    light.HeadersRequest(FAR, 0),
    light.LocateRequest((), 0),
    light.OwnedRequest(bytes(32), (), ()),
)


@pytest.fixture(scope="module")
def siege(stage: Stage) -> Iterator[Siege]:
    with besieged(stage) as siege:
        yield siege


async def test_no_other_way_of_securing_a_connection_is_taken(siege: Siege) -> None:
    for protocol in ("/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0", "/mplex/6.7.0"):
        assert not await hostile.is_offer_taken(siege.target, protocol)
    await siege.check()


async def test_bytes_from_nobody_cost_only_their_connection(siege: Siege) -> None:
    for octets in hostile.BARE_BYTES.values():
        assert await hostile.send_bytes(siege.target, octets)
    await siege.check()


async def test_lines_of_a_gibibyte_are_not_held(siege: Siege) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BUSY):
            nursery.start_soon(partial(hostile.stream_endless_line, siege.target, pieces=200))
    await siege.check()


async def test_malformed_gossip_costs_a_member_its_connection(siege: Siege) -> None:
    async with hostile.attack_as(siege.target, siege.rogue) as attacker:
        stream = await attacker.open_protocol(hostile.MESHSUB)
        assert stream is not None
        await attacker.frame(hostile.DATA, 0, stream, hostile.malformed_gossip())
        assert await attacker.is_cut()
    await siege.check()


async def test_gossip_that_proves_nothing_is_dropped(siege: Siege) -> None:
    honest = member_of(siege.stage, siege.shared.reader).id_key
    for topic in (siege.prefix + "blocks", siege.prefix + "urgent"):
        for octets in (
            hostile.gossip_with_garbage_key(topic),
            hostile.unsigned_gossip(topic, honest),
            hostile.fake_subscriptions(5_000),
        ):
            assert await hostile.send_on(siege.target, siege.rogue, hostile.MESHSUB, octets)
    await siege.check()


async def test_strangers_do_not_gossip(siege: Siege) -> None:
    octets = hostile.malformed_gossip()
    [stranger] = islice(identities(siege, "stranger"), 1)
    assert not await hostile.send_on(siege.target, stranger, hostile.MESHSUB, octets)
    await siege.check()


@pytest.mark.parametrize("who", ["stranger", "member"])
async def test_negotiation_that_is_no_text_costs_only_its_stream(siege: Siege, who: str) -> None:
    await siege.forgive()
    for seed, octets in zip(identities(siege, who), hostile.PROPOSALS.values(), strict=False):
        await hostile.negotiate_badly(siege.target, seed, octets)
    await siege.check()


@pytest.mark.parametrize("who", ["stranger", "member"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_no_frame_makes_a_service_fail(siege: Siege, who: str, protocol: str) -> None:
    name, nested = f"{siege.prefix}{protocol}/1", b"\x91" * 20_000
    thrown = (*hostile.FRAMES.values(), *map(framed, (nested, *map(encode, CRAFTED))))
    for number, (seed, octets) in enumerate(zip(identities(siege, who), thrown, strict=False)):
        if number % limits.OFFENCES_MAX == 0:
            await siege.forgive()
        is_open = await hostile.send_on(siege.target, seed, name, octets)
        assert is_open == (who == "member" or protocol not in ("consensus", "blocks"))
    await siege.check()


async def test_spoiled_gossip_keeps_its_member_out_before_twenty_connections(siege: Siege) -> None:
    """A slice of what `fuzz/test_gossip.py` throws at the transport alone, by the same seed."""
    dice = random.Random(f"{SEED}/clinic")
    pool = protobuf.samples(siege.prefix + "blocks", siege.rogue, b"news")
    await siege.forgive()
    async with siege.in_use():
        for _ in range(ROUNDS):
            spoiled = protobuf.frames(dice, pool, SPOILED_MAX)
            connections = 0
            while await hostile.throw(siege.target, siege.rogue, hostile.MESHSUB, spoiled):
                connections += 1
                assert connections <= CONNECTIONS_BEFORE_BLOCK, told("it still comes in")
            offender = await siege.require_named(siege.rogue, "")
            assert offender.blocked_until is not None
            await siege.forgive()
    await siege.check()


async def test_spoiled_requests_make_no_service_fail(siege: Siege) -> None:
    dice = random.Random(f"{SEED}/services")
    async with siege.in_use():
        for protocol, doors in SERVED.items():
            pool = [door.sample(dice) for door in DECODERS if door.function in doors]
            assert len(pool) >= 1
            spoiled = iter([framed(mutate(dice, dice.choice(pool), pool)) for _ in range(THROWN)])
            left = True
            while left:
                await siege.forgive()
                thrown = await hostile.throw(
                    siege.target, siege.rogue, f"{siege.prefix}{protocol}/1", spoiled
                )
                left = bool(thrown)
    await siege.check()


async def test_more_connections_than_there_is_room_for_come_and_go(siege: Siege) -> None:
    before = await siege.peers()
    visitors = islice(identities(siege, "visitor"), limits.CONNECTIONS_MAX + 50)
    await at_once([partial(hostile.connect_and_leave, siege.target, seed) for seed in visitors])
    for _ in range(20):
        await hostile.connect_and_leave(siege.target, siege.rogue)
    assert await siege.peers() <= before
    await siege.check()


def framed(body: bytes) -> bytes:
    """As services frame what they say on a stream."""
    return len(body).to_bytes(4, "big") + body


async def at_once(acts: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """All of `acts`, some at the same time."""
    waiting = list(acts)

    async def work() -> None:
        while waiting:
            await waiting.pop()()

    async with trio.open_nursery() as nursery:
        for _ in range(BUSY):
            nursery.start_soon(work)
