"""What people type: durations, dates, ids, purposes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.values import PURPOSES, parse_ahead, parse_duration, parse_id, parse_purpose, parse_since
from protocol import limits
from protocol.errors import ChartmeshError, Code

SECOND, MINUTE, HOUR, DAY = 1000, limits.MINUTE_MS, limits.HOUR_MS, limits.DAY_MS


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30d", 30 * DAY),
        ("12h", 12 * HOUR),
        ("45m", 45 * MINUTE),
        ("90s", 90 * SECOND),
        ("2w", 14 * DAY),
        (" 1D ", DAY),
        ("400d", 400 * DAY),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a duration"),
        ("30", "not a duration"),
        ("d", "not a duration"),
        ("1.5d", "not a duration"),
        ("30 days", "not a duration"),
        ("٣d", "not a duration"),
        ("-3d", "past"),
        ("0d", "no time"),
        ("401d", "too long"),
        ("999999999w", "too long"),
    ],
)
def test_a_duration_that_cannot_be_is_a_clear_error(text: str, says: str) -> None:
    with pytest.raises(ChartmeshError, match=says) as caught:
        parse_duration(text)
    assert caught.value.code is Code.DURATION
    assert "30d" in caught.value.hint


@given(st.from_regex(r"[0-9]{1,10}[smhdw]", fullmatch=True))
def test_no_text_makes_a_duration_outside_the_limits(text: str) -> None:
    with suppress(ChartmeshError):
        assert 0 < parse_duration(text) <= limits.GRANT_LIFE_MS_MAX


def test_since_is_a_date_a_time_or_so_long_ago() -> None:
    assert parse_since("7d", now_ms=10 * DAY) == 3 * DAY
    assert parse_since("7d", now_ms=DAY) == 0
    assert parse_since("2026-01-31T12:00:00Z", now_ms=0) == 1_769_860_800_000
    assert parse_since("2026-02-01", now_ms=0) - parse_since("2026-01-31", now_ms=0) == DAY


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "-7d"])
def test_a_date_that_cannot_be_is_a_clear_error(text: str) -> None:
    with pytest.raises(ChartmeshError) as caught:
        parse_since(text, now_ms=10 * DAY)
    assert caught.value.code is Code.DURATION


def test_ahead_is_a_date_to_come_or_so_long_from_now() -> None:
    noon_ms = 1_769_860_800_000
    assert parse_ahead("7d", now_ms=noon_ms) == 7 * DAY
    assert parse_ahead("2026-01-31T12:00:01Z", now_ms=noon_ms) == 1_000
    for text in ("2026-01-31T12:00:00Z", "2025-01-31", "2099-01-31", "tomorrow", "401d"):
        with pytest.raises(ChartmeshError) as caught:
            parse_ahead(text, now_ms=noon_ms)
        assert caught.value.code is Code.DURATION


def test_a_date_before_all_records_means_all_of_them() -> None:
    assert parse_since("0001-01-02T00:00:00+00:00", now_ms=0) == 0


@pytest.mark.parametrize(
    ("text", "identity"),
    [("abcdef", "abcdef"), (" ABCDEF0 ", "abcdef0"), ("a" * 66, "a" * 66)],
)
def test_an_id_is_any_prefix_of_six_characters_or_more(text: str, identity: str) -> None:
    assert parse_id(text) == identity


@pytest.mark.parametrize("text", ["", "abcde", "record", "a" * 67, "abc def", "../../etc"])
def test_an_id_that_cannot_be_is_a_usage_error(text: str) -> None:
    with pytest.raises(ChartmeshError) as caught:
        parse_id(text)
    assert caught.value.code is Code.USAGE


@pytest.mark.parametrize(("text", "code"), [("TREAT", "TREAT"), ("hresch", "HRESCH"), *PURPOSES.items()])
def test_a_purpose_is_a_code_or_a_plain_word(text: str, code: str) -> None:
    assert parse_purpose(text) == code


@pytest.mark.parametrize("text", [None, "", "  ", "TREAT;", "A" * 17])
def test_no_purpose_is_an_error_of_its_own(text: str | None) -> None:
    with pytest.raises(ChartmeshError) as caught:
        parse_purpose(text)
    assert caught.value.code is Code.PURPOSE
    assert "--purpose" in caught.value.hint
