"""The types of arguments. What people type becomes a value within its limits, or a clear error."""

import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

from cli.settings import Settings
from protocol import limits
from protocol.control import day_ms
from protocol.control.asking import ID_PREFIX_CHARS_MIN
from protocol.errors import ChartmeshError, Code, UserError

UNIT_MS = {
    "s": 1000,
    "m": limits.MINUTE_MS,
    "h": limits.HOUR_MS,
    "d": limits.DAY_MS,
    "w": 7 * limits.DAY_MS,
}
_DURATION = re.compile(r"(-?)([0-9]{1,9})([smhdw])")
_ID = re.compile(r"[0-9a-f]{1,66}")
_PURPOSE = re.compile(r"[A-Z]{1,16}")

# Words for people; any other code of HL7 PurposeOfUse may be typed as it is.
PURPOSES = {
    "treatment": "TREAT",
    "emergency": "ETREAT",
    "payment": "HPAYMT",
    "operations": "HOPERAT",
    "research": "HRESCH",
    "public-health": "PUBHLTH",
    "patient": "PATRQT",
}

COMPLETE_S = 1.0
"""How long a completion waits for the node."""

Listing = Callable[[Settings], Iterable[tuple[str, str]]]


def parse_duration(text: str) -> int:
    """Milliseconds of `30d`, `12h`, `45m`, `90s` or `2w`: more than none, at most 400 days.

    Raises:
        UserError: DURATION.
    """
    hint = "write a number and a unit, for example 30d, 12h, 45m or 90s; at most 400d"
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise UserError(f"{text!r} is not a duration", hint, code=Code.DURATION)
    minus, number, unit = match.groups()
    if minus:
        raise UserError(f"the duration {text!r} lies in the past", hint, code=Code.DURATION)
    ms = int(number) * UNIT_MS[unit]
    if ms == 0:
        raise UserError(f"the duration {text!r} is no time at all", hint, code=Code.DURATION)
    if ms > limits.GRANT_LIFE_MS_MAX:
        raise UserError(f"the duration {text!r} is too long", hint, code=Code.DURATION)
    return ms


def parse_since(text: str, *, now_ms: int) -> int:
    """Unix milliseconds of a local date `2026-01-31`, a time `2026-01-31T08:00`, or so long ago: `7d`.

    Raises:
        UserError: DURATION.
    """
    try:
        if _DURATION.fullmatch(text.strip().lower()):
            return max(0, now_ms - parse_duration(text))
        return max(0, int(datetime.fromisoformat(text.strip()).astimezone().timestamp() * 1000))
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(
            f"{text!r} is neither a date nor a duration",
            "write 2026-01-31, or 7d for a week ago",
            code=Code.DURATION,
        ) from error


def parse_day(text: str) -> int:
    """Unix milliseconds of the beginning of a day `2026-01-31`, UTC.

    Raises:
        UserError: DURATION.
    """
    try:
        return day_ms(text.strip())
    except (ValueError, OverflowError) as error:
        raise UserError(f"{text!r} is no day", "write it as 2036-01-31", code=Code.DURATION) from error


def parse_ahead(text: str, *, now_ms: int) -> int:
    """Milliseconds from now until a local date `2026-01-31` or time `2026-01-31T08:00`; or of `7d`.

    Raises:
        UserError: DURATION: neither, past, or further ahead than a share may last.
    """
    hint = "write a date to come, such as 2026-01-31, or 7d for in a week; at most 400d ahead"
    if _DURATION.fullmatch(text.strip().lower()):
        return parse_duration(text)
    ahead_ms = parse_since(text, now_ms=now_ms) - now_ms
    if not 0 < ahead_ms <= limits.GRANT_LIFE_MS_MAX:
        raise UserError(f"{text!r} is past, or too far ahead", hint, code=Code.DURATION)
    return ahead_ms


def parse_id(text: str) -> str:
    """An id or a prefix of one, of at least six characters. Raises UserError (USAGE)."""
    lowered = text.strip().lower()
    if _ID.fullmatch(lowered) is None:
        raise UserError(f"{text!r} is not an id", "ids are made of 0-9 and a-f", code=Code.USAGE)
    if len(lowered) < ID_PREFIX_CHARS_MIN:
        raise UserError(
            f"{text!r} is too short for an id",
            f"give at least {ID_PREFIX_CHARS_MIN} characters of it",
            code=Code.USAGE,
        )
    return lowered


def parse_purpose(text: str | None) -> str:
    """A code of HL7 PurposeOfUse, from itself or from a plain word. Raises UserError (PURPOSE)."""
    hint = "name one, for example --purpose TREAT (treatment), HPAYMT (payment) or HRESCH (research)"
    if text is None or not text.strip():
        raise UserError("no purpose given, and none means no access", hint, code=Code.PURPOSE)
    code = PURPOSES.get(text.strip().lower(), text.strip().upper())
    if _PURPOSE.fullmatch(code) is None:
        raise UserError(f"{text!r} is not a purpose of use", hint, code=Code.PURPOSE)
    return code


def terminal_user() -> str:
    """Who uses this terminal. Raises UserError (USAGE) where nobody knows."""
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UserError("nobody knows who you are", "say it with --as NAME", code=Code.USAGE) from None


class DurationParam(click.ParamType[int]):
    """`30d` and the like, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return parse_duration(value) if isinstance(value, str) else value


class SinceParam(click.ParamType[int]):
    """A date, or a duration ago, as Unix milliseconds."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return parse_since(value, now_ms=time.time_ns() // 1_000_000) if isinstance(value, str) else value


class AheadParam(click.ParamType[int]):
    """A date to come, or a duration from now, as milliseconds from now."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return parse_ahead(value, now_ms=time.time_ns() // 1_000_000) if isinstance(value, str) else value


since_option = click.option(
    "--since", "since_ms", type=SinceParam(), help="Only from this date on, or from so long ago (7d)."
)
rows_option = click.option(
    "--rows",
    type=click.IntRange(1, limits.CONTROL_ROWS_MAX),
    default=limits.CONTROL_ROWS_DEFAULT,
    help="How many at most.",
)


class IdParam(click.ParamType[str]):
    """An id or its prefix. Completion asks a running node with `listing`: pairs of id and title."""

    name = "id"

    def __init__(self, listing: Listing | None = None) -> None:
        self._listing = listing

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return parse_id(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        settings = ctx.find_object(Settings) or Settings()
        try:
            found = list(self._listing(settings)) if self._listing is not None else []
        except ChartmeshError:
            return []
        return [
            CompletionItem(one, help=title) for one, title in found if one.startswith(incomplete.lower())
        ]
