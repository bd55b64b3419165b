"""The consensus inbox: everyone has a share, and nobody another's."""

import pytest

from node.chain.inbox import Inbox, Letter
from protocol import limits
from protocol.blocks import BlockHash
from protocol.keys import PublicKey
from protocol.messages.consensus import BlockRequest

LOUD, QUIET = PublicKey(b"\x01" + b"a" * 32), PublicKey(b"\x01" + b"b" * 32)


def letter(sender: PublicKey, number: int, size: int = 100) -> Letter:
    return Letter(sender, BlockRequest(BlockHash(number.to_bytes(32, "big"))), size)


def test_who_sends_much_loses_its_own_messages_and_nobody_elses() -> None:
    inbox = Inbox()
    taken = [inbox.put(letter(LOUD, number), 0) for number in range(2 * limits.INBOX_MESSAGES_MAX)]
    assert sum(taken) == limits.INBOX_MESSAGES_MAX
    assert inbox.put(letter(QUIET, 0), 0)


def test_a_share_is_bounded_in_bytes_and_always_has_room_for_one() -> None:
    inbox = Inbox()
    half = limits.INBOX_BYTES_MAX // 2
    assert [inbox.put(letter(LOUD, number, half + 1), 0) for number in range(2)] == [True, False]
    assert inbox.put(letter(QUIET, 0, limits.INBOX_BYTES_MAX + 1), 0)
    inbox.take()
    assert inbox.put(letter(LOUD, 2, half + 1), 0)


def test_a_turn_takes_of_each_in_turn_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INBOX_TURN_MAX", 3)
    inbox = Inbox()
    sent = [letter(LOUD, number) for number in range(5)]
    for one in sent:
        inbox.put(one, 0)
    answer = letter(QUIET, 9)
    inbox.put(answer, 0)
    assert inbox.take() == [sent[0], answer, sent[1], sent[2]]
    assert not inbox.is_empty
    assert inbox.take() == sent[3:]
    assert inbox.is_empty


def test_a_member_passes_on_so_many_transactions() -> None:
    inbox = Inbox()
    assert inbox.may_forward(LOUD, limits.FORWARDED_BURST, 0)
    assert not inbox.may_forward(LOUD, 1, 0)
    assert inbox.may_forward(QUIET, limits.BLOCK_TRANSACTIONS_MAX, 0)
    assert inbox.may_forward(LOUD, limits.FORWARDED_PER_MEMBER_PER_S, 1_000)
