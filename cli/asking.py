"""What is asked of a person at the terminal: a yes to what cannot be undone, and the 24 words.

The words come by prompt, from a private file or from an open descriptor, and never from the command line or
the environment, which others can read.
"""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from cli import render
from cli.settings import ANY_PATH, F
from protocol import limits
from protocol.errors import ChartmeshError, Code, UserError

_TRIES = 3
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

T = TypeVar("T")

yes_option = click.option("--yes", is_flag=True, help="Do it without being asked.")


def confirm(question: str, *, yes: bool, is_json: bool) -> None:
    """Raises UserError USAGE where the answer is not yes, or nobody is there to give it."""
    if yes:
        return
    if is_json or not sys.stdin.isatty():
        raise UserError(
            "this cannot be undone, and nobody is here to confirm it", "give --yes", code=Code.USAGE
        )
    if not click.confirm(question, err=True):
        raise UserError("not confirmed, so nothing was done", "run it again to do it", code=Code.USAGE)


def words_options(command: F) -> F:
    """Adds `--words-file` and `--words-fd`, for `read_words`."""
    command = click.option(
        "--words-fd", type=click.IntRange(min=0), help="Read the 24 words from this open descriptor."
    )(command)
    return click.option("--words-file", type=ANY_PATH, help="Read the 24 words from this private file.")(
        command
    )


def with_words(file: Path | None, descriptor: int | None, use: Callable[[str], T]) -> T:
    """What `use` makes of the 24 words, from where they were said to be or else typed at the terminal.

    Whoever typed them is asked again after a slip that `use` noticed.

    Raises:
        UserError: USAGE, nobody is there to type them; KEY_FILE, the file cannot be read, or others can
            read it; WORDS, what is there is no text.
        ChartmeshError: what `use` raises.
    """
    if file is not None and descriptor is not None:
        raise click.UsageError("give --words-file or --words-fd, not both")
    if file is not None or descriptor is not None:
        return use(_read_words(file, descriptor))
    for _ in range(_TRIES - 1):
        try:
            return use(_typed_words())
        except ChartmeshError as error:
            if error.code is not Code.WORDS:
                raise
            render.note(f"{error.message}: {error.hint}")
    return use(_typed_words())


def _read_words(file: Path | None, descriptor: int | None) -> str:
    try:
        with file.open("rb") if file is not None else os.fdopen(descriptor or 0, "rb") as source:
            if file is not None and os.fstat(source.fileno()).st_mode & _OTHERS:
                raise UserError(
                    f"the file {file} can be read by others", f"run: chmod 600 {file}", code=Code.KEY_FILE
                )
            text = source.read(limits.WORDS_CHARS_MAX + 1).decode("ascii").strip()
    except OSError as error:
        raise UserError(
            f"cannot read the words: {error.strerror}", "check the path, or type them", code=Code.KEY_FILE
        ) from error
    except UnicodeDecodeError as error:
        raise _no_words() from error
    if not 0 < len(text) <= limits.WORDS_CHARS_MAX:
        raise _no_words()
    return text


def _typed_words() -> str:
    if not sys.stdin.isatty():
        raise UserError(
            "this needs the 24 words, and nobody is here to type them",
            "give --words-file FILE or --words-fd N",
            code=Code.USAGE,
        )
    from getpass import getpass

    return (
        getpass("The 24 words or three sheets, with spaces between (they are not shown): ").strip()
        or "none"
    )


def _no_words() -> UserError:
    return UserError(
        "what is there are no 24 words", "write the words into it, with spaces between", code=Code.WORDS
    )
