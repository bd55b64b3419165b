"""The simulated network keeps its promises: what is lost, what is late, what breaks, who gets in."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.ports import Stream
from protocol import limits
from protocol.codec import digest
from protocol.errors import Malformed, StorageError, TransportError
from protocol.keys import PublicKey, SigningKey
from tests.sim.links import Weather
from tests.sim.network import SimNetwork
from tests.sim.transport import SimTransport
from tests.sim.world import Violation, World, simulate

A, B, C, D, STRANGER = (SigningKey(digest("test", bytes((at,)))).public for at in range(5))
MEMBERS = (A, B, C, D)
Scene = Callable[["Place"], Awaitable[None]]


class Place:
    """Four members and a stranger who knows A, all on the network, and what they received."""

    def __init__(self, world: World, weather: Weather, nursery: trio.Nursery) -> None:
        self.world, self.nursery = world, nursery
        self.network = SimNetwork(world, weather)
        self.got: list[tuple[PublicKey, PublicKey, bytes]] = []
        self.ups: list[tuple[PublicKey, PublicKey]] = []
        self.error: Exception | None = None
        self.transports: dict[PublicKey, SimTransport] = {}
        for name, key in zip("abcds", (*MEMBERS, STRANGER), strict=True):
            self.network.name(key, name)
            self.add(key)

    def add(self, key: PublicKey) -> SimTransport:
        dials = [A] if key == STRANGER else [peer for peer in MEMBERS if peer != key]
        transport = SimTransport(self.network, key, members=MEMBERS, dials=dials)

        async def receive(peer: PublicKey, payload: bytes) -> None:
            if self.error is not None:
                raise self.error
            self.got.append((peer, key, payload))

        transport.serve_datagrams("test", receive, limit=100)
        transport.serve("echo", echo)
        transport.serve("open", echo, strangers=True)
        transport.on_connected(lambda peer: self.ups.append((key, peer)))
        self.transports[key] = transport
        return transport

    async def start(self) -> None:
        for transport in self.transports.values():
            await self.nursery.start(transport.run)
        await trio.sleep(10)

    def got_at(self, receiver: PublicKey) -> list[bytes]:
        return [payload for _, to, payload in self.got if to == receiver]


async def send_and_receive(stream: Stream, frame: bytes, *, times: int = 1) -> list[bytes | None]:
    """The replies to `frame`, sent so many times."""
    for _ in range(times):
        await stream.send(frame)
    return [await stream.receive(1_000) for _ in range(times)]


async def echo(stream: Stream) -> None:
    while (frame := await stream.receive(1_000)) is not None:
        await stream.send(frame)


def play(scene: Scene, weather: Weather | None = None, *, seed: int = 1) -> Place:
    """Starts the place, plays the scene, and returns the place with what happened in it."""
    places: list[Place] = []

    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            place = Place(world, weather or Weather(doubled=0, straggler=0), nursery)
            places.append(place)
            await place.start()
            await scene(place)
            nursery.cancel_scope.cancel()

    simulate(story, seed)
    return places[0]


async def send_hundred(place: Place) -> None:
    for number in range(100):
        place.transports[A].send(B, "test", bytes((number,)))
    await trio.sleep(5)


def test_datagrams_arrive_once_and_overtake_each_other() -> None:
    got = play(send_hundred).got_at(B)
    assert sorted(got) == [bytes((number,)) for number in range(100)]
    assert got != sorted(got)


def test_lossy_links_lose_about_their_share_and_doubling_links_double() -> None:
    assert 40 <= len(play(send_hundred, Weather(loss=0.4, doubled=0)).got_at(B)) <= 80
    assert len(play(send_hundred, Weather(doubled=1.0)).got_at(B)) == 200


def test_a_full_inbox_loses_and_says_so_in_the_trace() -> None:
    async def flood(place: Place) -> None:
        for number in range(5_000):
            place.transports[A].send(B, "test", number.to_bytes(2, "big"))
        await trio.sleep(5)

    place = play(flood, Weather(fixed=True, doubled=0, straggler=0))
    assert 0 < len(place.got_at(B)) < 5_000
    assert "overflow" in {line.split()[1] for line in place.world.trace.tail().splitlines()}


def test_connections_come_up_once_for_each_member_and_strangers_are_not_announced() -> None:
    async def nothing(place: Place) -> None:
        assert place.transports[A].connected() == sorted((B, C, D, STRANGER))
        assert place.transports[STRANGER].connected() == [A]

    ups = play(nothing).ups
    expected = [(one, two) for one in MEMBERS for two in MEMBERS if one != two]
    assert sorted(ups) == sorted([*expected, (STRANGER, A)])


def test_a_cut_loses_datagrams_and_a_heal_connects_again_and_tells_both() -> None:
    async def scene(place: Place) -> None:
        place.network.set_cuts([(A, B), (B, A)])
        place.ups.clear()
        place.transports[A].send(B, "test", b"lost")
        await trio.sleep(10)
        assert B not in place.transports[A].connected()
        place.network.set_cuts([])
        await trio.sleep(10)
        assert sorted(place.ups) == sorted([(A, B), (B, A)])
        place.transports[A].send(B, "test", b"there")
        await trio.sleep(1)

    assert play(scene).got_at(B) == [b"there"]


def test_a_one_way_cut_lets_datagrams_pass_the_other_way() -> None:
    async def scene(place: Place) -> None:
        place.network.set_cuts([(A, B)])
        await trio.sleep(10)
        place.transports[A].send(B, "test", b"lost")
        place.transports[B].send(A, "test", b"heard")
        with pytest.raises(TransportError):
            await place.transports[B].open_stream(A, "echo")

    async def scene_and_wait(place: Place) -> None:
        await scene(place)
        await trio.sleep(1)

    place = play(scene_and_wait)
    assert (place.got_at(A), place.got_at(B)) == ([b"heard"], [])


def test_a_clogged_link_holds_everything_and_lets_it_through_later() -> None:
    async def scene(place: Place) -> None:
        link = place.network.link(A, B)
        link.clog()
        place.transports[A].send(B, "test", b"late")
        await trio.sleep(60)
        assert place.got == []
        link.unclog()
        await trio.sleep(1)

    assert play(scene).got_at(B) == [b"late"]


def test_streams_keep_order_and_end_after_what_was_sent() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[A].open_stream(B, "echo")
        frames = [bytes((number,)) for number in range(50)]
        for frame in frames:
            await stream.send(frame)
        await stream.aclose()
        assert [await stream.receive(10) for _ in frames] == frames
        assert await stream.receive(10) is None

    play(scene, Weather(straggler=0.2))


def test_a_crash_breaks_streams_without_a_farewell() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[A].open_stream(B, "echo")
        place.transports[B].power_off()
        with pytest.raises(TransportError):
            await stream.receive(10, 60)

    play(scene)


def test_a_partition_breaks_streams() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[A].open_stream(B, "echo")
        place.network.set_cuts([(A, B), (B, A)])
        await stream.send(b"into the void")
        with pytest.raises(TransportError):
            await stream.receive(10, 60)

    play(scene)


def test_random_resets_break_streams() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[A].open_stream(B, "echo")
        place.network.weather.stream_reset = 1.0
        with pytest.raises(TransportError):
            await send_and_receive(stream, b"x")

    play(scene)


def test_a_frame_over_its_limit_is_malformed_and_a_silent_peer_times_out() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[A].open_stream(B, "echo")
        await stream.send(bytes(11))
        with pytest.raises(Malformed):
            await stream.receive(10)
        silent = await place.transports[A].open_stream(B, "echo")
        with pytest.raises(TransportError):
            await silent.receive(10, 3)

    play(scene)


def test_a_peer_that_does_not_read_stops_the_writer() -> None:
    async def scene(place: Place) -> None:
        async def sleep(stream: Stream) -> None:
            await trio.sleep_forever()

        place.transports[B].serve("sleep", sleep)
        stream = await place.transports[A].open_stream(B, "sleep")
        with pytest.raises(TransportError):
            await send_and_receive(stream, bytes(limits.MIB // 4), times=100)

    play(scene)


def test_strangers_reach_only_what_is_open_to_them() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[STRANGER].open_stream(A, "open")
        await stream.send(b"hello")
        assert await stream.receive(10) == b"hello"
        with pytest.raises(TransportError):
            await place.transports[STRANGER].open_stream(A, "echo")
        place.transports[STRANGER].send(A, "test", b"nobody asked")
        await trio.sleep(1)

    assert play(scene).got == []


def test_a_stranger_over_its_budget_is_dropped() -> None:
    async def scene(place: Place) -> None:
        stream = await place.transports[STRANGER].open_stream(A, "open")
        with pytest.raises(TransportError):
            await send_and_receive(stream, b"again", times=limits.STRANGER_REQUESTS_BURST + 100)

    play(scene)


def test_an_unknown_protocol_and_an_absent_peer_are_transport_errors() -> None:
    async def scene(place: Place) -> None:
        with pytest.raises(TransportError):
            await place.transports[A].open_stream(B, "nonsense")
        with pytest.raises(TransportError):
            await place.transports[B].open_stream(STRANGER, "echo")

    play(scene)


def test_gossip_reaches_all_subscribers_but_the_author_also_over_a_bridge() -> None:
    heard: list[PublicKey] = []

    async def scene(place: Place) -> None:
        channels = {key: place.transports[key].subscribe("news") for key in MEMBERS}
        place.network.set_cuts([(A, C), (C, A), (A, D), (D, A)])
        await trio.sleep(10)
        await place.transports[A].publish("news", b"hear")
        await trio.sleep(1)
        for key, channel in channels.items():
            for _ in range(channel.statistics().current_buffer_used):
                message = channel.receive_nowait()
                assert (message.sender, message.payload) == (A, b"hear")
                heard.append(key)

    play(scene)
    assert heard == [B, C, D]


def test_an_honest_peers_message_that_fails_a_node_is_a_finding() -> None:
    async def scene(place: Place) -> None:
        place.error = ValueError("bug")
        await send_hundred(place)

    with pytest.raises(Violation, match="guard"):
        play(scene)


def test_a_malformed_message_costs_the_sender_its_connection_for_a_while() -> None:
    async def scene(place: Place) -> None:
        place.ups.clear()
        place.error = Malformed("bad")
        place.transports[A].send(B, "test", b"x")
        await trio.sleep(10)
        assert sorted(place.ups) == sorted([(A, B), (B, A)])

    play(scene)


def test_a_failing_store_in_a_service_ends_the_node() -> None:
    async def scene(place: Place) -> None:
        place.error = StorageError("full")
        place.transports[A].send(B, "test", b"x")
        await trio.sleep(1)

    with pytest.raises(ExceptionGroup) as raised:
        play(scene)
    assert raised.group_contains(StorageError)
