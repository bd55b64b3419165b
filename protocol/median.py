"""The median of what others say of one's own clock, in doubt against it."""

from collections.abc import Collection


def doubting_median(offsets: Collection[int]) -> int:
    """The middle one of `offsets`, at least one; of two in the middle the one farther from 0.

    Where fewer than half of them are lies, it lies between true ones.
    """
    ordered = sorted(offsets)
    return max(ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2], key=abs)
