"""Revocations at sight: who may, when they count, and how many of what nobody knows."""

import pytest
import trio
import trio.testing

from node.chain.denials import Denials
from node.chain.ledger import Ledger
from node.chain.suspensions import Suspensions
from node.store.memory import MemoryStore
from protocol import limits
from protocol.keys import PublicKey
from tests.ledger_world import CLINICS, Signed, grant, grant_id, keys, mint, revoke
from tests.unit.test_ledger_store import commit, open_ledger

SENDER = CLINICS[1].public
TOKEN = mint(1)


def denied(ledger: Ledger, number: int) -> bool:
    return (TOKEN.token, grant_id(number)) in ledger.denied


async def seen(*items: Signed, known: bool = True, sender: PublicKey = SENDER) -> Ledger:
    ledger = open_ledger(MemoryStore())
    denials = Denials(ledger, Suspensions(ledger, MemoryStore()))
    if known:
        await commit(ledger, [TOKEN, grant(TOKEN.token, 1, keys(1).owner)])
    for item in items:
        await denials.see(item.transaction, sender)
    return ledger


async def test_the_owner_ends_a_grant_at_sight() -> None:
    assert denied(await seen(revoke(TOKEN.token, 1, keys(1).owner)), 1)


async def test_nobody_else_does() -> None:
    assert not denied(await seen(revoke(TOKEN.token, 1, keys(2).owner)), 1)


async def test_a_grant_that_is_not_known_yet_is_ended_in_advance() -> None:
    assert denied(await seen(revoke(TOKEN.token, 2, keys(1).owner)), 2)


async def test_revocations_of_what_nobody_knows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EARLY_REVOKES_PER_TOKEN_MAX", 2)
    ledger = await seen(*(revoke(TOKEN.token, number, keys(1).owner) for number in (2, 3, 4, 1)))
    assert [denied(ledger, number) for number in (2, 3, 4, 1)] == [True, True, False, True]


async def test_the_same_revocation_again_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EARLY_REVOKES_PER_TOKEN_MAX", 2)
    again = revoke(TOKEN.token, 2, keys(1).owner)
    assert denied(await seen(again, again, again, revoke(TOKEN.token, 3, keys(1).owner)), 3)


async def test_revocations_that_never_count_do_not_keep_out_one_that_will(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "EARLY_REVOKES_PER_MEMBER_MAX", 2)
    ledger = open_ledger(MemoryStore())
    denials = Denials(ledger, Suspensions(ledger, MemoryStore()))
    async with trio.open_nursery() as nursery:
        await nursery.start(denials.run)
        for number in (7, 8, 9):
            await denials.see(revoke(TOKEN.token, 1, keys(number).owner).transaction, SENDER)
        await denials.see(revoke(TOKEN.token, 1, keys(1).owner).transaction, SENDER)
        await trio.testing.wait_all_tasks_blocked()
        await commit(ledger, [TOKEN])
        await trio.testing.wait_all_tasks_blocked()
        assert denied(ledger, 1)
        nursery.cancel_scope.cancel()
