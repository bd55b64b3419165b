"""What every transport promises: the same cases over each adapter."""

import pytest
import trio

from node.ports import GossipMessage, Stream, Transport
from protocol import limits
from protocol.errors import Malformed, RemoteProtocolError, TransportError
from protocol.keys import PublicKey, SigningKey
from tests.contract.transports import ADAPTERS, PATIENCE_S, Adapter, until

REDIALS_S = 4 * limits.REDIAL_FIRST_S

pytestmark = pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)


async def echo(stream: Stream) -> None:
    while (frame := await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)) is not None:
        await stream.send(frame)


def nothing(_first: Transport, _second: Transport) -> None:
    pass


def serve_echo(first: Transport, _second: Transport) -> None:
    first.serve("echo", echo)
    first.serve("public", echo, strangers=True)


async def is_refused(opener: Transport, peer: PublicKey, protocol: str) -> bool:
    """Whether nothing comes back on `protocol`."""
    try:
        stream = await opener.open_stream(peer, protocol)
        await stream.send(b"anybody?")
        return await stream.receive(100) is None
    except TransportError:
        return True


async def test_frames_come_back_as_they_were_sent_and_in_order(adapter: Adapter) -> None:
    async with adapter.open_members(serve_echo) as (first, second):
        stream = await second.open_stream(first.identity, "echo")
        sent = [b"", b"a", bytes(range(256)) * 1024, b"z" * limits.CHUNK_FRAME_BYTES_MAX]
        for frame in sent:
            await stream.send(frame)
            assert await stream.receive(limits.CHUNK_FRAME_BYTES_MAX) == frame
        assert stream.peer == first.identity
        await stream.aclose()


async def test_a_server_learns_who_asks_and_the_end_of_a_stream_is_none(adapter: Adapter) -> None:
    seen: list[PublicKey] = []

    async def greet(stream: Stream) -> None:
        seen.append(stream.peer)
        await stream.send(b"good day")

    async with adapter.open_members(lambda first, _: first.serve("greet", greet)) as (first, second):
        stream = await second.open_stream(first.identity, "greet")
        assert await stream.receive(100) == b"good day"
        assert await stream.receive(100) is None
        assert seen == [second.identity]


async def test_a_server_reads_the_last_frame_of_a_client_that_closed(adapter: Adapter) -> None:
    received: list[bytes | None] = []

    async def note(stream: Stream) -> None:
        while (frame := await stream.receive(limits.MIB)) is not None:
            received.append(frame)
        received.append(None)

    async with adapter.open_members(lambda first, _: first.serve("note", note)) as (first, second):
        stream = await second.open_stream(first.identity, "note")
        await stream.send(b"x" * 500_000)
        await stream.send(b"last words")
        await stream.aclose()
        await until(lambda: None in received)
        assert received == [b"x" * 500_000, b"last words", None]


async def test_a_frame_over_the_limit_of_its_reader_is_malformed(adapter: Adapter) -> None:
    async with adapter.open_members(serve_echo) as (first, second):
        stream = await second.open_stream(first.identity, "echo")
        await stream.send(b"x" * 101)
        with pytest.raises(Malformed):
            await stream.receive(100)


async def test_a_silent_peer_runs_into_the_deadline_of_its_reader(adapter: Adapter) -> None:
    async with adapter.open_members(serve_echo) as (first, second):
        stream = await second.open_stream(first.identity, "echo")
        with pytest.raises(TransportError):
            await stream.receive(100, 0.01)


async def test_a_reader_cancelled_inside_a_frame_loses_nothing_of_it(adapter: Adapter) -> None:
    async def dawdle(stream: Stream) -> None:
        await stream.receive(100)
        await stream.send(b"late")
        await stream.receive(100)

    async with adapter.open_members(lambda first, _: first.serve("dawdle", dawdle)) as (first, second):
        stream = await second.open_stream(first.identity, "dawdle")
        with trio.move_on_after(0):
            await stream.receive(100)
        await stream.send(b"now")
        assert await stream.receive(100) == b"late"


async def test_nobody_answers_on_a_protocol_that_is_not_served(adapter: Adapter) -> None:
    async with adapter.open_members(nothing) as (first, second):
        assert await is_refused(second, first.identity, "unheard-of")


async def test_an_unknown_peer_cannot_be_reached(adapter: Adapter) -> None:
    async with adapter.open_members(nothing) as (_, second):
        with pytest.raises(TransportError):
            await second.open_stream(SigningKey(b"?" * 32).public, "echo")


async def test_datagrams_reach_a_member_with_the_name_of_their_sender(adapter: Adapter) -> None:
    received: dict[PublicKey, list[bytes]] = {}

    async def take(peer: PublicKey, body: bytes) -> None:
        received.setdefault(peer, []).append(body)

    def prepare(first: Transport, second: Transport) -> None:
        first.serve_datagrams("votes", take, limit=1000)
        second.serve_datagrams("votes", take, limit=1000)

    async with adapter.open_members(prepare) as (first, second):
        for number in range(50):
            second.send(first.identity, "votes", b"%d" % number)
            first.send(second.identity, "votes", b"back %d" % number)
        await until(lambda: sum(map(len, received.values())) == 100)
        assert set(received[second.identity]) == {b"%d" % number for number in range(50)}
        assert set(received[first.identity]) == {b"back %d" % number for number in range(50)}


