"""The disk fails at the k-th operation, for every k until a run has no fault left.

One clinic of four has its ledger database, or its vote file, fail at one call and at all after it. It
must end or fall silent by itself; a restart on what is on the disk then gives back all that was
acknowledged.
"""

from itertools import count

import pytest
import trio

from tests.sim.clients import Client, Told
from tests.sim.invariants import check_acknowledged, check_converged
from tests.sim.ledger_story import build_ledger
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.peace import PEACE_S
from tests.sim.watch import Watch
from tests.sim.world import World, simulate

WORK_S = 12
DOWN_S = 1.0


class Scene:
    """A run in which one part of the victim's disk fails at call `call`; `struck` says whether it did."""

    def __init__(self, part: str, call: int) -> None:
        self._part, self._call = part, call
        self.struck = False

    async def __call__(self, world: World) -> None:
        async with trio.open_nursery() as nursery:
            cluster = Cluster(world, SimNetwork(world), nursery, build_ledger, size=4)
            victim, told, watch = cluster.nodes[0], Told(), Watch(cluster)
            client = Client(cluster, world.dice("client"), told, asks=[victim])
            disk, victim.is_disk_failing = victim.disk, True
            part = disk.votes if self._part == "votes" else disk.ledger
            part.fail_at(self._call)
            cluster.start()
            watch.look()
            nursery.start_soon(client.run)
            await trio.sleep(WORK_S)
            calls = disk.votes.saves if self._part == "votes" else disk.ledger.calls
            self.struck = calls >= self._call
            victim.crash()
            client.stop()
            await trio.sleep(DOWN_S)
            victim.start()
            await peace(cluster, watch, told)
            cluster.stop()
            nursery.cancel_scope.cancel()


async def peace(cluster: Cluster, watch: Watch, told: Told) -> None:
    """All that was acknowledged is final everywhere, at the height that was told."""
    with trio.move_on_after(PEACE_S):
        while told.waiting or len({watch.head(node) for node in cluster.nodes}) > 1:
            await trio.sleep(0.5)
            watch.look_once()
    assert not told.waiting, "what was acknowledged did not become final"
    check_converged({node.name: watch.head(node) for node in cluster.nodes})
    check_acknowledged(told.final, {node.name: watch.chain(node) for node in cluster.nodes})


@pytest.mark.parametrize("part", ["ledger", "votes"])
def test_a_disk_that_fails_at_any_call_loses_nothing_that_was_acknowledged(part: str) -> None:
    for call in count(1):
        scene = Scene(part, call)
        try:
            simulate(scene, 1)
        except BaseException as error:
            error.add_note(f"{part} failed at call {call}")
            raise
        if not scene.struck:
            break
    assert call > 10, "the fault never struck"
