"""Signatures checked ahead of use: beside the event loop and on two cores, where there are many."""

from collections.abc import Iterable, Sequence
from typing import Final

import trio

from node.ports import Offload
from protocol.errors import Malformed
from protocol.mempool import VerifiedCache
from protocol.transactions import VerifiedTransaction

# To hand work to a thread costs as much as three or four checks.
TOGETHER_MIN: Final = 16
PART_MIN: Final = 64
PARTS_MAX: Final = 2


async def check_signatures(
    verified: VerifiedCache, offload: Offload, transactions: Iterable[bytes]
) -> None:
    """Lets `verified` know all of `transactions`.

    Raises:
        Malformed: one is not a transaction, or a signature is wrong.
    """
    unseen = verified.unseen(transactions)
    if len(unseen) < TOGETHER_MIN:
        for raw in unseen:
            verified.verify(raw)
        return
    failures: list[Malformed] = []

    def check(part: Sequence[bytes]) -> list[VerifiedTransaction]:
        return [verified.check(raw) for raw in part]

    async def check_part(part: Sequence[bytes]) -> None:
        # One error as it is, not a group of them, is what callers are told of.
        try:
            checked = await offload.run(lambda: check(part))
        except Malformed as error:
            failures.append(error)
            return
        for transaction in checked:
            verified.add(transaction)

    async with trio.open_nursery() as nursery:
        for part in _parts(unseen):
            nursery.start_soon(check_part, part)
    if failures:
        raise failures[0]


def _parts(items: Sequence[bytes]) -> list[Sequence[bytes]]:
    """`items` in parts of equal size, none so small that its thread would not pay."""
    count = max(1, min(PARTS_MAX, len(items) // PART_MIN))
    size = -(-len(items) // count)
    return [items[start : start + size] for start in range(0, len(items), size)]
