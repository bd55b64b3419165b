"""The check on the checks: bugs planted in the real services are found by the invariants, by name.

Each is planted where a node meets its ports, or in the arithmetic of the quorum.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from unittest.mock import patch

from node.chain.services import LedgerServices
from node.ports import Ports, Put, Store, VoteFile
from node.store import layout
from protocol.blocks import Committee, Genesis
from tests.sim.ledger_story import LedgerStory, build_ledger
from tests.sim.nodes import BuildNode, Seat
from tests.sim.profile import Profile
from tests.sim.world import Violation, simulate

HARSH = Profile(
    size=4,
    all_down=True,
    loss_max=0.2,
    swizzle=True,
    resets=False,
    disk_fails=False,
    act_every_ms=(500, 4_000),
)
SEEDS = range(40)


def finding(build: BuildNode) -> str:
    """The invariant that the first run with a finding breaks, or nothing."""
    for seed in SEEDS:
        try:
            simulate(LedgerStory(for_s=60, build=build, profile=HARSH), seed)
        except Violation as violation:
            return violation.invariant
    return ""


class LateVoteFile:
    """Keeps each record until the next: what was signed leaves before it is durable."""

    def __init__(self, votes: VoteFile) -> None:
        self._votes = votes
        self._held: bytes | None = None

    def load(self) -> bytes | None:
        return self._votes.load()

    def save(self, record: bytes) -> None:
        if self._held is not None:
            self._votes.save(self._held)
        self._held = record


class LazyStore:
    """Syncs nothing that holds a key under `prefix`."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self._store, self._prefix = store, prefix

    def get(self, key: bytes) -> bytes | None:
        return self._store.get(key)

    def write(self, puts: Iterable[Put], deletes: Iterable[bytes] = (), *, sync: bool = False) -> None:
        puts = list(puts)
        is_lazy = any(key.startswith(self._prefix) for key, _ in puts)
        self._store.write(puts, deletes, sync=sync and not is_lazy)

    def iterate(self, prefix: bytes, *, start: bytes = b"") -> Iterator[Put]:
        return self._store.iterate(prefix, start=start)

    def disk_bytes(self) -> int:
        return self._store.disk_bytes()

    def close(self) -> None:
        self._store.close()


def build_lazy(prefix: bytes) -> BuildNode:
    def build(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
        return build_ledger(
            replace(ports, ledger_store=LazyStore(ports.ledger_store, prefix)), genesis, seat
        )

    return build


def test_a_vote_that_leaves_before_it_is_durable_is_found() -> None:
    def build(ports: Ports, genesis: Genesis, seat: Seat) -> LedgerServices:
        # The record is in two places; either alone still keeps a validator from voting twice.
        assert ports.votes is not None
        store = LazyStore(ports.ledger_store, layout.SIGNED)
        late = replace(ports, votes=LateVoteFile(ports.votes), ledger_store=store)
        return build_ledger(late, genesis, seat)

    # Where the others' memory keeps the node from contradicting itself, it retires: then nothing is final.
    assert finding(build) in {"L3", "L4", "L9"}


def test_a_quorum_minus_one_is_found() -> None:
    def quorum(committee: Committee) -> int:
        return (len(committee.validators) + committee.faults) // 2

    with patch.object(Committee, "quorum", property(quorum)):
        assert finding(build_ledger) in {"L1", "L2"}


def test_final_blocks_that_are_told_before_they_are_durable_are_found() -> None:
    assert finding(build_lazy(layout.BLOCK)) == "L5"


def test_submissions_that_are_accepted_before_they_are_durable_are_found() -> None:
    assert finding(build_lazy(layout.PENDING)) == "L9"
