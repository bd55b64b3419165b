"""Commands about this node's audit log."""

import click

from cli import render
from cli.client import call
from cli.record import RECORD
from cli.settings import Settings, pass_settings, shared_options
from cli.values import rows_option, since_option
from protocol import exits
from protocol.control import AuditList, AuditVerify
from protocol.errors import Code


@click.group()
@shared_options
def audit() -> None:
    """Who asked this node for what, and what it answered."""


@audit.command("list")
@shared_options
@click.option("--record", metavar="ID", type=RECORD, help="Only this record.")
@click.option("--patient", help="Only this patient, by your own name.")
@click.option("--by", help="Only this person or member.")
@since_option
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
