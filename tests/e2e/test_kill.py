"""Clinics killed with -9, or stopped for a while, under load: nothing acknowledged is lost, and nobody
votes twice."""

import os
import random
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from node.adapters import SystemClock
from node.bench.workload import Workload
from node.demo.stage import Actor
from protocol import limits
from protocol.blocks import Phase
from protocol.keys import SigningKey
from tests.e2e.clinics import keys_of, until
from tests.e2e.witness import Scene, three_daemons_and_a_witness

ROUNDS = 5
BETWEEN = 24  # transactions acknowledged before each kill, and again before the restart
FAR_MS = 365 * limits.DAY_MS
PATIENCE_S = 30.0


Act = Callable[[Scene, Sequence[Actor]], Awaitable[None]]


async def kill_and_restart(scene: Scene, victims: Sequence[Actor]) -> None:
    """Where two are down, the view that they were killed in is still open when they come back."""
    for victim in victims:
        send_signal(victim, signal.SIGKILL)
    await scene.wait_acknowledged(BETWEEN)
    async with trio.open_nursery() as starting:
        for victim in victims:
            starting.start_soon(victim.ask, "start")


async def stop_and_continue(scene: Scene, victims: Sequence[Actor]) -> None:
    """They wake up to clocks that went on, timers that are over, and all that was said meanwhile."""
    for victim in victims:
        send_signal(victim, signal.SIGSTOP)
    try:
        await scene.wait_acknowledged(BETWEEN)
    finally:
        for victim in victims:
            send_signal(victim, signal.SIGCONT)


def send_signal(victim: Actor, number: signal.Signals) -> None:
    pid = victim.pid()
    assert pid is not None
    os.kill(pid, number)


@pytest.mark.parametrize("act", [kill_and_restart, stop_and_continue])
async def test_clinics_that_fall_or_freeze_under_load_lose_nothing_and_vote_once(
    tmp_path: Path, act: Act
) -> None:
    seed = int(os.environ.get("CHARTMESH_KILL_SEED") or random.randrange(2**32))
    print(f"CHARTMESH_KILL_SEED={seed}")
    dice = random.Random(seed)
    async with three_daemons_and_a_witness(tmp_path) as scene:
        issuers = [SigningKey(keys_of(actor).identity_seed) for actor in scene.stage.clinics.values()]
        far_ms = SystemClock().wall_ms() + FAR_MS
        workload = Workload(scene.clinic.network, issuers, not_after_ms=far_ms)
        async with trio.open_nursery() as load:
            for target in scene.daemons:
                load.start_soon(scene.load, target, workload)
            for _ in range(ROUNDS):
                await scene.wait_acknowledged(BETWEEN)
                await act(scene, dice.sample(list(scene.daemons.values()), dice.choice((1, 2, 2, 2))))
            await scene.wait_acknowledged(BETWEEN)
            load.cancel_scope.cancel()
        await check_nothing_is_lost(scene)
        check_nobody_voted_twice(scene)


async def check_nothing_is_lost(scene: Scene) -> None:
    """All that was acknowledged becomes final at every clinic, under one state root."""
    is_final = scene.clinic.services.ledger.position
    await until(lambda: all(is_final(name) for name in scene.acknowledged), "all to be final here")
    for peer, actor in scene.daemons.items():
        with trio.fail_after(PATIENCE_S):
            await scene.wait_all_final_at(peer)
        status = await actor.status()
        header = scene.clinic.services.ledger.header(status["height"])
        assert header is not None
        assert status["state_root"] == header.state_root.hex()
        assert not [warning for warning in status["warnings"] if "contradict" in warning]
    assert len(scene.acknowledged) >= BETWEEN * (2 * ROUNDS + 1)


def check_nobody_voted_twice(scene: Scene) -> None:
    """In one view a validator votes for one block, and never says both NULL and FINALIZE."""
    said: dict[tuple[int, int], set[tuple[Phase, bytes]]] = defaultdict(set)
    for signer, statement in scene.statements():
        said[signer, statement.view].add((Phase(statement.phase), statement.block))
    for place, spoken in said.items():
        for phase in Phase:
            assert len([one for one in spoken if one[0] == phase]) <= 1, f"{place}: {spoken}"
        assert not {Phase.NULL, Phase.FINALIZE} <= {phase for phase, _ in spoken}, f"{place}: {spoken}"
    assert len({signer for signer, _ in said}) == len(scene.daemons), "not all daemons were heard to vote"
