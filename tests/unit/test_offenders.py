"""Who misbehaved lately, and who is kept out for it."""

import math

from node.net.offenders import BLOCKED_BY_HAND, Offenders, reason_of
from protocol import limits
from protocol.errors import Malformed
from protocol.keys import PublicKey

ONE, OTHER = PublicKey(b"\x01" + b"a" * 32), PublicKey(b"\x01" + b"b" * 32)
WALL_MS = 1_700_000_000_000


def key(number: int) -> PublicKey:
    return PublicKey(b"\x01" + number.to_bytes(32, "big"))


def offend(book: Offenders, who: PublicKey | str, now_ms: int, *, is_member: bool = False) -> bool:
    return book.note(who, "a reason", now_ms, address="/ip4/192.0.2.7/tcp/1", is_member=is_member)


def test_an_offence_too_many_keeps_its_peer_out_for_a_while() -> None:
    book = Offenders()
    blocked = [offend(book, ONE, 0) for _ in range(limits.OFFENCES_MAX)]
    assert blocked == [False] * (limits.OFFENCES_MAX - 1) + [True]
    assert book.is_blocked(ONE, limits.BLOCK_MS - 1)
    assert not book.is_blocked(ONE, limits.BLOCK_MS)
    assert not book.is_blocked(OTHER, 0)


def test_a_member_is_kept_out_for_less_long() -> None:
    book = Offenders()
    while not offend(book, ONE, 0, is_member=True):
        pass
    assert book.is_blocked(ONE, limits.MEMBER_BLOCK_MS - 1)
    assert not book.is_blocked(ONE, limits.MEMBER_BLOCK_MS)


def test_a_few_offences_an_hour_keep_nobody_out() -> None:
    book = Offenders()
    assert not any(offend(book, ONE, hour * limits.HOUR_MS) for hour in range(1_000))


def test_an_address_is_named_and_not_kept_out() -> None:
    book = Offenders()
    for _ in range(10 * limits.OFFENCES_MAX):
        book.note("192.0.2.7", "silence", 0, address="192.0.2.7", is_member=False, may_block=False)
    [offence] = book.offences(0, WALL_MS)
    assert (offence.id_key, offence.address, offence.blocked_until_ms) == (None, "192.0.2.7", None)
    assert offence.count == 10 * limits.OFFENCES_MAX


def test_what_is_told_says_who_why_when_and_until_when() -> None:
    book = Offenders()
    while not offend(book, ONE, 5_000):
        pass
    offend(book, OTHER, 6_000)
    newest, older = book.offences(10_000, WALL_MS)
    assert (newest.id_key, newest.blocked_until_ms, newest.count) == (OTHER, None, 1)
    assert (older.id_key, older.reason, older.count) == (ONE, "a reason", limits.OFFENCES_MAX)
    assert older.last_ms == WALL_MS - 5_000
    assert older.blocked_until_ms == WALL_MS - 5_000 + limits.BLOCK_MS


def test_an_administrator_blocks_and_forgives() -> None:
    book = Offenders()
    book.block(ONE, 0, math.inf, is_member=False)
    assert book.is_blocked(ONE, 10**15)
    [offence] = book.offences(0, WALL_MS)
    assert offence.reason == BLOCKED_BY_HAND
    assert offence.blocked_until_ms is not None
    book.forgive(ONE)
    assert not book.is_blocked(ONE, 0)
    assert book.offences(0, WALL_MS) == []


def test_new_offenders_push_out_neither_members_nor_who_is_blocked() -> None:
    book = Offenders()
    offend(book, ONE, 0, is_member=True)
    book.block(OTHER, 0, math.inf, is_member=False)
    for number in range(2 * limits.OFFENDERS_MAX):
        offend(book, key(number), 1 + number)
    told = book.offences(10_000, WALL_MS)
    assert len(told) == limits.OFFENDERS_MAX
    assert {ONE, OTHER, key(2 * limits.OFFENDERS_MAX - 1)} <= {one.id_key for one in told}


def test_a_reason_is_short_and_plain() -> None:
    assert reason_of(Malformed("bad\x1b[2J\nname \u202e" + "x" * 500)).startswith("bad?[2J?name ?x")
    assert len(reason_of(Malformed("x" * 500))) == 120
    assert reason_of(KeyError("what the peer chose")) == "KeyError"
