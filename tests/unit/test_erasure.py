"""Whether a record may be erased by now, as the wallet of its owner judges it."""

import pytest
from msgspec.structs import replace

from protocol.erasure import check_retention
from protocol.errors import Code, UserError
from tests.clinic_world import LABEL

KEPT = replace(LABEL, keep_until_ms=2_085_350_400_000)
"""Until the first moment of 2036-01-31, UTC."""


def test_a_record_is_kept_to_the_day_that_its_label_names_and_no_longer() -> None:
    for now_ms in (0, LABEL.time_ms, KEPT.keep_until_ms - 1):
        with pytest.raises(UserError, match=r"until 2036-01-31 \(UTC\)") as caught:
            check_retention(KEPT, now_ms)
        assert caught.value.code is Code.RETENTION
    check_retention(KEPT, KEPT.keep_until_ms)
    check_retention(LABEL, 0)
