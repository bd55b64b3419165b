"""How long a source of chunks is waited for: the longer, the more it brought, and never for what we do."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from protocol import limits
from protocol.errors import TooSlow


@contextmanager
def patience(*, is_endless: bool) -> Iterator[trio.CancelScope]:
    """A scope whose deadline is put off by what arrives.

    Raises:
        TooSlow: it has passed.
    """
    wait_s = math.inf if is_endless else limits.FETCH_PATIENCE_S
    with trio.move_on_after(wait_s) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TooSlow("another source may be faster")


@contextmanager
def paused(scope: trio.CancelScope) -> Iterator[None]:
    """Time in the block does not count: a reader with a slow disk loses no source for it."""
    left_s = scope.deadline - trio.current_time()
    scope.deadline = math.inf
    try:
        yield
    finally:
        scope.deadline = trio.current_time() + left_s
