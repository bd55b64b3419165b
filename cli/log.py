"""`chartmesh log`: what the node wrote into its log since it runs in the background."""

import os
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from cli.launch import LOG_NAME
from cli.settings import Settings, pass_settings, shared_options
from protocol.control import plain
from protocol.errors import Code, UserError
from protocol.limits import KIB, MIB

LEVELS: Final = ("debug", "info", "warning", "error")
TAIL_BYTES_MAX: Final = MIB
_LINE_BYTES_MAX: Final = 64 * KIB
_PAUSE_S: Final = 0.5
# A line for people, or a JSON line, as the daemon writes them.
_LEVEL: Final = re.compile(r'\d{4}-\d\d-\d\d [\d:,]{8,12} (\w+) |\{"time": "[^"]{1,40}", "level": "(\w+)"')


@click.command()
@shared_options
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--level", type=click.Choice(LEVELS), default=LEVELS[0], help="Only what is as grave, or graver."
)
@click.option("--lines", type=click.IntRange(1, 10_000), default=100, help="How many of the newest.")
@pass_settings
def log(settings: Settings, is_followed: bool, level: str, lines: int) -> None:
    """The newest lines of the node's log."""
    path = settings.place.data_dir / LOG_NAME
    with _open(path) as file:
        sieve = Sieve(level)
        for line in [line for line in tail(file) if sieve(line)][-lines:]:
            _print(line, is_json=settings.is_json)
        if is_followed:
            for line in filter(sieve, follow(path, file, lambda: time.sleep(_PAUSE_S))):
                _print(line, is_json=settings.is_json)


class Sieve:
    """Lets through lines from a level on; what belongs to a line, such as a traceback, fares as it does."""

    def __init__(self, level: str) -> None:
        self._least, self._is_kept = LEVELS.index(level), True

    def __call__(self, line: str) -> bool:
        found = _LEVEL.match(line)
        if found is not None:
            level = (found[1] or found[2]).lower()
            self._is_kept = (LEVELS.index(level) if level in LEVELS else len(LEVELS)) >= self._least
        return self._is_kept


def tail(file: BinaryIO) -> list[str]:
    """The whole lines in the last TAIL_BYTES_MAX of a file, which is read up to them then."""
    start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES_MAX)
    file.seek(start)
    lines = file.read().split(b"\n")
    file.seek(-len(lines[-1]), os.SEEK_CUR)
    return [line.decode("utf-8", "replace") for line in lines[1 if start else 0 : -1]]


def follow(path: Path, file: BinaryIO, wait: Callable[[], None]) -> Generator[str]:
    """The lines that are added to `file`, and to what takes its place under `path`; `wait` is called when
    there is nothing new."""
    held = b""
    try:
        while True:
            some = file.read(_LINE_BYTES_MAX)
            *lines, held = (held + some).split(b"\n")
            if len(held) > _LINE_BYTES_MAX:
                lines, held = [*lines, held], b""
            yield from (line.decode("utf-8", "replace") for line in lines)
            if not some:
                file = _newest(path, file)
                wait()
    finally:
        file.close()


def _newest(path: Path, file: BinaryIO) -> BinaryIO:
    """`file`, or what was begun in its place."""
    try:
        is_same = path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return file
    if is_same:
        return file
    file.close()
    return _open(path)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(
            f"there is no log at {path}",
            "a node that a service runs writes to the journal: journalctl -u chartmesh",
            code=Code.USAGE,
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", "run this as the user of the node", code=Code.CONFIG
        ) from error


def _print(line: str, *, is_json: bool) -> None:
    if is_json:
        click.echo(msgspec.json.encode({"v": 1, "type": "line", "line": line}))
    else:
        click.echo(plain(line))
