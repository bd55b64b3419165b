"""The roll: who is a member, shown against a header to someone who has nothing else."""

import pytest
from msgspec.structs import replace

from protocol.blocks import Header, Member
from protocol.chain import genesis_header
from protocol.errors import RemoteProtocolError
from protocol.roll import active_members, prove_roll, verify_roll
from protocol.state import LedgerState, Role
from tests.ledger_world import CLINICS, GENESIS, START, after
from tests.unit.test_membership import ADMITTED, NEW, suspend

FOUNDERS = GENESIS.members


def header(state: LedgerState) -> Header:
    return replace(genesis_header(GENESIS), state_root=state.entries.root)


def proven(state: LedgerState) -> tuple[Member, ...]:
    return active_members(verify_roll(header(state), prove_roll(state)))


def names(state: LedgerState) -> list[str]:
    return [member.name for member in proven(state)]


def test_the_founders_are_proven_as_the_genesis_file_has_them() -> None:
    assert proven(START) == FOUNDERS


def test_a_clinic_that_came_later_is_on_it_and_one_that_was_suspended_is_not() -> None:
    assert names(ADMITTED) == [*(member.name for member in FOUNDERS), "new"]
    suspended = after(START, suspend(CLINICS[3]))
    assert names(suspended) == [member.name for member in FOUNDERS[:3]]
    *_, last = verify_roll(header(suspended), prove_roll(suspended))
    assert (last.id_key, last.role) == (CLINICS[3].public, Role.SUSPENDED)


def test_a_roll_of_another_state_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        verify_roll(header(START), prove_roll(ADMITTED))


def test_nobody_can_be_left_out_added_or_exchanged() -> None:
    roll = prove_roll(ADMITTED)
    forged = replace(roll.members[0], value=roll.members[1].value)
    for members in (
        roll.members[:-1],
        (*roll.members, roll.members[0]),
        (roll.members[1], roll.members[0], *roll.members[2:]),
        (forged, *roll.members[1:]),
    ):
        with pytest.raises(RemoteProtocolError):
            verify_roll(header(ADMITTED), replace(roll, members=members))
    assert NEW.public in ADMITTED.roster.members
