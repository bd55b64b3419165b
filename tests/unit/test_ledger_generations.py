"""The rules of the ledger for what ends a generation: keys, keep lists, and floods that may not matter."""

import pytest

from protocol.errors import Rejection
from protocol.state import LedgerState, TokenState
from protocol.transactions import (
    Erase,
    Transfer,
    next_key_hash,
)
from tests.ledger_world import (
    CLINICS,
    GRANTS_MAX,
    START,
    STRANGER,
    Keys,
    after,
    erase,
    grant,
    grant_id,
    keys,
    living,
    mint,
    refuses,
    revoke,
    rotate,
    signing,
    token_state,
    transfer,
)

OLD, NEW, NEWER = keys("anne", 0), keys("anne", 1), keys("anne", 2)
MINT = mint("anne")
TOKEN = MINT.token
MINTED = after(START, MINT)
GRANTED = after(MINTED, grant(TOKEN, 1, OLD.owner))


def token(state: LedgerState) -> TokenState:
    return token_state(state, TOKEN)


def lives(state: LedgerState, number: int) -> bool:
    return number in living(state, TOKEN)


# Transfer, rotate, erase.


def test_a_transfer_makes_the_recipient_the_owner() -> None:
    found = token(after(GRANTED, transfer(TOKEN, OLD, NEW)))
    assert (found.owner_key, found.enc_key) == (NEW.owner.public, NEW.enc.public)
    assert found.next_key_hash == next_key_hash(NEW.next.public)
    assert (found.generation, found.grants) == (1, 0)


def test_a_rotation_needs_the_next_key_alone() -> None:
    assert token(after(GRANTED, rotate(TOKEN, OLD, NEW))).owner_key == NEW.owner.public


def test_an_erased_token_keeps_who_and_when_and_loses_every_grant() -> None:
    state = after(GRANTED, erase(TOKEN, OLD), height=9)
    found = token(state)
    assert found.erased
    assert (found.issuer, found.owner_key, found.generation) == (CLINICS[0].public, OLD.owner.public, 1)
    assert (found.minted_height, found.height) == (1, 9)
    assert not lives(state, 1)


@pytest.mark.parametrize("named", [1, 2])
def test_a_generation_that_is_not_the_present_one_cannot_be_ended(named: int) -> None:
    for item in (
        transfer(TOKEN, OLD, NEW, generation=named),
        rotate(TOKEN, OLD, NEW, generation=named),
        erase(TOKEN, OLD, generation=named),
    ):
        assert refuses(MINTED, item) == Rejection.GENERATION


def test_replays_of_rotation_and_transfer_change_nothing() -> None:
    for item in (rotate(TOKEN, OLD, NEW), transfer(TOKEN, OLD, NEW)):
        assert refuses(after(MINTED, item), item) == Rejection.GENERATION


def test_the_owner_key_alone_never_transfers_rotates_or_erases() -> None:
    """Whoever holds the owner key, and any keys of his own, but not the next key."""
    thief = Keys(OLD.owner, signing("thief"), OLD.enc)
    mine = keys("thief")
    twice = Keys(OLD.owner, OLD.owner, OLD.enc)
    for stolen in (thief, twice):
        assert refuses(GRANTED, transfer(TOKEN, stolen, mine)) == Rejection.NEXT_KEY
        assert refuses(GRANTED, rotate(TOKEN, stolen, mine)) == Rejection.NEXT_KEY
        assert refuses(GRANTED, erase(TOKEN, stolen)) == Rejection.NEXT_KEY


def test_the_next_key_alone_neither_transfers_nor_erases() -> None:
    finder = Keys(STRANGER, OLD.next, OLD.enc)
    assert refuses(MINTED, transfer(TOKEN, finder, NEW)) == Rejection.NOT_OWNER
    assert refuses(MINTED, erase(TOKEN, finder)) == Rejection.NOT_OWNER


def test_a_next_key_counts_for_its_own_generation_only() -> None:
    rotated = after(MINTED, rotate(TOKEN, OLD, NEW))
    again = Keys(NEW.owner, OLD.next, NEW.enc)
    assert refuses(rotated, rotate(TOKEN, again, NEWER, generation=1)) == Rejection.NEXT_KEY


