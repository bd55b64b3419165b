"""The guards of the libp2p adapter, against the inputs that break it without them.

After every attack the node must be the same process, answer an honest member and be connected to it.
"""

import functools
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing

from node.net.libp2p_host import Libp2pTransport, PeerAddress
from node.ports import GossipMessage, Stream, TaskStatus
from protocol import limits
from protocol.errors import Code, LocalProtocolError, TransportError, UserError
from protocol.keys import PublicKey, SigningKey
from tests.contract.transports import (
    LOOPBACK,
    NETWORK,
    PATIENCE_S,
    address_of,
    libp2p_transport,
    seed,
    until,
)
from tests.e2e import hostile
from tests.e2e.hostile import Target

HONEST, ROGUE, STRANGER = seed("honest"), seed("rogue member"), seed("stranger")
PREFIX = f"/chartmesh/{NETWORK.hex()[:16]}/"
MEMORY_BYTES_MAX = 64 * limits.MIB

identities = pytest.mark.parametrize("identity", [ROGUE, STRANGER], ids=["member", "stranger"])


@dataclass
class Scene:
    """A node, an honest member connected to it, and the node as attackers see it."""

    node: Libp2pTransport
    honest: Libp2pTransport
    target: Target

    async def check(self) -> None:
        """An honest request is answered, on a new stream, over the connection that was there before."""
        assert self.honest.identity in self.node.connected()
        with trio.fail_after(PATIENCE_S):
            stream = await self.honest.open_stream(self.node.identity, "echo")
            await stream.send(b"how are you?")
            assert await stream.receive(100) == b"how are you?"
            await stream.aclose()


async def echo(stream: Stream) -> None:
    while (frame := await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)) is not None:
        await stream.send(frame)


async def count(stream: Stream) -> None:
    """Says how many bytes came before an empty frame."""
    total = 0
    while frame := await stream.receive(limits.CHUNK_FRAME_BYTES_MAX):
        total += len(frame)
    await stream.send(b"%d" % total)


async def sulk(stream: Stream) -> None:
    """Never reads."""
    await trio.sleep_forever()


def key(of: bytes) -> PublicKey:
    return SigningKey(of).public


def target_of(node: Libp2pTransport) -> Target:
    return Target("127.0.0.1", int(node.listening[0].rpartition("/")[2]), node.identity)


@asynccontextmanager
async def open_scene(
    prepare: Callable[[Libp2pTransport], object] = lambda node: None,
    *,
    connections_max: int = limits.CONNECTIONS_MAX,
) -> AsyncIterator[Scene]:
    members = [PeerAddress(key(HONEST)), PeerAddress(key(ROGUE))]
    node = libp2p_transport("node", listen=[LOOPBACK], members=members, connections_max=connections_max)
    honest = libp2p_transport("honest")
    node.serve("echo", echo)
    node.serve("public", echo, strangers=True)
    node.subscribe("blocks")
    honest.subscribe("blocks")
    for transport in (node, honest):
        transport.serve("count", count)
    prepare(node)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        honest.set_members([address_of(node)])
        await nursery.start(honest.run)
        await until(lambda: honest.identity in node.connected())
        yield Scene(node, honest, target_of(node))
        nursery.cancel_scope.cancel()


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


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
            taken: list[int] = []

            async def stream_line() -> None:
                taken.append(await hostile.stream_endless_line(scene.target, octets=256 * limits.MIB))

            for _ in range(8):
                nursery.start_soon(stream_line)
        assert max(taken) < 32 * limits.MIB  # what the sockets' buffers hold
        assert resident_bytes() - before < MEMORY_BYTES_MAX
        await scene.check()


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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attacker.answer_streams, answer)
            with pytest.raises(TransportError):
                await scene.node.open_stream(key(ROGUE), "echo")
            nursery.cancel_scope.cancel()
        await scene.check()


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


async def test_strangers_do_not_gossip() -> None:
    async with open_scene() as scene:
        assert not await hostile.send_on(
            scene.target, STRANGER, hostile.MESHSUB, hostile.malformed_gossip()
        )
        await scene.check()


# The muxer.


@identities
async def test_a_garbled_muxer_costs_only_its_connection(identity: bytes) -> None:
    async with open_scene() as scene:
        await hostile.garble_muxer(scene.target, identity)
        await scene.check()


@identities
async def test_a_flood_of_streams_is_bounded(identity: bytes) -> None:
    async with open_scene() as scene:
        before = resident_bytes()
        await hostile.flood_with_streams(scene.target, identity, 2_000)
        await scene.check()
        assert resident_bytes() - before < MEMORY_BYTES_MAX


