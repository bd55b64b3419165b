"""Getting one record from the daemon into a file, whole or not at all, or to the standard output."""

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from cli import render
from cli.client import call
from cli.files import Incoming
from cli.settings import Settings
from cli.studies import unpack
from protocol.control import Ask, RecordGetResult
from protocol.errors import Code, UserError
from protocol.records import safe_name

STDOUT = "-"


def check_output(settings: Settings, output: str, count: int) -> None:
    """Raises UsageError where the standard output is wanted twice."""
    if output == STDOUT and (settings.is_json or count > 1):
        raise click.UsageError("-o - is for one record, without --json")


def receive(
    settings: Settings, request: Ask[RecordGetResult], output: str, *, is_part: bool = False
) -> None:
    """Gets one record, or a part of one, into a directory, a file or the standard output, and says so. In a
    directory, a whole study becomes a folder of its files.

    Raises:
        ChartmeshError: the daemon's; nothing is left behind then.
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
    with Incoming(target if target.is_dir() else target.parent) as incoming:
        result = call(settings.place, request, sink=incoming.write, report=progress)
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
