"""Text for people: tables, times, sizes, progress. Text from others is made harmless to terminals."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from protocol.control import Document, Progress, encode_document, plain
from protocol.errors import Code, UserError

_SHORT_CHARS = 12
_DRAW_EVERY_S = 0.1
_REPORT_EVERY_S = 1.0
_PLAIN_WIDTH = 10_000


def say(text: str) -> None:
    """One line of the answer."""
    click.echo(plain(text))


def note(text: str) -> None:
    """One line beside the answer, on stderr."""
    click.echo(plain(text), err=True)


def document(one: Document) -> None:
    """One JSON document, on its line."""
    click.echo(encode_document(one))


def short(identity: str) -> str:
    """The beginning of an id, enough to type."""
    return identity[:_SHORT_CHARS]


def named(name: str, identity: str) -> str:
    """What to call a member: its name, else its id."""
    return name or short(identity)


def when(utc: str | None) -> str:
    """A UTC time of the contract in local time with its zone."""
    if utc is None:
        return "-"
    try:
        return f"{datetime.fromisoformat(utc).astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError):
        return plain(utc)


def clock(utc: str) -> str:
    """The same to the second, without the day."""
    return f"{datetime.fromisoformat(utc).astimezone():%H:%M:%S %Z}"


def span(seconds: float) -> str:
    """A length of time in its two largest units, e.g. `3d 4h`, `12 s`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"))
    return " ".join([f"{count}{unit}" for count, unit in parts if count][:2])


def counted(count: int, what: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def size(count: float) -> str:
    """Bytes with a binary unit, e.g. `1.4 MiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while count >= 1024 and step < len(units) - 1:
        count /= 1024
        step += 1
    return f"{count:.0f} {units[step]}" if step == 0 or count >= 100 else f"{count:.1f} {units[step]}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Rows under headings, never cut when the output is no terminal; `empty` says that there are none."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        note(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, no_wrap=column == "ID")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else _PLAIN_WIDTH
    Console(file=sys.stdout, width=width, no_color=bool(os.environ.get("NO_COLOR")) or None).print(drawn)


def qr(text: str, *, too_long: str) -> None:
    """A code as a QR code of block characters. Raises UserError LIMIT, with `too_long` as its hint."""
    import segno

    try:
        drawn = segno.make(text, error="l", micro=False)
    except segno.DataOverflowError as error:
        raise UserError("the code is too long for a QR code", too_long, code=Code.LIMIT) from error
    drawn.terminal(out=sys.stdout, compact=True)


class ProgressLine:
    """Progress on stderr: a line that is redrawn on a terminal, JSON lines for scripts, else nothing."""

    def __init__(self, *, is_json: bool, label: str = "") -> None:
        self._is_json = is_json
        self._is_terminal = sys.stderr.isatty()
        self._label = label
        self._next_s = time.perf_counter() + (_REPORT_EVERY_S if is_json else 0)
        self._is_drawn = False

    def __call__(self, progress: Progress) -> None:
        now_s = time.perf_counter()
        if now_s < self._next_s:
            return
        if self._is_json:
            self._next_s = now_s + _REPORT_EVERY_S
            click.echo(encode_document(progress), err=True)
        elif self._is_terminal:
            self._next_s = now_s + _DRAW_EVERY_S
            self._is_drawn = True
            sys.stderr.write(f"\r\x1b[K{plain(self._label)} {plain(progress.step)} {_extent(progress)}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Removes the line, before the answer is printed."""
        if self._is_drawn:
            self._is_drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _extent(progress: Progress) -> str:
    def amount(count: int) -> str:
        return size(count) if progress.unit == "bytes" else f"{count} {progress.unit}"

    if progress.total is None:
        return amount(progress.done) if progress.done else ""
    share = 100 * progress.done // max(1, progress.total)
    return f"{share} %  {amount(progress.done)} of {amount(progress.total)}"