async def test_a_peer_that_overruns_its_window_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEER_BUFFER_BYTES_MAX", 4 * limits.MIB)
    async with open_scene(lambda node: node.serve("sulk", sulk)) as scene:
        assert await hostile.overrun_window(scene.target, ROGUE, PREFIX + "sulk/1", 8 * limits.MIB)
        await scene.check()


async def test_two_that_send_much_to_each_other_do_not_block_each_other() -> None:
    async with open_scene() as scene:

        async def push(sender: Libp2pTransport, to: PublicKey) -> None:
            stream = await sender.open_stream(to, "count")
            for _ in range(64):
                await stream.send(bytes(limits.CHUNK_BYTES))
            await stream.send(b"")
            assert await stream.receive(100) == b"%d" % (64 * limits.CHUNK_BYTES)
            done.append(to)

        done: list[PublicKey] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, scene.honest, scene.node.identity)
            nursery.start_soon(push, scene.node, scene.honest.identity)
            while len(done) < 2:  # each check opens a stream, to be answered in the midst of it
                await scene.check()


async def test_a_peer_that_takes_no_bytes_does_not_hold_up_the_end_of_service() -> None:
    async def pour(stream: Stream) -> None:
        while True:
            await stream.send(bytes(limits.CHUNK_BYTES))

    with trio.fail_after(limits.WRITE_S / 2):
        async with (
            open_scene(lambda node: node.serve("pour", pour)) as scene,
            hostile.attack_as(scene.target, ROGUE) as attacker,
        ):
            stream = await attacker.open_protocol(PREFIX + "pour/1")
            assert stream is not None
            # With all the credit there is, only the socket holds the node back.
            await attacker.frame(hostile.WINDOW, 0, stream, length=1 << 30)
            await trio.testing.wait_all_tasks_blocked(0.1)


# Budgets.


async def test_a_stranger_over_its_budget_of_requests_is_dropped() -> None:
    async with open_scene() as scene, hostile.attack_as(scene.target, STRANGER) as attacker:
        stream = await attacker.open_protocol(PREFIX + "public/1")
        assert stream is not None
        await attacker.frame(hostile.DATA, 0, stream, b"\x00\x00\x00\x01x" * 10_000)
        assert await attacker.is_cut()
        await scene.check()


async def test_a_member_has_no_budget_of_requests() -> None:
    async with open_scene() as scene:
        stream = await scene.honest.open_stream(scene.node.identity, "public")
        for _ in range(10 * limits.STRANGER_REQUESTS_BURST):
            await stream.send(b"again")
            assert await stream.receive(100) == b"again"


async def test_a_stranger_may_hold_so_many_streams_and_no_more() -> None:
    async with open_scene() as scene, hostile.attack_as(scene.target, STRANGER) as attacker:
        for _ in range(limits.STRANGER_STREAMS_MAX):
            assert await attacker.open_protocol(PREFIX + "public/1")
        one_too_many = await attacker.open()
        while True:
            _, flags, stream, _ = await attacker.read_frame()
            if stream == one_too_many and flags & hostile.RST:
                break
        await scene.check()


async def test_strangers_leave_room_for_members() -> None:
    async with open_scene(connections_max=8) as scene, trio.open_nursery() as nursery:
        names = [seed(f"stranger {number}") for number in range(6)]
        refused: list[bytes] = []

        async def loiter(name: bytes) -> None:
            try:
                async with hostile.attack_as(scene.target, name) as attacker:
                    await attacker.is_cut()
                    refused.append(name)
            except hostile.GONE:
                refused.append(name)

        for name in names:
            nursery.start_soon(loiter, name)
        await until(lambda: len(refused) == 2)
        async with hostile.attack_as(scene.target, ROGUE) as member:
            assert await member.open_protocol(PREFIX + "echo/1")
        assert len(scene.node.connected()) >= 5
        nursery.cancel_scope.cancel()


async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    async with open_scene(connections_max=8) as scene:
        for number in range(24):
            await hostile.connect_and_leave(scene.target, seed(f"visitor {number}"))
        await until(lambda: scene.node.connected() == [scene.honest.identity])
        for _ in range(12):
            await hostile.connect_and_leave(scene.target, ROGUE)
        await until(lambda: scene.node.handshakes() == 0)
        await scene.check()


