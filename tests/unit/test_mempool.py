"""The mempool's order and bounds, and signatures checked once."""

import pytest

from protocol import limits
from protocol.errors import Code, Malformed, UserError
from protocol.mempool import Mempool, Pending, VerifiedCache
from tests.ledger_world import NETWORK, mint


def pending(number: int, sender: bytes = b"a") -> Pending:
    item = mint(number)
    return Pending(item.transaction, item.sealed, sender)


def test_transactions_leave_in_the_order_they_came_and_once() -> None:
    pool = Mempool()
    items = [pending(number) for number in range(5)]
    assert all(pool.add(item) for item in items)
    assert not pool.add(items[2])
    left_out = {items[1].transaction.id}
    assert list(pool.without(left_out)) == [items[0], items[2], items[3], items[4]]
    pool.remove([items[0].transaction.id, items[0].transaction.id])
    assert list(pool) == items[1:]


def test_who_sent_much_holds_up_nobody_who_sent_little() -> None:
    pool = Mempool()
    many = [pending(number, b"many") for number in range(5)]
    few = [pending(number, b"few") for number in range(10, 12)]
    for item in many + few:
        pool.add(item)
    left_out = {many[0].transaction.id}
    assert list(pool.without(left_out)) == [many[1], few[0], many[2], few[1], many[3], many[4]]


def test_looking_through_it_by_and_by_sees_all_once() -> None:
    pool = Mempool()
    items = [pending(number) for number in range(5)]
    for item in items:
        pool.add(item)
    assert pool.some(2) == items[:2]
    pool.remove([items[2].transaction.id])
    assert pool.some(2) == items[3:4]
    assert pool.some(2) == items[4:]
    assert pool.some(2) == items[:2]


def test_one_sender_cannot_fill_the_mempool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMPOOL_PER_SENDER_MAX", 2)
    pool = Mempool()
    first = pending(0)
    assert pool.add(first)
    assert pool.add(pending(1))
    with pytest.raises(UserError) as refused:
        pool.add(pending(2))
    assert refused.value.code is Code.LIMIT
    assert pool.add(pending(3, sender=b"b"))
    pool.remove([first.transaction.id])
    assert pool.add(pending(2))


def test_all_senders_together_cannot_fill_it_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMPOOL_TRANSACTIONS_MAX", 2)
    pool = Mempool()
    pool.add(pending(0, sender=b"a"))
    pool.add(pending(1, sender=b"b"))
    with pytest.raises(UserError):
        pool.add(pending(2, sender=b"c"))


def test_each_change_gets_another_version() -> None:
    pool = Mempool()
    versions = [pool.version]
    item = pending(0)
    pool.add(item)
    versions.append(pool.version)
    pool.remove([item.transaction.id])
    versions.append(pool.version)
    assert len(set(versions)) == 3


def test_a_signature_is_remembered_and_a_wrong_one_is_not() -> None:
    cache = VerifiedCache(NETWORK)
    raw = mint(0).transaction.raw
    wrong = raw[:-1] + bytes((raw[-1] ^ 1,))
    assert cache.unseen([raw, wrong]) == [raw, wrong]
    verified = cache.verify(raw)
    assert cache.verify(raw) is verified
    with pytest.raises(Malformed):
        cache.verify(wrong)
    assert cache.unseen([raw, wrong]) == [wrong]


def test_the_memory_of_signatures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.mempool.VERIFIED_MAX", 2)
    cache = VerifiedCache(NETWORK)
    raws = [mint(number).transaction.raw for number in range(3)]
    for raw in raws:
        cache.verify(raw)
    assert cache.unseen(raws) == raws[:1]
