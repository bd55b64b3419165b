"""Answers that must not tell by their time what they stand for."""

import math

import trio

from protocol import limits


async def wait_refusal_time(came_s: float) -> None:
    """Returns limits.REFUSAL_MS after `came_s`, in trio's time, or a whole multiple where that is over."""
    step_s = limits.REFUSAL_MS / 1000
    steps = max(1, math.ceil((trio.current_time() - came_s) / step_s))
    await trio.sleep_until(came_s + steps * step_s)
