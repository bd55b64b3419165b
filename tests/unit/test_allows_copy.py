"""`access.allows_copy`: ciphertext to a clinic that should hold it too, one broken condition at a time."""

from dataclasses import replace
from typing import Any

import pytest

from protocol.access import Freshness, allows_copy
from protocol.state import Role
from tests.unit.test_access import ELSEWHERE, GRANTEE, HERE, NOW_MS, RIGHT, TOKEN, Situation


def given(situation: Situation, **others: Any) -> bool:
    """Whether `signer`, a member that should hold the record's ciphertext, is given a copy."""
    state = situation.state()
    token = state.token(TOKEN)
    assert token is not None
    arguments: dict[str, Any] = {
        "server": HERE,
        "token": token,
        "holders": (HERE, situation.signer.public),
        "suspended": situation.suspended,
        "state": state,
        "freshness": Freshness(
            NOW_MS - situation.final_age_ms, NOW_MS, situation.elapsed_ms, situation.clock_is_good
        ),
    }
    return allows_copy(situation.signer.public, **(arguments | others))


@pytest.mark.parametrize(
    ("change", "is_given"),
    [
        ({}, True),
        ({"signer_role": Role.VALIDATOR}, True),
        ({"final_age_ms": 59_999, "elapsed_ms": 59_999}, True),
        ({"signer_role": Role.SUSPENDED}, False),
        ({"signer_role": Role.REMOVED}, False),
        ({"suspended": (GRANTEE.public,)}, False),
        ({"suspended": (HERE,)}, False),
        ({"own_role": Role.REMOVED}, False),
        ({"erased": True}, False),
        ({"final_age_ms": 60_000}, False),
        ({"elapsed_ms": 60_000}, False),
        ({"clock_is_good": False}, False),
        ({"final_age_ms": -10_001}, False),
    ],
)
def test_a_copy_goes_to_another_holder_while_both_are_members_and_the_ledger_is_fresh(
    change: dict[str, Any], is_given: bool
) -> None:
    assert given(replace(RIGHT, **change)) is is_given


def test_a_copy_goes_to_nobody_whom_placement_does_not_name() -> None:
    assert not given(RIGHT, holders=(HERE, ELSEWHERE))
