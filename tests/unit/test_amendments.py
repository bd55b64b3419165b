"""Amendments: which records are one with a history, and whose word counts for that."""

from protocol.amendments import Amendment, Version, amendments
from protocol.keys import PublicKey
from protocol.transactions import TokenId

CLINIC, OTHER = PublicKey(b"\x01" + bytes(32)), PublicKey(b"\x02" + bytes(32))
FIRST, SECOND, THIRD = (TokenId(bytes([number]) * 32) for number in (1, 2, 3))


def version(token: TokenId, prior: bytes = b"", *, issuer: PublicKey = CLINIC, time_ms: int = 0) -> Version:
    return Version(token, issuer, prior, time_ms)


def test_a_chain_of_amendments_is_one_history() -> None:
    found = amendments(
        [version(FIRST), version(SECOND, FIRST, time_ms=1), version(THIRD, SECOND, time_ms=2)]
    )
    assert found == {
        FIRST: Amendment(None, SECOND),
        SECOND: Amendment(FIRST, THIRD),
        THIRD: Amendment(SECOND, None),
    }


def test_another_clinic_amends_nothing() -> None:
    found = amendments([version(FIRST), version(SECOND, FIRST, issuer=OTHER)])
    assert set(found.values()) == {Amendment(None, None)}


def test_a_record_that_is_not_here_is_amended_by_nothing() -> None:
    assert amendments([version(SECOND, FIRST)]) == {SECOND: Amendment(None, None)}


def test_of_two_amendments_the_newest_is_named_in_any_order() -> None:
    given = [version(FIRST), version(SECOND, FIRST, time_ms=1), version(THIRD, FIRST, time_ms=2)]
    for order in (given, given[::-1]):
        found = amendments(order)
        assert found[FIRST].amended_by == THIRD
        assert found[SECOND].prior == found[THIRD].prior == FIRST
