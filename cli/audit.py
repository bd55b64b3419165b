"""Commands about this node's audit log."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from msgspec.structs import astuple, replace

from cli import render
from cli.client import call
from cli.files import Incoming, file_error
from cli.record import RECORD
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from cli.values import rows_option, since_option
from protocol import exits, limits
from protocol.control import AuditItem, AuditList, AuditListResult, AuditVerify
from protocol.errors import Code

F = TypeVar("F", bound=Callable[..., Any])
# What a spreadsheet takes for a formula (OWASP, CSV injection).
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def filter_options(command: F) -> F:
    """Adds what chooses entries of the log."""
    command = since_option(command)
    command = click.option("--by", help="Only this person or member.")(command)
    command = click.option("--patient", help="Only this patient, by your own name.")(command)
    return click.option("--record", metavar="ID", type=RECORD, help="Only this record.")(command)


@click.group()
@shared_options
def audit() -> None:
    """Who asked this node for what, and what it answered."""


@audit.command("list")
@shared_options
@filter_options
@rows_option
@pass_settings
def list_(
    settings: Settings,
    record: str | None,
    patient: str | None,
    by: str | None,
    since_ms: int | None,
    rows: int,
) -> None:
    """The newest entries of the log."""
    request = AuditList(record=record, patient=patient, by=by, since_ms=since_ms, rows=rows)
    result = call(settings.place, request)
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("NO.", "TIME", "EVENT", "MEMBER", "USER", "PURPOSE", "RECORD", "OUTCOME", "REASON", "SIZE"),
        (
            (
                str(one.sequence),
                render.when(one.time),
                one.event,
                render.named(one.member_name, one.member),
                one.user,
                one.purpose,
                render.short(one.token or "-"),
                one.outcome,
                one.reason,
                render.size(one.bytes),
            )
            for one in result.entries
        ),
        empty="no entries",
    )
    if result.more:
        render.note("there are more: ask with --rows or --since")


@audit.command()
@shared_options
@pass_settings
def verify(settings: Settings) -> int:
    """Read the whole log again and check its chain. Exits 13 where it is broken."""
    result = call(settings.place, AuditVerify())
    if settings.is_json:
        render.document(result)
    else:
        state = "the chain holds" if result.ok else f"the chain is broken at entry {result.bad}"
        posted = (
            "none posted yet" if result.posted is None else f"the ledger agrees up to entry {result.posted}"
        )
        render.say(f"{result.entries} entries: {state}; {posted}; head {result.head}")
    return exits.DONE if result.ok else exits.exit_status(Code.STORE_DAMAGED)


@audit.command()
@shared_options
@click.option(
    "--csv", "is_csv", is_flag=True, help="As comma-separated values (RFC 4180), a line an entry."
)
@click.option(
    "-o", "--output", type=ANY_PATH, metavar="F", required=True, help="A file that is not there yet."
)
@filter_options
@pass_settings
def export(
    settings: Settings,
    is_csv: bool,
    output: Path,
    record: str | None,
    patient: str | None,
    by: str | None,
    since_ms: int | None,
) -> int:
    """Save the log in a file, newest first. Exits 13 where its chain is broken."""
    if not is_csv:
        raise click.UsageError("say as what to save it: --csv")
    path = output.expanduser().absolute()
    if path.exists():
        raise file_error(f"{path} is there already", "name another file: nothing is overwritten")
    request = AuditList(
        record=record, patient=patient, by=by, since_ms=since_ms, rows=limits.CONTROL_ROWS_MAX
    )
    count, is_whole = 0, True
    with Incoming(path.parent) as incoming:
        incoming.write(csv_line(AuditItem.__struct_fields__))
        for page in _pages(settings, request):
            is_whole = page.ok
            count += len(page.entries)
            for entry in page.entries:
                incoming.write(csv_line(astuple(entry)))
        incoming.keep(path)
    if settings.is_json:
        render.say(json.dumps({"v": 1, "entries": count, "ok": is_whole, "path": str(path)}))
    else:
        render.say(f"{count} entries saved to {path}")
        if not is_whole:
            render.note("the chain is broken there: what is older is missing; see: chartmesh audit verify")
    return exits.DONE if is_whole else exits.exit_status(Code.STORE_DAMAGED)


def csv_line(values: Iterable[object]) -> bytes:
    """One line of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe first."""
    cells = ("" if value is None else str(value) for value in values)
    text = io.StringIO(newline="")
    csv.writer(text).writerow(f"'{one}" if one.startswith(_FORMULA_STARTS) else one for one in cells)
    return text.getvalue().encode()


def _pages(settings: Settings, request: AuditList) -> Iterator[AuditListResult]:
    """All that fits, in as many answers as it takes; the last one where the chain is broken."""
    while True:
        page = call(settings.place, request)
        yield page
        if not page.more or not page.ok:
            return
        request = replace(request, before=page.entries[-1].sequence)