async def test_a_datagram_to_nobody_is_lost_without_a_word(adapter: Adapter) -> None:
    async with adapter.open_members(nothing) as (_, second):
        second.send(SigningKey(b"?" * 32).public, "votes", b"hello?")


async def test_a_datagram_over_its_limit_is_never_handed_over(adapter: Adapter) -> None:
    received: list[bytes] = []

    async def take(_peer: PublicKey, body: bytes) -> None:
        received.append(body)

    def prepare(first: Transport, _second: Transport) -> None:
        first.serve_datagrams("votes", take, limit=100)

    async with adapter.open_members(prepare) as (first, second):
        second.send(first.identity, "votes", b"x" * 101)
        while not received:
            second.send(first.identity, "votes", b"short")
            await trio.sleep(0.01)
        assert set(received) == {b"short"}


async def test_gossip_reaches_the_other_member_and_not_its_author(adapter: Adapter) -> None:
    inboxes: list[trio.MemoryReceiveChannel[GossipMessage]] = []

    def prepare(first: Transport, second: Transport) -> None:
        inboxes.extend((first.subscribe("blocks"), second.subscribe("blocks")))

    async with adapter.open_members(prepare) as (first, second):
        heard: GossipMessage | None = None
        with trio.fail_after(PATIENCE_S):
            # Until the two know of each other's interest, messages may be lost.
            number = 0
            while heard is None:
                number += 1
                await second.publish("blocks", b"block %d" % number)
                with trio.move_on_after(0.05):
                    heard = await inboxes[0].receive()
        assert (heard.topic, heard.sender) == ("blocks", second.identity)
        assert set(second.subscribers("blocks")) == {first.identity}
        assert not second.subscribers("news")
        assert heard.payload.startswith(b"block")
        await first.publish("blocks", b"an answer")
        with trio.fail_after(PATIENCE_S):
            assert (await inboxes[1].receive()).payload == b"an answer"


async def test_members_are_announced_when_they_connect(adapter: Adapter) -> None:
    announced: list[tuple[str, PublicKey]] = []

    def prepare(first: Transport, second: Transport) -> None:
        first.on_connected(lambda peer: announced.append(("first", peer)))
        second.on_connected(lambda peer: announced.append(("second", peer)))

    async with adapter.open_members(prepare) as (first, second):
        assert set(announced) == {("first", second.identity), ("second", first.identity)}
        assert first.connected() == [second.identity]
        assert second.connected() == [first.identity]


async def test_a_stranger_is_served_only_where_strangers_are_welcome(adapter: Adapter) -> None:
    async with adapter.open_stranger(serve_echo) as (node, stranger):
        stream = await stranger.open_stream(node.identity, "public")
        await stream.send(b"good day")
        assert await stream.receive(100) == b"good day"
        assert await is_refused(stranger, node.identity, "echo")
        await stream.send(b"still here")
        assert await stream.receive(100) == b"still here"


async def test_a_stranger_is_connected_but_not_announced(adapter: Adapter) -> None:
    announced: list[PublicKey] = []
    async with adapter.open_stranger(lambda node, _: node.on_connected(announced.append)) as (
        node,
        stranger,
    ):
        assert node.connected() == [stranger.identity]
        assert announced == []


async def test_datagrams_of_a_stranger_are_not_taken(adapter: Adapter) -> None:
    received: list[bytes] = []

    async def take(_peer: PublicKey, body: bytes) -> None:
        received.append(body)

    def prepare(node: Transport, _stranger: Transport) -> None:
        node.serve_datagrams("votes", take, limit=1000)
        node.serve("public", echo, strangers=True)

    async with adapter.open_stranger(prepare) as (node, stranger):
        stranger.send(node.identity, "votes", b"let me vote")
        await until(lambda: node.identity in stranger.connected())
        stream = await stranger.open_stream(node.identity, "public")
        await stream.send(b"after it")
        assert await stream.receive(100) == b"after it"
        assert received == []


@pytest.mark.parametrize("error", [RemoteProtocolError("nonsense"), ValueError("a bug it provoked")])
async def test_a_handler_that_raises_costs_its_peer_the_stream_and_the_node_goes_on(
    adapter: Adapter, error: Exception
) -> None:
    async def stumble(stream: Stream) -> None:
        await stream.receive(100)
        raise error

    def prepare(first: Transport, second: Transport) -> None:
        serve_echo(first, second)
        first.serve("stumble", stumble)

    async with adapter.open_members(prepare) as (first, second):
        assert await is_refused(second, first.identity, "stumble")
        with trio.fail_after(PATIENCE_S):
            # The peer may have lost its connection with it, and comes back.
            while await is_refused(second, first.identity, "echo"):  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_whoever_is_shut_out_is_dropped_and_does_not_come_back(adapter: Adapter) -> None:
    async with adapter.open_members(serve_echo) as (first, second):
        outcast: set[PublicKey] = set()
        first.shut_out(outcast)
        assert not await is_refused(second, first.identity, "echo")
        outcast.add(second.identity)
        first.drop(second.identity)
        await until(lambda: second.identity not in first.connected())
        # It dials again and again; none of that makes it a peer, not even as a stranger.
        with trio.move_on_after(REDIALS_S):
            await until(lambda: second.identity in first.connected())
        assert second.identity not in first.connected()
        assert await is_refused(second, first.identity, "public")
