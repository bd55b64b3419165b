"""The guards of the libp2p adapter, against the inputs that break it without them.

After every attack the node must be the same process, answer an honest member and be connected to it.
"""

import pytest
import trio
import trio.testing
from libp2p.exceptions import ParseError

from node.adapters import SystemClock
from node.net.libp2p_guards import read_line
from node.net.libp2p_host import Libp2pTransport
from node.ports import GossipMessage, PeerAddress, Stream, TaskStatus
from protocol import limits
from protocol.errors import LocalProtocolError, TransportError
from protocol.keys import PublicKey
from tests.contract.libp2p_scene import (
    HONEST,
    MEMORY_BYTES_MAX,
    PREFIX,
    ROGUE,
    STRANGER,
    count,
    key,
    open_scene,
    pour,
    resident_bytes,
)
from tests.contract.transports import LOOPBACK, PATIENCE_S, address_of, libp2p_transport, seed, until
from tests.e2e import hostile

identities = pytest.mark.parametrize("identity", [ROGUE, STRANGER], ids=["member", "stranger"])


# Before authentication.


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0", "/mplex/6.7.0"])
async def test_nothing_but_noise_secures_a_connection(protocol: str) -> None:
    async with open_scene() as scene:
        assert not await hostile.is_offer_taken(scene.target, protocol)
        await scene.check()


async def test_bare_bytes_cost_only_their_connection() -> None:
    async with open_scene() as scene:
        for octets in hostile.BARE_BYTES.values():
            assert await hostile.send_bytes(scene.target, octets)
        await scene.check()


async def test_a_line_of_a_gibibyte_is_cut_before_it_is_held() -> None:
    async with open_scene() as scene:
        before = resident_bytes()
        async with trio.open_nursery() as nursery:
            sent: list[int] = []

            async def stream_line() -> None:
                sent.append(await hostile.stream_endless_line(scene.target, pieces=200))

            for _ in range(8):
                nursery.start_soon(stream_line)
        assert max(sent) < 50
        assert resident_bytes() - before < MEMORY_BYTES_MAX
        await scene.check()


async def test_a_negotiation_line_is_judged_by_its_length_alone() -> None:
    asked: list[int] = []

    class Endless:
        async def read(self, count: int | None = None) -> bytes:
            asked.append(count or 0)
            return hostile.varint(1 << 30)[len(asked) - 1 :][:1] or bytes(count or 0)

    with pytest.raises(ParseError):
        await read_line(Endless())  # type: ignore[arg-type]
    assert set(asked) == {1}


async def test_silent_sockets_of_one_address_leave_room_for_others() -> None:
    async with open_scene() as scene, hostile.idle_sockets(scene.target, 40):
        await scene.check()
        # The surplus is closed at once, so that the places of other addresses stay free.
        assert scene.node.handshakes() <= limits.HANDSHAKES_PER_ADDRESS_MAX


# Negotiation and protocols.


@identities
async def test_bad_negotiation_costs_only_its_stream_or_connection(identity: bytes) -> None:
    async with open_scene() as scene:
        for octets in hostile.PROPOSALS.values():
            await hostile.negotiate_badly(scene.target, identity, octets)
        await scene.check()


async def test_bad_frames_cost_only_their_stream_or_connection() -> None:
    async with open_scene() as scene:
        for number, octets in enumerate(hostile.FRAMES.values()):
            for protocol, is_for_all in ((PREFIX + "public/1", True), (PREFIX + "echo/1", False)):
                assert await hostile.send_on(scene.target, ROGUE, protocol, octets)
                visitor = seed(f"visitor {number}")
                assert await hostile.send_on(scene.target, visitor, protocol, octets) == is_for_all
            await hostile.send_on(scene.target, ROGUE, hostile.PING, octets)
        await scene.check()


@pytest.mark.parametrize("answer", hostile.PROPOSALS.values(), ids=hostile.PROPOSALS)
async def test_a_senseless_answer_to_a_stream_of_ours_fails_that_request_only(answer: bytes) -> None:
    async with open_scene() as scene, hostile.attack_as(scene.target, ROGUE) as attacker:
        await until(lambda: key(ROGUE) in scene.node.connected())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attacker.answer_streams, answer)
            with pytest.raises(TransportError):
                await scene.node.open_stream(key(ROGUE), "echo")
            nursery.cancel_scope.cancel()
        await scene.check()