# Life cycle.


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_whoever_restarts_is_back_and_is_heard_again(names: tuple[str, str]) -> None:
    """One of the two has the smaller key; each restarts once."""
    received: list[bytes] = []

    async def take(_peer: PublicKey, body: bytes) -> None:
        received.append(body)

    def make(name: str, listen: str, other: PeerAddress) -> Libp2pTransport:
        transport = libp2p_transport(name, listen=[listen], members=[other])
        transport.serve_datagrams("votes", take, limit=100)
        return transport

    stays = make(names[0], LOOPBACK, PeerAddress(key(seed(names[1]))))
    inbox = stays.subscribe("blocks")
    async with trio.open_nursery() as nursery:
        await nursery.start(stays.run)
        listen = LOOPBACK
        for life in range(3):
            goes = make(names[1], listen, address_of(stays))
            goes.subscribe("blocks")
            async with trio.open_nursery() as life_nursery:
                await life_nursery.start(goes.run)
                listen = goes.listening[0]
                stays.set_members([address_of(goes)])
                await until(lambda goes=goes: goes.identity in stays.connected())  # type: ignore[misc]
                await until(functools.partial(_sends, stays, goes.identity, b"to %d" % life, received))
                await until(functools.partial(_sends, goes, stays.identity, b"from %d" % life, received))
                await _gossip_until_heard(goes, inbox, b"block %d" % life)
                life_nursery.cancel_scope.cancel()
            await until(lambda: not stays.connected())
        nursery.cancel_scope.cancel()


def _sends(sender: Libp2pTransport, to: PublicKey, body: bytes, received: list[bytes]) -> bool:
    sender.send(to, "votes", body)
    return body in received


async def _gossip_until_heard(
    author: Libp2pTransport, inbox: trio.MemoryReceiveChannel[GossipMessage], text: bytes
) -> None:
    with trio.fail_after(PATIENCE_S):
        number = 0
        while True:
            number += 1
            await author.publish("blocks", text + b" %d" % number)
            with trio.move_on_after(0.05):
                if (await inbox.receive()).payload.startswith(text):
                    return


async def test_two_that_dial_each_other_at_once_keep_one_connection() -> None:
    first, second = libp2p_transport("a", listen=[LOOPBACK]), libp2p_transport("b", listen=[LOOPBACK])
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        await nursery.start(second.run)
        for _ in range(5):
            first.set_members([address_of(second)])
            second.set_members([address_of(first)])
            await until(lambda: bool(first.connected()) and bool(second.connected()))
            await until(lambda: len(first.connections()) == len(second.connections()) == 1)
            assert {first.connections()[0].direction, second.connections()[0].direction} == {"in", "out"}
            first.set_members([])
            second.set_members([])
            await until(lambda: not first.connected() and not second.connected())
        nursery.cancel_scope.cancel()


async def test_an_end_of_service_closes_the_connections() -> None:
    async with open_scene() as scene:
        async with trio.open_nursery() as nursery:
            guest = libp2p_transport("guest", members=[address_of(scene.node)])
            await nursery.start(guest.run)
            await until(lambda: guest.identity in scene.node.connected())
            nursery.cancel_scope.cancel()
        await until(lambda: guest.identity not in scene.node.connected())


async def test_a_member_that_is_struck_off_is_a_stranger_from_then_on() -> None:
    async with open_scene() as scene:
        scene.node.set_members([PeerAddress(key(ROGUE))])
        await until(lambda: not scene.node.connections() or scene.node.connections()[0].streams == 0)
        await until(lambda: scene.honest.identity in scene.node.connected())
        with pytest.raises(TransportError):
            await scene.honest.open_stream(scene.node.identity, "echo")


async def test_a_port_in_use_is_said_so() -> None:
    async with open_scene() as scene:
        other = libp2p_transport("other", listen=list(scene.node.listening))
        with pytest.raises(UserError) as caught:
            await other.run()
        assert caught.value.code == Code.PORT_IN_USE
        assert caught.value.hint


@pytest.mark.parametrize("text", ["4001", "/ip4/300.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/1"])
async def test_a_wrong_address_is_a_config_error(text: str) -> None:
    with pytest.raises(UserError) as caught:
        libp2p_transport("other", members=[PeerAddress(key(HONEST), (text,))])
    assert caught.value.code == Code.CONFIG


async def test_a_peer_under_another_identity_than_expected_is_not_connected() -> None:
    async with open_scene() as scene, trio.open_nursery() as nursery:
        wrong = PeerAddress(key(seed("somebody else")), scene.node.listening)
        guest = libp2p_transport("guest", members=[wrong])
        await nursery.start(guest.run)
        with pytest.raises(TransportError):
            await guest.open_stream(wrong.id_key, "public")
        assert guest.connected() == []
        nursery.cancel_scope.cancel()
