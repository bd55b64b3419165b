"""Signatures checked ahead: in one thread or two, each once, and one wrong one is told as itself."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio

from node.chain.checking import PART_MIN, TOGETHER_MIN, check_signatures
from protocol.errors import Malformed
from protocol.mempool import VerifiedCache
from tests.ledger_world import NETWORK, grant, keys, mint

T = TypeVar("T")
TOKEN = mint(1).token


class CountingOffload:
    """Runs in place and counts how much it ran."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.runs += 1
        await trio.lowlevel.checkpoint()
        return work()


def grants(count: int) -> list[bytes]:
    return [grant(TOKEN, number, keys(1).owner).transaction.raw for number in range(count)]


@pytest.mark.parametrize(
    ("count", "threads"),
    [(0, 0), (TOGETHER_MIN - 1, 0), (TOGETHER_MIN, 1), (2 * PART_MIN - 1, 1), (2 * PART_MIN, 2), (401, 2)],
)
async def test_all_are_known_afterwards_whatever_it_took(count: int, threads: int) -> None:
    verified, offload, raws = VerifiedCache(NETWORK), CountingOffload(), grants(count)
    await check_signatures(verified, offload, raws)
    assert verified.unseen(raws) == []
    assert offload.runs == threads
    await check_signatures(verified, offload, raws)
    assert offload.runs == threads


@pytest.mark.parametrize("count", [2, PART_MIN, 3 * PART_MIN])
async def test_one_wrong_signature_is_told_as_itself(count: int) -> None:
    raws = grants(count)
    raws[-1] = raws[-1][:-1] + bytes((raws[-1][-1] ^ 1,))
    with pytest.raises(Malformed):
        await check_signatures(VerifiedCache(NETWORK), CountingOffload(), raws)
