"""How a program of ours ends: its error in two lines, or as JSON, and the exit status that goes with it."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from protocol.errors import ChartmeshError, Code, UserError
from protocol.exits import exit_status


def exit_of(job: Callable[[], int | None], *, is_json: bool, errors_fd: int | None = None) -> int:
    """Runs `job`; its exit status, or that of its error, which is told on stderr.

    With `errors_fd` the error is written there too, as JSON: for the program that started this one and
    whose user does not see its stderr.
    """
    try:
        return job() or 0
    except (ChartmeshError, KeyboardInterrupt, BaseExceptionGroup) as caught:
        error = _expected(caught)
        if error.code is Code.INTERRUPTED and sys.stderr.isatty():
            print(file=sys.stderr)  # the terminal has written ^C there, perhaps behind a question
        if errors_fd is not None:
            # Whoever saw this one start well has stopped listening.
            with suppress(BrokenPipeError):
                os.write(errors_fd, f"{_document(error)}\n".encode())
        return tell(error, is_json=is_json)


def _expected(error: BaseException) -> ChartmeshError:
    """The one error that people are told. Raises `error` where it holds one that nobody expects."""
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return UserError("interrupted", "nothing is half-written; run it again", code=Code.INTERRUPTED)
    for cause in causes:
        if not isinstance(cause, ChartmeshError):
            raise error
    assert isinstance(causes[0], ChartmeshError)
    return causes[0]


def tell(error: ChartmeshError, *, is_json: bool) -> int:
    """Tells an error on stderr; its exit status."""
    if is_json:
        print(_document(error), file=sys.stderr)
    else:
        print(f"error: {error.message}\nhint: {error.hint or 'see: chartmesh --help'}", file=sys.stderr)
    return exit_status(error.code)


def _document(error: ChartmeshError) -> str:
    document = {"v": 1, "type": "error", "code": error.code, "error": error.message, "hint": error.hint}
    return json.dumps(document)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups of errors."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