def test_nothing_happens_to_a_token_that_is_not_there() -> None:
    for item in (transfer(TOKEN, OLD, NEW), rotate(TOKEN, OLD, NEW), erase(TOKEN, OLD)):
        assert refuses(START, item) == Rejection.UNKNOWN_TOKEN


# Keep lists.


@pytest.mark.parametrize("change", [transfer, rotate])
def test_what_is_kept_lives_on_and_the_rest_dies(change: type) -> None:
    state = after(GRANTED, grant(TOKEN, 2, OLD.owner))
    state = after(state, change(TOKEN, OLD, NEW, keep=[2]))
    assert not lives(state, 1)
    assert lives(state, 2)
    again = after(state, rotate(TOKEN, NEW, NEWER, generation=1, keep=[2]))
    assert lives(again, 2)
    assert not lives(after(state, rotate(TOKEN, NEW, NEWER, generation=1)), 2)


def test_a_grant_keeps_the_generation_that_registered_it() -> None:
    state = after(GRANTED, rotate(TOKEN, OLD, NEW, keep=[1]))
    found = state.grant(TOKEN, grant_id(1))
    assert found is not None
    assert (found.generation, found.registered_generation) == (1, 0)


def test_a_grant_that_was_not_kept_is_not_revived() -> None:
    state = after(GRANTED, rotate(TOKEN, OLD, NEW))
    item = rotate(TOKEN, NEW, NEWER, generation=1, keep=[1])
    assert refuses(state, item) == Rejection.KEEP


def test_only_grants_of_this_token_are_kept() -> None:
    other = mint("bert")
    state = after(GRANTED, other, grant(other.token, 7, keys("bert").owner))
    assert refuses(state, rotate(TOKEN, OLD, NEW, keep=[1, 7])) == Rejection.KEEP
    assert refuses(state, transfer(TOKEN, OLD, NEW, keep=[2])) == Rejection.KEEP


def test_revoking_what_a_rotation_keeps_neither_stalls_it_nor_is_undone() -> None:
    state = after(GRANTED, grant(TOKEN, 2, OLD.owner), revoke(TOKEN, 1, OLD.owner))
    state = after(state, revoke(TOKEN, 3, OLD.owner), rotate(TOKEN, OLD, NEW, keep=[1, 2, 3]))
    assert token(state).owner_key == NEW.owner.public
    assert [number for number in (1, 2, 3) if lives(state, number)] == [2]


# Floods.


def test_grants_are_counted_with_tombstones_and_the_count_has_an_end() -> None:
    state = MINTED
    for number in range(GRANTS_MAX):
        make = grant if number % 2 else revoke
        state = after(state, make(TOKEN, number, OLD.owner))
    assert refuses(state, grant(TOKEN, 99, OLD.owner)) == Rejection.GRANTS_FULL
    assert refuses(state, revoke(TOKEN, 99, OLD.owner)) == Rejection.GRANTS_FULL


def test_a_full_token_still_revokes_and_rotates_and_then_has_room_again() -> None:
    flood = [grant(TOKEN, number, OLD.owner) for number in range(GRANTS_MAX)]
    state = after(MINTED, *flood)
    state = after(state, revoke(TOKEN, 3, OLD.owner))
    state = after(state, rotate(TOKEN, OLD, NEW, keep=[1]))
    assert [number for number in range(GRANTS_MAX) if lives(state, number)] == [1]
    more = [grant(TOKEN, 100 + number, NEW.owner) for number in range(GRANTS_MAX)]
    assert refuses(after(state, *more), grant(TOKEN, 99, NEW.owner)) == Rejection.GRANTS_FULL


def test_a_rotation_signed_before_a_flood_goes_through_after_it() -> None:
    signed_before = rotate(TOKEN, OLD, NEW, keep=[1])
    flood = [grant(TOKEN, number, OLD.owner) for number in range(2, GRANTS_MAX + 1)]
    state = after(after(GRANTED, *flood), signed_before)
    assert [number for number in range(GRANTS_MAX + 1) if lives(state, number)] == [1]


def test_bodies_of_transfer_and_erase_name_the_next_key_that_signed() -> None:
    """The ledger checks the hash of `next_key`; that this key signed is checked when decoding."""
    for item in (transfer(TOKEN, OLD, NEW), erase(TOKEN, OLD)):
        body = item.transaction.body
        assert isinstance(body, Transfer | Erase)
        assert item.transaction.signers[1] == body.next_key
