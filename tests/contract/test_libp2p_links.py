"""The connections of the libp2p adapter: budgets, room, coming and going."""

import functools

import pytest
import trio

from node.net.libp2p_host import Libp2pTransport
from node.ports import GossipMessage, PeerAddress
from protocol import limits
from protocol.errors import Code, TransportError, UserError
from protocol.keys import PublicKey
from tests.contract.libp2p_scene import HONEST, PREFIX, ROGUE, STRANGER, key, open_scene
from tests.contract.transports import LOOPBACK, PATIENCE_S, address_of, libp2p_transport, seed, until
from tests.e2e import hostile

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
        assert await attacker.open_protocol(PREFIX + "public/1") is None
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


async def test_a_member_that_was_away_and_dials_nobody_is_dialled_again() -> None:
    first = libp2p_transport("a")
    listen = LOOPBACK
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        for _ in range(2):
            second = libp2p_transport("b", listen=[listen], members=[PeerAddress(first.identity)])
            async with trio.open_nursery() as life:
                await life.start(second.run)
                listen = second.listening[0]
                first.set_members([address_of(second)])
                await until(lambda: bool(first.connected()))
                life.cancel_scope.cancel()
            await until(lambda: not first.connected())
        nursery.cancel_scope.cancel()


async def test_two_that_dial_each_other_at_once_keep_one_connection() -> None:
    first, second = libp2p_transport("a", listen=[LOOPBACK]), libp2p_transport("b", listen=[LOOPBACK])
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        await nursery.start(second.run)
        first.set_members([address_of(second)])
        second.set_members([address_of(first)])
        await until(lambda: bool(first.connected()) and bool(second.connected()))
        await until(lambda: len(first.connections()) == len(second.connections()) == 1)
        assert {first.connections()[0].direction, second.connections()[0].direction} == {"in", "out"}
        nursery.cancel_scope.cancel()


async def test_a_second_connection_of_a_member_replaces_its_first() -> None:
    async with (
        open_scene() as scene,
        hostile.attack_as(scene.target, ROGUE) as old,
        hostile.attack_as(scene.target, ROGUE) as new,
    ):
        assert await old.is_cut()
        assert await new.open_protocol(PREFIX + "echo/1")
        await scene.check()


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4001",
        "/tcp/4001",
        "/ip4/300.0.0.1/tcp/4001",
        "/ip4/127.0.0.1/udp/1",
        "/ip4/127.0.0.1/tcp/99999",
        "/unix/tmp/tcp/1",
        "/dns4/nobody.invalid/tcp/1",
        f"/dns/{'a' * 100}/tcp/1",
        "/dns/\u00e9..x\x00/tcp/1",
    ],
)
async def test_a_card_with_an_address_that_leads_nowhere_stops_nobody(text: str) -> None:
    async with open_scene() as scene, trio.open_nursery() as nursery:
        guest = libp2p_transport("guest", members=[address_of(scene.node)])
        await nursery.start(guest.run)
        guest.set_members([PeerAddress(key(HONEST), (text,)), address_of(scene.node)])
        await until(lambda: scene.node.identity in guest.connected())
        with pytest.raises(TransportError):
            await guest.open_stream(key(HONEST), "public")
        assert guest.connected() == [scene.node.identity]
        nursery.cancel_scope.cancel()


async def test_a_peer_under_another_identity_than_expected_is_not_connected() -> None:
    async with open_scene() as scene, trio.open_nursery() as nursery:
        wrong = PeerAddress(key(seed("somebody else")), scene.node.listening)
        guest = libp2p_transport("guest", members=[wrong])
        await nursery.start(guest.run)
        with pytest.raises(TransportError):
            await guest.open_stream(wrong.id_key, "public")
        assert guest.connected() == []
        nursery.cancel_scope.cancel()
