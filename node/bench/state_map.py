"""The state map's update alone: what a block of the mix changes, beside the hashes that it must make."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Final

from node.bench.report import Row, paired
from node.bench.speeds import measure
from protocol.ledger import Overlay
from protocol.mempool import VerifiedCache
from protocol.messages.consensus import Submission
from protocol.state import LedgerState
from protocol.statemap import StateMap

BLOCK: Final = 230
"""Transactions of the mix that fill a block."""

INNER_BYTES: Final = 65
LEAF_HASHES: Final = 2
REPEATS: Final = 10


def bench_update(state: LedgerState, mix: Callable[[int], list[Submission]], rounds: int) -> Row:
    """Updates `state` with one block of the mix, again and again; another block in each round."""
    updates: list[float] = []
    bare: list[float] = []
    node = bytes(range(INNER_BYTES))
    for _ in range(rounds):
        changes = _changes(state, mix(BLOCK))
        hashes = _hashes(state.entries.update(changes), changes)
        update, count = partial(_update, state.entries, changes), REPEATS * hashes
        updates.append(count / measure(update).cpu_s)
        bare.append(count / measure(partial(_hash, node, count)).cpu_s)
    return paired(
        f"state map, update with {BLOCK} transactions",
        "hashes/s",
        updates,
        "bare SHA-256 of as many inner nodes",
        bare,
    )


def _update(entries: StateMap, changes: dict[bytes, bytes]) -> None:
    for _ in range(REPEATS):
        entries.update(changes)


def _hash(node: bytes, count: int) -> None:
    for _ in range(count):
        sha256(node).digest()


def _changes(state: LedgerState, submissions: list[Submission]) -> dict[bytes, bytes]:
    verified = VerifiedCache(state.network)
    overlay = Overlay(state, height=1, time_ms=1)
    for item in submissions:
        overlay.apply(verified.verify(item.transaction))
    return overlay.changes


def _hashes(updated: StateMap, changes: dict[bytes, bytes]) -> int:
    """How many hashes the new leaves and the nodes above them are: shared ones count once."""
    nodes: set[tuple[int, int]] = set()
    for key in changes:
        depth, bits = len(updated.prove(key).siblings), int.from_bytes(key, "big")
        nodes.update((length, bits >> 256 - length) for length in range(depth))
    return LEAF_HASHES * len(changes) + len(nodes)
