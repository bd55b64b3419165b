"""A suspension that a quorum approved counts from sight on, for good, and from nobody else."""

import pytest

from node.chain.ledger import Ledger
from node.chain.suspensions import Suspensions
from node.store import layout
from node.store.memory import MemoryStore
from protocol.codec import encode
from protocol.errors import StorageError
from protocol.keys import PublicKey
from protocol.membership import Suspend
from protocol.transactions import VerifiedTransaction
from tests.ledger_world import CLINICS, CREATED_MS, STRANGER
from tests.unit.test_ledger_store import commit, open_ledger
from tests.unit.test_membership import approved, remove, suspend

SUSPENDED = CLINICS[3].public


def sighted(transaction: VerifiedTransaction) -> tuple[Suspensions, list[PublicKey]]:
    store = MemoryStore()
    suspensions, told = Suspensions(open_ledger(store), store), list[PublicKey]()
    suspensions.observe(told.append)
    suspensions.see(transaction)
    suspensions.see(transaction)
    return suspensions, told


def test_a_quorum_suspends_at_sight_once() -> None:
    suspensions, told = sighted(suspend(CLINICS[3]).transaction)
    assert SUSPENDED in suspensions
    assert CLINICS[2].public not in suspensions
    assert told == [SUSPENDED]


@pytest.mark.parametrize("by", [CLINICS[:2], (CLINICS[0], CLINICS[1], STRANGER)])
def test_fewer_suspend_nobody(by: tuple) -> None:  # type: ignore[type-arg]
    suspensions, told = sighted(approved(Suspend(SUSPENDED, "other", CREATED_MS), by).transaction)
    assert (SUSPENDED in suspensions, told) == (False, [])


def test_a_suspension_that_expired_unused_is_no_weapon() -> None:
    suspensions, _ = sighted(approved(Suspend(SUSPENDED, "other", CREATED_MS - 1)).transaction)
    assert SUSPENDED not in suspensions


def test_it_survives_a_power_cut() -> None:
    store = MemoryStore()
    Suspensions(open_ledger(store), store).see(suspend(CLINICS[3]).transaction)
    after = store.crash(0)
    assert SUSPENDED in Suspensions(open_ledger(after), after)


def test_a_store_that_reads_short_stops_the_node() -> None:
    store = MemoryStore()
    Suspensions(open_ledger(store), store).see(suspend(CLINICS[3]).transaction)
    store.write((), [layout.suspended(SUSPENDED)])
    with pytest.raises(StorageError):
        Suspensions(open_ledger(store), store)


async def test_whom_the_ledger_removed_is_shut_out_too() -> None:
    store = MemoryStore()
    ledger: Ledger = open_ledger(store)
    await commit(ledger, [remove(CLINICS[3])])
    suspensions = Suspensions(ledger, store)
    assert SUSPENDED in suspensions
    assert CLINICS[0].public not in suspensions
    assert b"something else" not in suspensions
    assert encode(0) not in suspensions
