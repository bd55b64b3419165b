"""The real clock, entropy and offload."""

import threading

import pytest

from node.adapters import InlineOffload, SystemClock, SystemEntropy, ThreadOffload
from node.ports import Clock, Entropy, Offload


def test_wall_time_is_unix_time_in_milliseconds() -> None:
    clock: Clock = SystemClock()
    assert 1_700_000_000_000 < clock.wall_ms() < 10_000_000_000_000


def test_elapsed_time_never_steps_back() -> None:
    clock: Clock = SystemClock()
    readings = [clock.elapsed_ms() for _ in range(1_000)]
    assert readings == sorted(readings)


def test_entropy_gives_what_was_asked_for() -> None:
    entropy: Entropy = SystemEntropy()
    assert len(entropy.bytes(32)) == 32
    assert entropy.bytes(32) != entropy.bytes(32)
    assert {entropy.below(3) for _ in range(200)} == {0, 1, 2}


@pytest.mark.parametrize(("make", "is_inline"), [(ThreadOffload, False), (InlineOffload, True)])
async def test_offload_runs_the_work_and_hands_back_what_it_gives(
    make: type[ThreadOffload] | type[InlineOffload], is_inline: bool
) -> None:
    offload: Offload = make()
    assert (await offload.run(threading.get_ident) == threading.get_ident()) is is_inline
    with pytest.raises(ZeroDivisionError):
        await offload.run(lambda: 1 // 0)