async def test_a_stream_that_its_opener_never_ends_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_READ_S", 0.1)

    async def greet(stream: Stream) -> None:
        await stream.send(b"good day")

    async with open_scene(lambda node: node.serve("greet", greet)) as scene:
        async with hostile.attack_as(scene.target, ROGUE) as attacker:
            stream = await attacker.open_protocol(PREFIX + "greet/1")
            while True:
                _, flags, which, _ = await attacker.read_frame()
                if which == stream and flags & hostile.RST:
                    break
        await scene.check()


async def test_a_lost_connection_is_not_taken_for_the_end_of_a_stream() -> None:
    outcome: list[object] = []

    async def watch(stream: Stream) -> None:
        try:
            outcome.append(await stream.receive(100))
        except TransportError as error:
            outcome.append(error)

    async with open_scene(lambda node: node.serve("watch", watch)) as scene:
        async with hostile.attack_as(scene.target, ROGUE) as attacker:
            assert await attacker.open_protocol(PREFIX + "watch/1")
        await until(lambda: bool(outcome))
        assert isinstance(outcome[0], TransportError)


async def test_a_stream_of_which_a_write_was_cancelled_is_of_no_more_use() -> None:
    awake = trio.Event()

    async def doze(stream: Stream) -> None:
        await awake.wait()
        await count(stream)

    async with open_scene(lambda node: node.serve("doze", doze)) as scene:
        stream = await scene.honest.open_stream(scene.node.identity, "doze")
        with trio.move_on_after(0.1) as scope:
            while True:
                await stream.send(bytes(limits.CHUNK_BYTES))
        assert scope.cancelled_caught
        awake.set()
        with pytest.raises(TransportError):
            await stream.send(b"what the peer would take for the rest of it")


@identities
async def test_a_raising_handler_costs_its_peer_the_connection(identity: bytes) -> None:
    async def stumble(stream: Stream) -> None:
        await stream.receive(1000)
        async with trio.open_nursery():
            raise KeyError("a bug, reached from outside")

    async with open_scene(lambda node: node.serve("stumble", stumble, strangers=True)) as scene:
        async with hostile.attack_as(scene.target, identity) as attacker:
            stream = await attacker.open_protocol(PREFIX + "stumble/1")
            assert stream is not None
            await attacker.frame(hostile.DATA, 0, stream, b"\x00\x00\x00\x01x")
            assert await attacker.is_cut()
        await scene.check()


async def test_our_own_bug_in_a_handler_stops_the_node() -> None:
    async def fail(stream: Stream) -> None:
        await stream.receive(100)
        raise LocalProtocolError("we are wrong")

    node = libp2p_transport("node", listen=[LOOPBACK], members=[PeerAddress(key(HONEST))])
    honest = libp2p_transport("honest")
    node.serve("fail", fail)
    stopped: list[Exception] = []

    async def run_node(*, task_status: TaskStatus[None]) -> None:
        try:
            await node.run(task_status=task_status)
        except LocalProtocolError as error:
            stopped.append(error)

    async with trio.open_nursery() as nursery:
        await nursery.start(run_node)
        honest.set_members([address_of(node)])
        await nursery.start(honest.run)
        stream = await honest.open_stream(node.identity, "fail")
        await stream.send(b"go")
        await until(lambda: bool(stopped))
        nursery.cancel_scope.cancel()


# Gossip.


async def test_malformed_gossip_of_a_member_costs_its_connection() -> None:
    async with open_scene() as scene:
        async with hostile.attack_as(scene.target, ROGUE) as attacker:
            stream = await attacker.open_protocol(hostile.MESHSUB)
            assert stream is not None
            await attacker.frame(hostile.DATA, 0, stream, hostile.malformed_gossip())
            assert await attacker.is_cut()
        await scene.check()


async def test_gossip_that_proves_nothing_is_dropped() -> None:
    inbox: list[trio.MemoryReceiveChannel[GossipMessage]] = []
    async with open_scene(lambda node: inbox.append(node.subscribe("blocks"))) as scene:
        for octets in (
            hostile.gossip_with_garbage_key(PREFIX + "blocks"),
            hostile.unsigned_gossip(PREFIX + "blocks", key(HONEST)),
            hostile.unsigned_gossip(PREFIX + "blocks", key(STRANGER)),
            hostile.unsigned_gossip("elsewhere", key(ROGUE)),
            hostile.fake_subscriptions(5_000),
            hostile.varint(limits.GIB),
        ):
            assert await hostile.send_on(scene.target, ROGUE, hostile.MESHSUB, octets)
        await scene.check()
        with pytest.raises(trio.WouldBlock):
            inbox[0].receive_nowait()


