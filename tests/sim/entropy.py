"""Randomness that follows from the seed, for each node and part of it by name."""

import random


class SimEntropy:
    """A `ports.Entropy`. One name always gives the same bytes, whatever other parts draw."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dice = random.Random(name)

    def bytes(self, count: int) -> bytes:
        return self._dice.randbytes(count)

    def below(self, bound: int) -> int:
        return self._dice.randrange(bound)

    def child(self, name: str) -> "SimEntropy":
        return SimEntropy(f"{self._name}/{name}")
