"""Who could read what, now and later: shown before anything is signed."""

import click

from cli import render
from cli.launch import call_started
from cli.settings import Settings
from cli.values import AheadParam
from protocol.control import MyPreview, MyPreviewResult, PreviewItem, PreviewVerdict

at_option = click.option(
    "--at",
    "in_ms",
    type=AheadParam(),
    metavar="DATE|DURATION",
    help="Also who could read then: a date to come, or 30d.",
)


def show_preview(settings: Settings, request: MyPreview) -> None:
    """Asks, and prints one line for each way to read each record."""
    result = call_started(settings, request)
    if settings.is_json:
        render.document(result)
        return
    columns = ["RECORD", "WHO", "BY", "FOR", "UNTIL", "NOW"]
    if result.at is not None:
        columns.append(f"AT {render.when(result.at)}")
    render.table((*columns, "TITLE"), map(_row, result.rows), empty="you share nothing: only you can read")
    _note(result)


def _row(one: PreviewItem) -> tuple[str, ...]:
    later = () if one.then is None else (_verdict(one.then),)
    return (
        render.short(one.token),
        render.named(one.reader_name, one.reader) if one.reader else "you",
        "this share, not signed" if one.is_new else render.short(one.grant) or "your keys",
        ", ".join(one.purposes),
        "-" if one.not_after is None else render.when(one.not_after),
        _verdict(one.now),
        *later,
        one.title,
    )


def _verdict(one: PreviewVerdict) -> str:
    return "can read" if one.can_read else f"no: {one.why}"


def _note(result: MyPreviewResult) -> None:
    if any(one.is_new for one in result.rows):
        render.note("nothing was signed; the same without --preview shares it")
    if result.at is not None:
        render.note("later holds if nothing else is shared or stopped until then")
    if result.rows:
        render.note(
            "the clinic that wrote a record knows what it wrote; clinics that keep copies cannot read them"
        )
