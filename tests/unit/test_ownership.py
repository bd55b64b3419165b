"""What an owner key owns, shown against a header to someone who has nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.blocks import Header
from protocol.chain import genesis_header
from protocol.errors import RemoteProtocolError
from protocol.keys import PublicKey
from protocol.ownership import KeyToken, Ownership, clinics_to_ask, prove_ownership, verify_ownership
from protocol.state import LedgerState
from tests.ledger_world import CLINICS, GENESIS, START, after, erase, keys, mint, rotate, transfer

MINTED = mint("ann")
TOKEN = MINTED.token
OWNED = after(START, MINTED, mint("bob"))
ROTATED = after(OWNED, rotate(TOKEN, keys("ann"), keys("ann", 1)))
GIVEN = after(OWNED, transfer(TOKEN, keys("ann"), keys("cat")))
FIRST, SECOND = keys("ann").owner.public, keys("ann", 1).owner.public
IDS = tuple(clinic.public for clinic in CLINICS)


def header(state: LedgerState) -> Header:
    return replace(genesis_header(GENESIS), state_root=state.entries.root)


def shown(state: LedgerState, key: PublicKey) -> KeyToken | None:
    return verify_ownership(header(state), key, prove_ownership(state, key))


@pytest.mark.parametrize(
    ("state", "key", "generation"),
    [(OWNED, FIRST, 0), (ROTATED, SECOND, 1), (GIVEN, keys("cat").owner.public, 1)],
    ids=["mint", "rotation", "transfer"],
)
def test_a_key_of_any_origin_is_proven_to_own_its_token(
    state: LedgerState, key: PublicKey, generation: int
) -> None:
    found = shown(state, key)
    assert found is not None
    assert (found.token, found.generation, found.is_owner) == (TOKEN, generation, True)
    assert found.state == state.token(TOKEN)


@pytest.mark.parametrize("state", [ROTATED, GIVEN, after(OWNED, erase(TOKEN, keys("ann")))])
def test_a_key_that_owned_a_token_once_is_proven_to_do_so_no_more(state: LedgerState) -> None:
    found = shown(state, FIRST)
    assert found is not None
    assert (found.token, found.is_owner) == (TOKEN, False)


def test_a_key_that_was_never_given_anything_is_proven_absent() -> None:
    assert shown(OWNED, SECOND) is None


def test_what_there_is_cannot_be_withheld_and_what_there_is_not_cannot_be_made_up() -> None:
    there, absent = prove_ownership(OWNED, FIRST), prove_ownership(OWNED, SECOND)
    bob = prove_ownership(OWNED, keys("bob").owner.public)
    for key, forged in (
        (FIRST, absent),
        (FIRST, Ownership(replace(there.key, value=b""), None)),
        (FIRST, replace(there, token=None)),
        (FIRST, replace(there, token=bob.token)),
        (FIRST, bob),
        (FIRST, prove_ownership(ROTATED, FIRST)),
        (SECOND, there),
        (SECOND, replace(absent, key=replace(absent.key, value=there.key.value))),
    ):
        with pytest.raises(RemoteProtocolError):
            verify_ownership(header(OWNED), key, forged)


@given(st.integers(0, 10_000), st.sampled_from([FIRST, SECOND]))
def test_a_state_before_or_after_is_not_taken_for_this_one(at: int, key: PublicKey) -> None:
    other = after(OWNED, mint(("other", at)))
    with pytest.raises(RemoteProtocolError):
        verify_ownership(header(OWNED), key, prove_ownership(other, key))


def test_keys_are_shared_out_evenly_and_each_to_every_clinic_in_turn() -> None:
    first = [0] * len(IDS)
    for number in range(400):
        order = clinics_to_ask(keys("somebody", number).owner.public, IDS)
        assert sorted(order) == sorted(IDS)
        first[IDS.index(order[0])] += 1
    assert all(70 < count < 130 for count in first), first


def test_a_clinic_that_knows_the_key_is_asked_first_and_one_that_is_gone_moves_no_other() -> None:
    order = clinics_to_ask(FIRST, IDS)
    for clinic in IDS:
        others = [one for one in order if one != clinic]
        assert clinics_to_ask(FIRST, IDS, first=clinic) == [clinic, *others]
        assert clinics_to_ask(FIRST, [one for one in IDS if one != clinic]) == others
