"""What files a study has, without getting them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli import render
from cli.client import call
from cli.receive import STDOUT
from cli.settings import Settings
from protocol import limits
from protocol.control import MyRecord, RecordFilesResult, RecordGet, StudyFileItem
from protocol.errors import Code, UserError
from protocol.study import START_BYTES, decode_head

F = TypeVar("F", bound=Callable[..., Any])


def part_options(command: F) -> F:
    """`--file` and `--files`, of which `check_part` lets at most one through."""
    command = click.option(
        "--file", "file", metavar="PATH", help="Of a study, get this file alone, without the rest."
    )(command)
    return click.option("--files", "is_index", is_flag=True, help="Of a study, show what files it has.")(
        command
    )


def check_part(file: str | None, *, is_index: bool, output: str, count: int) -> None:
    """Raises UsageError: what does not go together."""
    if (file or is_index) and count > 1:
        raise click.UsageError("--file and --files are for one record")
    if file is not None and is_index:
        raise click.UsageError("--files shows what files there are, --file gets one: give one of the two")
    if file is not None and not 1 <= len(file) <= limits.STUDY_PATH_CHARS_MAX:
        raise click.UsageError(f"--file takes a path of 1 to {limits.STUDY_PATH_CHARS_MAX} characters")
    if is_index and output == STDOUT:
        raise click.UsageError("--files prints a table: it saves nothing")


def show_files(settings: Settings, request: RecordGet | MyRecord) -> None:
    """Prints what files a study has.

    Raises:
        Malformed: what came is no head of a study. ChartmeshError: the daemon's.
    """
    raw = bytearray()

    def keep(piece: bytes) -> None:
        raw.extend(piece)
        if len(raw) > START_BYTES + limits.STUDY_INDEX_BYTES_MAX:
            raise UserError("the node sent more than an index", "run the command again", code=Code.INTERNAL)

    progress = render.ProgressLine(is_json=settings.is_json)
    result = call(settings.place, request, sink=keep, report=progress)
    progress.clear()
    files = tuple(
        StudyFileItem(
            path=one.path,
            bytes=one.length,
            sha256=one.sha256.hex(),
            modality=one.modality,
            series=one.series,
            instance=one.instance,
        )
        for one in decode_head(bytes(raw)).files
    )
    if settings.is_json:
        render.document(RecordFilesResult(token=result.token, audit_id=result.audit_id, files=files))
        return
    render.table(
        ("PATH", "SIZE", "MODALITY", "SERIES"),
        ((one.path, render.size(one.bytes), one.modality or "-", one.series or "-") for one in files),
        empty="no files",
    )
