"""Floods, stalls and overruns: each is bounded, costs its sender the connection, and names the sender.

Limits are made small where the real ones would only make a test slow. Attackers that need an address of
their own have one of the loopback network's.
"""

from collections.abc import Callable
from functools import partial

import pytest
import trio

from node.net.door import CROWDED, NO_PLACE, TOO_OFTEN, UNPROVED
from node.net.libp2p_host import Libp2pTransport
from node.net.offenders import BLOCKED_BY_HAND, Offence
from node.ports import GossipMessage
from protocol import limits
from tests.contract.libp2p_scene import (
    PREFIX,
    ROGUE,
    STRANGER,
    Scene,
    key,
    open_scene,
    pour,
    sulk,
)
from tests.contract.transports import PATIENCE_S, address_of, libp2p_transport, seed, until
from tests.e2e import hostile, payloads
from tests.e2e.hostile import DATA, MESHSUB, SYN, WINDOW, Attacker, Target

identities = pytest.mark.parametrize("identity", [ROGUE, STRANGER], ids=["member", "stranger"])
TOPIC = PREFIX + "blocks"


async def named(scene: Scene, who: bytes, reason: str) -> Offence:
    """The offence of `who`, once it is told and its connections are gone."""
    await until(lambda: any(one.id_key == key(who) for one in scene.node.offences()))
    [offence] = [one for one in scene.node.offences() if one.id_key == key(who)]
    assert reason in offence.reason
    await until(lambda: key(who) not in scene.node.connected())
    await scene.check()
    return offence


async def addresses_named(scene: Scene, reason: str) -> set[str]:
    await until(lambda: any(one.reason == reason for one in scene.node.offences()))
    await scene.check()
    return {one.address for one in scene.node.offences() if one.reason == reason}


async def write_until_cut(attacker: Attacker, write: Callable[[], object], times: int) -> None:
    """Calls `write` so often, or until the node has cut the connection."""
    try:
        for _ in range(times):
            await write()  # type: ignore[misc]
    except hostile.GONE:
        return


def from_address(target: Target, number: int) -> Target:
    return Target(target.host, target.port, target.id_key, source=f"127.0.0.{number}")


# Kept out.


async def test_a_stranger_that_offends_too_often_is_kept_out_until_it_is_forgiven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OFFENCES_MAX", 3)
    async with open_scene() as scene:
        for _ in range(3):
            assert await hostile.send_on(scene.target, STRANGER, PREFIX + "public/1", b"\xff" * 200)
        offence = await named(scene, STRANGER, "over its limit")
        assert offence.count == 3
        assert offence.blocked_until_ms is not None
        with pytest.raises(hostile.GONE):
            async with hostile.attack_as(scene.target, STRANGER):
                pass
        scene.node.block(key(STRANGER), 0)
        async with hostile.attack_as(scene.target, STRANGER) as attacker:
            assert await attacker.open_protocol(PREFIX + "public/1")


async def test_who_is_blocked_by_hand_is_disconnected_and_kept_out() -> None:
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, ROGUE) as attacker:
            await until(lambda: key(ROGUE) in scene.node.connected())
            scene.node.block(key(ROGUE), limits.HOUR_MS)
            assert await attacker.is_cut()
        with pytest.raises(hostile.GONE):
            async with hostile.attack_as(scene.target, ROGUE):
                pass
        await named(scene, ROGUE, BLOCKED_BY_HAND)


# Handshakes and connections.


