"""The ledger's entries and their keys."""

import pytest
from msgspec.structs import replace

from protocol.blocks import genesis_committee
from protocol.codec import digest, encode
from protocol.errors import Malformed
from protocol.keys import PublicKey
from protocol.state import (
    GrantState,
    LedgerState,
    MemberState,
    OwnerKeyState,
    Role,
    RosterState,
    TokenState,
    VoteKeyState,
    decode_entry,
    grant_entry_key,
    is_live,
    member_entry_key,
    next_history,
    owner_key_entry_key,
    token_entry_key,
    vote_key_entry_key,
)
from protocol.statemap import StateMap, verify_proof
from protocol.transactions import GrantId, TokenId, TransactionId
from tests.ledger_world import CLINICS, GENESIS, START, STRANGER, after, grant, grant_id, keys, mint

ANNE = mint("anne")
STATE = after(START, ANNE, grant(ANNE.token, 1, keys("anne").owner))


def test_the_genesis_state_is_its_members() -> None:
    assert len(START.entries) == 2 * len(GENESIS.members) + 1
    for member in GENESIS.members:
        entry = START.member(member.id_key)
        assert entry is not None
        assert (entry.name, entry.vote_key, entry.enc_key) == (member.name, member.vote_key, member.enc_key)
        assert (entry.role, entry.audit_sequence) == (Role.VALIDATOR, 0)
        used = START.vote_key(member.vote_key)
        assert used is not None
        assert used.member == member.id_key
    assert START.committee == genesis_committee(GENESIS)
    assert [one.id_key for one in START.members()] == [one.id_key for one in GENESIS.members]
    assert START.member(STRANGER.public) is None


def test_the_key_of_a_grant_begins_as_that_of_its_token_and_nothing_else_does() -> None:
    tokens = [TokenId(digest("test", bytes((at,)))) for at in range(64)]
    for token in tokens:
        key = grant_entry_key(token, GrantId(tokens[0]))
        assert [other for other in tokens if token_entry_key(other)[:2] == key[:2]] == [token]
    assert len({grant_entry_key(token, GrantId(tokens[0]))[2:] for token in tokens}) == len(tokens)
    assert len({grant_entry_key(tokens[0], GrantId(token))[2:] for token in tokens}) == len(tokens)


def test_the_same_bytes_give_each_kind_of_entry_another_key() -> None:
    name = bytes(32)
    assert (
        len(
            {
                token_entry_key(TokenId(name)),
                owner_key_entry_key(PublicKey(name)),
                member_entry_key(PublicKey(name)),
                vote_key_entry_key(PublicKey(name)),
                grant_entry_key(TokenId(name), GrantId(b"")),
            }
        )
        == 5
    )


def test_a_grant_is_found_under_its_own_token_only() -> None:
    assert STATE.grant(ANNE.token, grant_id(1)) is not None
    assert STATE.grant(TokenId(bytes(32)), grant_id(1)) is None
    assert STATE.grant(ANNE.token, grant_id(2)) is None


def test_what_is_not_there_is_none() -> None:
    assert START.token(ANNE.token) is None
    assert START.owner_key(keys("anne").owner.public) is None


def test_every_leaf_decodes_to_its_kind() -> None:
    kinds = {type(decode_entry(value)) for _, value in STATE.entries.items()}
    assert kinds == {TokenState, GrantState, OwnerKeyState, MemberState, RosterState, VoteKeyState}


def test_an_entry_of_one_kind_is_not_taken_for_another() -> None:
    key = token_entry_key(ANNE.token)
    wrong = STATE.entries.update({key: encode(STATE.owner_key(keys("anne").owner.public))})
    with pytest.raises(Malformed):
        LedgerState(STATE.network, STATE.limits, wrong).token(ANNE.token)


def test_a_state_is_rebuilt_from_its_leaves() -> None:
    again = LedgerState(STATE.network, STATE.limits, StateMap.from_sorted(STATE.entries.items()))
    assert again.entries.root == STATE.entries.root
    assert again.token(ANNE.token) == STATE.token(ANNE.token)


def test_a_light_client_can_check_that_a_grant_is_live_and_another_is_not_there() -> None:
    key, absent = grant_entry_key(ANNE.token, grant_id(1)), grant_entry_key(ANNE.token, grant_id(2))
    value = encode(STATE.grant(ANNE.token, grant_id(1)))
    assert verify_proof(STATE.entries.root, key, value, STATE.entries.prove(key))
    assert verify_proof(STATE.entries.root, absent, None, STATE.entries.prove(absent))


def test_a_grant_is_live_only_in_its_tokens_generation_unrevoked_and_unerased() -> None:
    token = STATE.token(ANNE.token)
    assert token is not None
    live = GrantState(0, 0, False, bytes(32), 1)
    assert is_live(live, token)
    assert not is_live(GrantState(1, 0, False, bytes(32), 1), token)
    assert not is_live(GrantState(0, 0, True, bytes(32), 1), token)
    assert not is_live(live, replace(token, erased=True))


def test_history_depends_on_every_transaction_and_on_their_order() -> None:
    first, second = TransactionId(b"1" * 32), TransactionId(b"2" * 32)
    start = bytes(32)
    histories = {
        next_history(next_history(start, first), second),
        next_history(next_history(start, second), first),
        next_history(start, second),
    }
    assert len(histories) == 3


def test_states_do_not_change_under_later_ones() -> None:
    before = STATE.entries.root
    after(STATE, mint("bert", by=CLINICS[1]))
    assert STATE.entries.root == before
