"""Every error code has an exit status, and the ones that scripts rely on do not move."""

import pytest

from protocol import exits
from protocol.errors import Code


def test_every_code_has_an_exit_status() -> None:
    assert set(exits._STATUS) == set(Code)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.INTERNAL, 1),
        (Code.USAGE, 2),
        (Code.PARTIAL, 3),
        (Code.REFUSED, 4),
        (Code.NOT_FINAL, 5),
        (Code.NOT_RUNNING, 6),
        (Code.STALE, 7),
        (Code.NOT_INITIALISED, 10),
        (Code.ALREADY_RUNNING, 11),
        (Code.LOCKED, 11),
        (Code.WRONG_PASSPHRASE, 12),
        (Code.STORE_DAMAGED, 13),
        (Code.STORE_NEWER, 14),
        (Code.STORE_OLDER, 1),
        (Code.INTERRUPTED, 130),
    ],
)
def test_the_statuses_of_the_contract(code: Code, status: int) -> None:
    assert exits.exit_status(code) == status


def test_a_code_of_a_later_version_is_a_failure() -> None:
    assert exits.exit_status("not-invented-yet") == exits.FAILED


def test_a_status_names_a_code_that_exits_with_it() -> None:
    for code in Code:
        assert exits.exit_status(exits.code_of_exit(exits.exit_status(code))) == exits.exit_status(code)
    assert exits.code_of_exit(77) is Code.INTERNAL