async def test_half_open_connections_of_many_addresses_do_not_shut_the_door() -> None:
    async with open_scene() as scene, trio.open_nursery() as nursery:
        done = trio.Event()

        async def idle(number: int) -> None:
            async with hostile.idle_sockets(from_address(scene.target, number), 40):
                await done.wait()

        for number in range(10, 20):
            nursery.start_soon(idle, number)
        await until(lambda: scene.node.handshakes() == limits.HANDSHAKES_MAX)
        guest = libp2p_transport("guest", members=[address_of(scene.node)])
        nursery.start_soon(guest.run)
        with trio.fail_after(limits.CONNECT_S):
            await until(lambda: scene.node.identity in guest.connected())
        assert len(await addresses_named(scene, NO_PLACE)) > 1
        assert "127.0.0.10" in await addresses_named(scene, UNPROVED) | await addresses_named(
            scene, NO_PLACE
        )
        done.set()
        nursery.cancel_scope.cancel()


async def test_an_address_that_connects_too_often_is_named_and_held_to_its_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKES_PER_ADDRESS_BURST", 5)
    monkeypatch.setattr(limits, "HANDSHAKES_PER_ADDRESS_PER_S", 0.01)
    async with open_scene() as scene:
        target = from_address(scene.target, 30)
        for number in range(5):
            await hostile.connect_and_leave(target, seed(f"visitor {number}"))
        with pytest.raises(hostile.GONE):
            await hostile.connect_and_leave(target, seed("one too many"))
        assert await addresses_named(scene, TOO_OFTEN) == {"127.0.0.30"}


async def test_the_strangers_of_one_address_have_so_many_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 2)
    async with open_scene() as scene, trio.open_nursery() as nursery:
        cut: list[bytes] = []

        async def loiter(name: bytes) -> None:
            async with hostile.attack_as(from_address(scene.target, 31), name) as attacker:
                await attacker.is_cut()
                cut.append(name)

        for number in range(4):
            nursery.start_soon(loiter, seed(f"loiterer {number}"))
        await until(lambda: len(cut) == 2)
        async with hostile.attack_as(from_address(scene.target, 32), STRANGER) as attacker:
            assert await attacker.open_protocol(PREFIX + "public/1")
        assert await addresses_named(scene, CROWDED) == {"127.0.0.31"}
        nursery.cancel_scope.cancel()


# The muxer.


@identities
async def test_whoever_overruns_the_window_of_one_stream_is_cut_off_at_once(identity: bytes) -> None:
    async with open_scene(lambda node: node.serve("sulk", sulk, strangers=True)) as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            stream = await attacker.open_protocol(PREFIX + "sulk/1")
            assert stream is not None
            await write_until_cut(attacker, partial(attacker.frame, DATA, 0, stream, bytes(60_000)), 6)
            assert await attacker.is_cut()
        await named(scene, identity, "overran its window")


@identities
async def test_a_flood_of_pings_costs_the_connection(identity: bytes) -> None:
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            ping = partial(attacker.frame, hostile.PINGING, SYN, 0, length=1)
            await write_until_cut(attacker, ping, 2 * limits.MUXER_PINGS_BURST)
            assert await attacker.is_cut()
        await named(scene, identity, "pings too often")


@identities
async def test_a_flood_of_streams_costs_the_connection(identity: bytes) -> None:
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            await hostile.flood_with_streams(attacker, 2_000)
            assert await attacker.is_cut()
        await named(scene, identity, "too many streams")


async def test_what_a_stranger_sends_and_nobody_reads_is_bounded_over_all_its_streams() -> None:
    async with open_scene(lambda node: node.serve("sulk", sulk, strangers=True)) as scene:
        async with hostile.attack_as(scene.target, STRANGER) as attacker:
            await _fill_streams(attacker, "sulk", limits.STRANGER_STREAMS_MAX, 240_000)
            assert await attacker.is_cut()
        await named(scene, STRANGER, "sends more than is read")


async def test_halves_of_frames_count_as_unread() -> None:
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, STRANGER) as attacker:
            await _fill_streams(attacker, "public", limits.STRANGER_STREAMS_MAX, 240_000)
            assert await attacker.is_cut()
        await named(scene, STRANGER, "sends more than is read")


