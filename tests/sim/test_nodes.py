"""Nodes crash as machines do: at once, with what was synced kept, and never with a second memory."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from node.ports import Ports, TaskStatus
from protocol.blocks import Genesis
from protocol.errors import StorageError
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, Seat
from tests.sim.world import Violation, World, simulate

Scene = Callable[[Cluster], Awaitable[None]]


class Writer:
    """Writes a number a second to the ledger, to the vote file as well, and syncs every third."""

    def __init__(self, ports: Ports, genesis: Genesis, seat: Seat) -> None:
        self.ports = ports
        self.found = [key for key, _ in ports.ledger_store.iterate(b"")]
        assert ports.votes is not None
        self.vote = ports.votes.load()
        self.word = ports.entropy.bytes(8)

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        number = len(self.found)
        while True:
            await trio.sleep(1)
            number += 1
            key = b"%04d" % number
            self.ports.ledger_store.write([(key, b"")], sync=number % 3 == 0)
            assert self.ports.votes is not None
            self.ports.votes.save(key)


def play(scene: Scene, *, seed: int = 1) -> World:
    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, SimNetwork(world), nursery, Writer, size=4)
            cluster.start()
            await scene(cluster)
            cluster.stop()

    return simulate(story, seed)


def writer(cluster: Cluster) -> Writer:
    life = cluster.nodes[0].life
    assert life is not None
    assert isinstance(life.service, Writer)
    return life.service


def test_a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() -> None:
    kept: set[int] = set()

    async def scene(cluster: Cluster) -> None:
        await trio.sleep(5.5)
        cluster.nodes[0].crash()
        cluster.nodes[0].start()
        await trio.sleep(0.5)
        after = writer(cluster)
        assert after.found == [b"%04d" % number for number in range(1, len(after.found) + 1)]
        assert after.vote == b"0005"
        kept.add(len(after.found))

    for seed in range(20):
        play(scene, seed=seed)
    assert kept == {3, 4, 5}


def test_a_node_draws_other_random_bytes_in_each_life() -> None:
    async def scene(cluster: Cluster) -> None:
        await trio.sleep(1)
        before = writer(cluster).word
        cluster.nodes[0].crash()
        cluster.nodes[0].start()
        await trio.sleep(1)
        assert writer(cluster).word != before

    play(scene)


@pytest.mark.parametrize(("writes", "after", "found"), [(5, False, 2), (5, True, 3), (6, False, 3)])
def test_the_power_fails_inside_a_write_before_or_after_its_effect(
    writes: int, after: bool, found: int
) -> None:
    """Writes alternate between ledger and vote file, so the fifth is the third of the ledger, synced."""

    async def scene(cluster: Cluster) -> None:
        node, restarts = cluster.nodes[0], list[int]()
        await trio.sleep(0.5)
        node.crash_in_write(writes, after=after, then=lambda: restarts.append(1))
        await trio.sleep(5)
        assert restarts == [1]
        assert not node.is_up
        node.start()
        await trio.sleep(0.5)
        vote = writer(cluster).vote
        assert vote == b"0002"
        assert len(writer(cluster).found) <= found
        if after or writes == 6:
            assert len(writer(cluster).found) == found

    play(scene)


def test_a_failing_disk_ends_the_node_and_that_is_no_finding() -> None:
    async def scene(cluster: Cluster) -> None:
        await trio.sleep(0.5)
        cluster.nodes[0].fail_disk(2)
        await trio.sleep(10)
        assert not cluster.nodes[0].is_up
        cluster.nodes[0].start()
        await trio.sleep(5)
        assert cluster.nodes[0].is_up

    play(scene)


def test_a_node_that_ends_by_itself_is_a_finding() -> None:
    async def scene(cluster: Cluster) -> None:
        await trio.sleep(0.5)
        cluster.nodes[0].disk.ledger.close()
        await trio.sleep(10)

    with pytest.raises(Violation, match="alive") as raised:
        play(scene)
    assert StorageError.__name__ in str(raised.value)


def test_wall_clocks_drift_and_can_be_set_wrong_while_elapsed_time_is_right() -> None:
    async def scene(cluster: Cluster) -> None:
        clock = cluster.nodes[0].clock
        wall_ms, elapsed_ms = clock.wall_ms(), clock.elapsed_ms()
        clock.drift_ppm = 200
        await trio.sleep(1_000)
        clock.step(-5_000)
        assert clock.wall_ms() - wall_ms == 1_000_000 + 200 - 5_000
        assert clock.elapsed_ms() - elapsed_ms == 1_000_000

    play(scene)
