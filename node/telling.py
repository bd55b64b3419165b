"""How a program of ours ends: its error in two lines, or as JSON, and the exit status that goes with it."""

import json
import sys
from collections.abc import Callable, Iterator

from protocol.errors import ChartmeshError, Code, UserError
from protocol.exits import exit_status


def exit_of(job: Callable[[], int | None], *, is_json: bool) -> int:
    """Runs `job`; its exit status, or that of its error, which is told on stderr."""
    try:
        return job() or 0
    except (ChartmeshError, KeyboardInterrupt, BaseExceptionGroup) as error:
        return _tell(_expected(error), is_json=is_json)


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


def _tell(error: ChartmeshError, *, is_json: bool) -> int:
    if is_json:
        document = {"v": 1, "type": "error", "code": error.code, "error": error.message, "hint": error.hint}
        print(json.dumps(document), file=sys.stderr)
    else:
        print(f"error: {error.message}\nhint: {error.hint or 'see: chartmesh --help'}", file=sys.stderr)
    return exit_status(error.code)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups of errors."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