async def test_what_all_strangers_send_and_nobody_reads_is_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STRANGERS_BUFFER_BYTES_MAX", 1_000_000)
    async with open_scene() as scene, trio.open_nursery() as nursery:
        cut: list[int] = []

        async def park(number: int, streams: int) -> None:
            async with hostile.attack_as(scene.target, seed(f"parker {number}")) as attacker:
                await _fill_streams(attacker, "public", streams, 240_000)
                await attacker.is_cut()
                cut.append(number)

        await until(lambda: bool(scene.node.connected()))
        for number, streams in enumerate((1, 3, 1)):
            nursery.start_soon(park, number, streams)
        await until(lambda: bool(cut))
        # Of the three the one that holds most goes.
        assert cut == [1]
        await named(scene, seed("parker 1"), "sends more than is read")
        nursery.cancel_scope.cancel()


async def _fill_streams(attacker: Attacker, protocol: str, streams: int, octets: int) -> None:
    """Sends the first `octets` of a longer frame on so many streams, within their windows."""
    head = (octets + 1).to_bytes(4, "big")
    try:
        for _ in range(streams):
            stream = await attacker.open_protocol(f"{PREFIX}{protocol}/1")
            assert stream is not None
            rest = head + bytes(octets - 4)
            while rest:
                await attacker.frame(DATA, 0, stream, rest[:60_000])
                rest = rest[60_000:]
        await attacker.settle()
    except hostile.GONE:
        return


# Slow peers.


@identities
async def test_whoever_holds_up_a_frame_is_dropped(
    monkeypatch: pytest.MonkeyPatch, identity: bytes
) -> None:
    monkeypatch.setattr(limits, "IDLE_READ_S", 0.3)

    def serve(node: Libp2pTransport) -> None:
        async def wait(stream: object) -> None:
            await stream.receive(1_000, float("inf"))  # type: ignore[attr-defined]

        node.serve("patient", wait, strangers=True)

    async with open_scene(serve) as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            stream = await attacker.open_protocol(PREFIX + "patient/1")
            assert stream is not None
            await attacker.frame(DATA, 0, stream, b"\x00\x00\x00\x40half of it")
            assert await attacker.is_cut()
        await named(scene, identity, "held up a frame")


@identities
async def test_whoever_drips_a_frame_of_the_muxer_is_dropped(
    monkeypatch: pytest.MonkeyPatch, identity: bytes
) -> None:
    monkeypatch.setattr(limits, "MUXER_FRAME_S", 0.3)
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            stream = await attacker.open_protocol(PREFIX + "public/1")
            assert stream is not None
            await attacker.frame(DATA, 0, stream, b"a drop", length=1_000)
            assert await attacker.is_cut()
        await named(scene, identity, "holds up a frame")


@identities
async def test_whoever_asks_for_much_and_reads_nothing_is_dropped(
    monkeypatch: pytest.MonkeyPatch, identity: bytes
) -> None:
    monkeypatch.setattr(limits, "WRITE_S", 0.5)
    async with open_scene(lambda node: node.serve("pour", pour, strangers=True)) as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            assert await attacker.open_protocol(PREFIX + "pour/1")
            assert await attacker.is_cut()
        await named(scene, identity, "took no bytes")


async def test_a_slow_reader_that_reads_is_served() -> None:
    async with open_scene(lambda node: node.serve("pour", pour, strangers=True)) as scene:
        async with hostile.attack_as(scene.target, STRANGER) as attacker:
            stream = await attacker.open_protocol(PREFIX + "pour/1")
            assert stream is not None
            for _ in range(20):
                await attacker.frame(WINDOW, 0, stream, length=64 * limits.KIB)
                await attacker.settle()
        assert scene.node.offences() == []
        await scene.check()


