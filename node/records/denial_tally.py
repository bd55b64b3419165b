"""How many denials are written down one by one: beyond that they are counted, so that a flood of
hopeless requests costs a bounded number of writes."""

from collections import Counter
from typing import Final

from protocol import limits

EVERYONE_ELSE: Final = b""


class DenialTally:
    """The denials of one window. An asker is a member's key, or EVERYONE_ELSE for all strangers."""

    def __init__(self) -> None:
        self._kept: Counter[bytes] = Counter()
        self._counted: Counter[bytes] = Counter()

    def keeps(self, asker: bytes, token: bytes) -> bool:
        """Whether this denial is written down on its own; else it is counted.

        `token` is empty where there is none, or no such one. A stranger who asks for nothing that
        exists is always only counted.
        """
        is_nothing = asker == EVERYONE_ELSE and not token
        if not is_nothing and self._kept[asker] < limits.DENIALS_PER_WINDOW:
            self._kept[asker] += 1
            return True
        has_room = token in self._counted or len(self._counted) < limits.DENIAL_TOKENS_MAX
        self._counted[token if has_room else b""] += 1
        return False

    def take(self) -> list[tuple[bytes, int]]:
        """How many were counted, by token and in its order, and begins the next window."""
        counted = sorted(self._counted.items())
        self._kept.clear()
        self._counted.clear()
        return counted
