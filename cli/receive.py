"""Getting one record from the daemon into a file, whole or not at all, or to the standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from cli import render
from cli.client import call
from cli.files import Incoming
from cli.settings import Settings
from cli.studies import unpack
from protocol.control import MyRecord, RecordGet, RecordGetResult
from protocol.errors import ChartmeshError, Code, UserError
from protocol.records import safe_name

STDOUT = "-"


def check_output(settings: Settings, output: str, count: int) -> None:
    """Raises UsageError where the standard output is wanted twice."""
    if output == STDOUT and (settings.is_json or count > 1):
        raise click.UsageError("-o - is for one record, without --json")


def receive(
    settings: Settings, request: RecordGet | MyRecord, output: str, *, is_part: bool = False
) -> None:
    """Gets one record, or a part of one, into a directory, a file or the standard output, and says so. In a
    directory, a whole study becomes a folder of its files.

    Raises:
        ChartmeshError: the daemon's. Nothing is left behind then, but where the node or the network failed:
            the same command goes on from there.
        UserError: RECORD_FILE, where it cannot be written; MALFORMED, a study that cannot be taken apart,
            which stays as one file.
    """
    progress = render.ProgressLine(is_json=settings.is_json)
    if output == STDOUT:
        result = call(settings.place, request, sink=sys.stdout.buffer.write, report=progress)
        progress.clear()
        render.note(_receipt(result))
        return
    target = Path(output).expanduser()
    folder = target if target.is_dir() else target.parent
    with _telling_what_stays(Incoming(folder, "" if is_part else request.id)) as incoming:
        request = replace(request, earlier_bytes=incoming.earlier_bytes)
        result = _call(settings, request, incoming, progress)
        progress.clear()
        if (incoming.bytes, incoming.sha256) != (result.bytes, result.sha256):
            raise UserError(
                "what arrived is not what the node sent", "run the command again", code=Code.INTERNAL
            )
        # Images of two series may be called the same.
        name = safe_name(result.token, result.name.replace("/", "-") if is_part else result.name)
        path = (target / name if target.is_dir() else target).absolute()
        incoming.keep(path)
    if target.is_dir() and not is_part:
        unpack(path)
    result = replace(result, path=str(path))
    if settings.is_json:
        render.document(result)
    else:
        render.say(_receipt(result))


def _receipt(result: RecordGetResult) -> str:
    saved = f" saved to {result.path}" if result.path else ""
    return (
        f"{render.short(result.token)}{saved}: {render.size(result.bytes)}, verified, "
        f"sha256 {result.sha256}, audit {result.audit_id}"
    )


def _call(
    settings: Settings,
    request: RecordGet | MyRecord,
    incoming: Incoming,
    progress: render.ProgressLine,
) -> RecordGetResult:
    try:
        return call(
            settings.place, request, content=incoming.earlier(), sink=incoming.write, report=progress
        )
    except ChartmeshError as error:
        if request.earlier_bytes and error.code is Code.MALFORMED:
            raise UserError(
                "what an earlier run left of this record is damaged, and was deleted",
                "run the command again: it begins anew",
                code=Code.MALFORMED,
            ) from error
        raise


@contextmanager
def _telling_what_stays(incoming: Incoming) -> Iterator[Incoming]:
    try:
        with incoming:
            yield incoming
    finally:
        if incoming.left is not None:
            render.note(f"what came stays in {incoming.left}: the same command goes on from there")