async def test_strangers_do_not_gossip_and_are_not_told() -> None:
    async with open_scene() as scene, hostile.attack_as(scene.target, STRANGER) as attacker:
        assert await attacker.open_protocol(hostile.MESHSUB) is None
        await trio.testing.wait_all_tasks_blocked(0.05)
        await attacker.settle()
        assert hostile.MESHSUB not in attacker.asked
        await scene.check()


async def test_a_member_that_comes_back_before_it_was_missed_still_hears_the_gossip() -> None:
    started_ns = SystemClock().wall_ms() * 1_000_000
    async with (
        open_scene(lambda node: node.serve("pour", pour)) as scene,
        hostile.attack_as(scene.target, ROGUE) as old,
    ):
        old.speaks.add(hostile.MESHSUB)
        while hostile.MESHSUB not in old.asked:
            await old.read_frame()
        await old.settle()
        # With its writes blocked, the old connection takes a while to end.
        stream = await old.open_protocol(PREFIX + "pour/1")
        assert stream is not None
        await old.frame(hostile.WINDOW, 0, stream, length=1 << 30)
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with hostile.attack_as(scene.target, ROGUE) as new, trio.open_nursery() as nursery:
            new.speaks.add(hostile.MESHSUB)
            # On the new connection it says what it wants before the end of the old one is seen.
            stream = await new.open_protocol(hostile.MESHSUB)
            assert stream is not None
            await new.frame(hostile.DATA, 0, stream, hostile.subscription(PREFIX + "blocks"))
            await new.settle()
            assert await old.is_cut()
            nursery.start_soon(new.is_cut)
            with trio.fail_after(PATIENCE_S):
                number = 0
                while b"news" not in new.heard:
                    number += 1
                    await scene.node.publish("blocks", b"news %d" % number)
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        # Numbers from the clock, in nanoseconds, are never used again after a restart.
        (first, *_) = hostile.gossip_in(new.heard)
        assert int.from_bytes(first.seqno, "big") > started_ns
        await scene.check()


async def test_long_messages_that_a_new_member_missed_do_not_mix_with_new_ones() -> None:
    first = libp2p_transport("first", listen=[LOOPBACK], members=[PeerAddress(key(seed("second")))])
    second = libp2p_transport("second")
    first.subscribe("blocks")
    heard = second.subscribe("blocks")
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        for number in range(4):
            await first.publish("blocks", bytes((number,)) * 200_000)
        second.set_members([address_of(first)])
        await nursery.start(second.run)
        payloads: set[bytes] = set()
        for number in range(4, 12):
            await first.publish("blocks", bytes((number,)) * 200_000)
            await trio.sleep(0.02)
        with trio.fail_after(PATIENCE_S):
            while len(payloads) < 12:
                payloads.add((await heard.receive()).payload)
        assert {len(set(payload)) for payload in payloads} == {1}
        assert [status.penalties for status in second.connections()] == [0]
        nursery.cancel_scope.cancel()


# The muxer.


@identities
async def test_a_garbled_muxer_costs_only_its_connection(identity: bytes) -> None:
    async with open_scene() as scene:
        await hostile.garble_muxer(scene.target, identity)
        await scene.check()


async def test_a_flood_of_streams_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSED_STREAMS_BURST", 2_000)
    async with open_scene() as scene:
        before = resident_bytes()
        async with hostile.attack_as(scene.target, ROGUE) as attacker:
            await hostile.flood_with_streams(attacker, 1_000)
            streams = [item.streams for item in scene.node.connections() if item.id_key == key(ROGUE)]
            assert max(streams) <= limits.STREAMS_PER_PEER_MAX + 2
        await scene.check()
        assert resident_bytes() - before < MEMORY_BYTES_MAX


async def test_two_that_send_much_to_each_other_both_get_through() -> None:
    async with open_scene() as scene:

        async def push(sender: Libp2pTransport, to: PublicKey) -> None:
            stream = await sender.open_stream(to, "count")
            for _ in range(64):
                await stream.send(bytes(limits.CHUNK_BYTES))
            await stream.send(b"")
            assert await stream.receive(100) == b"%d" % (64 * limits.CHUNK_BYTES)

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(push, scene.honest, scene.node.identity)
                nursery.start_soon(push, scene.node, scene.honest.identity)