# Gossip.


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(payloads.announcements(TOPIC, 10) * 300, id="announcements"),
        pytest.param(payloads.announcements(TOPIC, limits.GOSSIP_NAMES_MAX + 1), id="a long announcement"),
        pytest.param(payloads.requests(10) * 300, id="requests"),
        pytest.param(payloads.requests(limits.GOSSIP_NAMES_MAX + 1), id="a long request"),
        pytest.param(payloads.subscription(TOPIC) * 300, id="subscriptions"),
    ],
)
async def test_a_flood_beside_the_messages_costs_the_member_its_connection(octets: bytes) -> None:
    async with open_scene() as scene:
        assert await hostile.send_on(scene.target, ROGUE, MESHSUB, octets)
        await named(scene, ROGUE, "floods gossip")


async def test_messages_over_the_quota_are_dropped_and_then_their_sender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "GOSSIP_PER_PEER_BURST", 10)
    monkeypatch.setattr(limits, "GOSSIP_PER_PEER_PER_S", 0.01)
    monkeypatch.setattr(limits, "GOSSIP_EXCESS_MAX", 20)
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        spam = b"".join(payloads.signed_gossip(TOPIC, ROGUE, b"spam %d" % number) for number in range(40))
        assert await hostile.send_on(scene.target, ROGUE, MESHSUB, spam)
        await named(scene, ROGUE, "gossips too much")
        assert len(_drain(inbox[0])) == 10


async def test_bytes_over_the_quota_are_dropped_and_then_their_sender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spam = [payloads.signed_gossip(TOPIC, ROGUE, b"%10d" % number + bytes(15_000)) for number in range(12)]
    monkeypatch.setattr(limits, "GOSSIP_BYTES_PER_PEER_BURST", 4 * len(spam[0]))
    monkeypatch.setattr(limits, "GOSSIP_BYTES_PER_PEER_PER_S", 0.01)
    monkeypatch.setattr(limits, "GOSSIP_EXCESS_BYTES_MAX", 5 * len(spam[0]))
    monkeypatch.setattr(limits, "GOSSIP_EXCESS_BYTES_PER_S", 0.01)
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        assert await hostile.send_on(scene.target, ROGUE, MESHSUB, b"".join(spam))
        await named(scene, ROGUE, "gossips too much")
        assert len(_drain(inbox[0])) == 4


@pytest.mark.parametrize("author", [key(STRANGER), key(seed("honest"))], ids=["stranger", "member"])
async def test_whoever_passes_on_what_its_author_did_not_sign_is_dropped(author: bytes) -> None:
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        forged = payloads.unsigned_gossip(TOPIC, author)  # type: ignore[arg-type]
        assert await hostile.send_on(scene.target, ROGUE, MESHSUB, forged)
        if author != key(STRANGER):  # who is no member is not listened to, whoever passes it on
            await named(scene, ROGUE, "did not sign")
        await scene.check()
        assert _drain(inbox[0]) == []


async def test_a_message_played_again_and_again_is_delivered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also under other numbers, and by others than its author; after the cache's time the ledger, to which
    nothing twice is anything new, is what is left."""
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        for number in (1, 2):
            once = payloads.signed_gossip(TOPIC, ROGUE, b"news", number=number)
            assert await hostile.send_on(scene.target, ROGUE, MESHSUB, once * 100)
        await scene.check()
        assert [message.payload for message in _drain(inbox[0])] == [b"news"]


async def test_an_honest_burst_is_not_taken_for_spam() -> None:
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        sent = {b"news %d" % number for number in range(200)}
        burst = b"".join(payloads.signed_gossip(TOPIC, ROGUE, text) for text in sorted(sent))
        assert await hostile.send_on(scene.target, ROGUE, MESHSUB, burst)
        heard: set[bytes] = set()
        with trio.fail_after(PATIENCE_S):
            while heard != sent:
                heard.add((await inbox[0].receive()).payload)
        assert scene.node.offences() == []


def _drain(inbox: trio.MemoryReceiveChannel[GossipMessage]) -> list[GossipMessage]:
    messages: list[GossipMessage] = []
    while True:
        try:
            messages.append(inbox.receive_nowait())
        except trio.WouldBlock:
            return messages
