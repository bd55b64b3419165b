"""The daemon's garbage collector looks at what is new, and at nothing that is there to stay."""

import gc
from collections.abc import Iterator

import pytest

from node import collector


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


def test_while_the_daemon_starts_nothing_is_collected() -> None:
    collector.pause()
    assert not gc.isenabled()


def test_what_was_made_before_is_left_alone_and_new_cycles_are_found() -> None:
    collector.pause()
    kept: list[object] = []
    kept.append(kept)
    collector.begin()
    assert gc.isenabled()
    assert not any(item is kept for item in gc.get_objects())
    assert gc.get_threshold()[0] == collector.YOUNG_OBJECTS_MAX
    new: list[object] = []
    new.append(new)
    del new
    assert gc.collect() >= 1
