"""Getting one record from the daemon into a file, whole or not at all, or to the standard output."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import click
from msgspec.structs import replace

from cli import render
from cli.client import call
from cli.files import Incoming, safe_name
from cli.settings import Settings
from cli.studies import IncomingStudy
from protocol.control import Ask, RecordGetResult
from protocol.errors import Code, UserError
from protocol.study import MAGIC

STDOUT = "-"


def check_output(settings: Settings, output: str, count: int) -> None:
    """Raises UsageError where the standard output is wanted twice."""
    if output == STDOUT and (settings.is_json or count > 1):
        raise click.UsageError("-o - is for one record, without --json")


def receive(settings: Settings, request: Ask[RecordGetResult], output: str) -> None:
    """Gets one record into a directory, a file or the standard output, and says so.

    Raises:
        ChartmeshError: the daemon's; nothing is left behind then.
        UserError: RECORD_FILE, where it cannot be written.
    """
    progress = render.ProgressLine(is_json=settings.is_json)
    if output == STDOUT:
        result = call(settings.place, request, sink=sys.stdout.buffer.write, report=progress)
        progress.clear()
        render.note(_receipt(result))
        return
    target = Path(output).expanduser()
    with _Receiving(target) as receiving:
        result = call(settings.place, request, sink=receiving.write, report=progress)
        progress.clear()
        receiving.write_held()
        incoming = receiving.into
        if (incoming.bytes, incoming.sha256) != (result.bytes, result.sha256):
            raise UserError(
                "what arrived is not what the node sent", "run the command again", code=Code.INTERNAL
            )
        path = (target / safe_name(result.token, result.name) if target.is_dir() else target).absolute()
        incoming.keep(path)
    result = replace(result, path=str(path))
    if settings.is_json:
        render.document(result)
    else:
        render.say(_receipt(result))


class _Receiving:
    """A record on its way to a file, or into a folder where it is a study and no file was named."""

    def __init__(self, target: Path) -> None:
        self._folder = target if target.is_dir() else target.parent
        self._may_unpack = target.is_dir()
        self._held = b""
        self._exits = ExitStack()
        # It begins as a file, so that a folder which takes none is noticed before anything is asked for.
        self.into: Incoming | IncomingStudy = Incoming(self._folder)
        self._exits.enter_context(self.into)

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes. The first few are held back: they say where all goes."""
        self._held += chunk
        if self._may_unpack and len(self._held) < len(MAGIC):
            return
        if self._may_unpack and self._held.startswith(MAGIC):
            self._exits.close()
            self.into = IncomingStudy(self._folder)
            self._exits.enter_context(self.into)
        self._may_unpack = False
        self.write_held()

    def write_held(self) -> None:
        """After the last bytes, for a record that is shorter than those few."""
        held, self._held = self._held, b""
        self.into.write(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


def _receipt(result: RecordGetResult) -> str:
    saved = f" saved to {result.path}" if result.path else ""
    return (
        f"{render.short(result.token)}{saved}: {render.size(result.bytes)}, verified, "
        f"sha256 {result.sha256}, audit {result.audit_id}"
    )
