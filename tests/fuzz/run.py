"""Throws spoiled bytes at every door, by seed: `python -m tests.fuzz --help`."""

import random
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tests.fuzz.doors import BINARY, Door, judge
from tests.fuzz.mutate import mutate

SAMPLES = 8


@dataclass(frozen=True)
class Finding:
    """Bytes at which a door did what no door may do."""

    door: str
    raw: bytes
    error: BaseException

    def __str__(self) -> str:
        told = traceback.format_exception_only(self.error)[-1].strip()[:300]
        return f"{self.door} at {self.raw.hex()[:400]} ({len(self.raw)} bytes): {told}"


def samples_of(door: Door, dice: random.Random, count: int = SAMPLES) -> list[bytes]:
    """Valid bytes for `door`, some alike."""
    return [door.sample(dice) for _ in range(count)]


def strike(door: Door, raw: bytes) -> Finding | None:
    """What `door` does at `raw` that it may not, if anything."""
    try:
        judge(door, raw)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Finding(door.name, raw, error)
    return None


def storm(door: Door, seed: str, cases: int, pool: Sequence[bytes] = ()) -> Iterator[Finding]:
    """So many cases by dice that follow from the seed and the door's name alone."""
    dice = random.Random(f"{seed}/{door.name}")
    own = samples_of(door, dice)
    pool = [*own, *pool]
    for _ in range(cases):
        raw = mutate(dice, dice.choice(own), pool)
        finding = strike(door, raw)
        if finding is not None:
            yield finding


@cache
def pool_of(seed: str) -> list[bytes]:
    """One valid encoding for each binary door: pieces of any may be put into any other."""
    return [door.sample(random.Random(f"{seed}/pool/{door.name}")) for door in BINARY]
