"""The commands that share and stop sharing: single records, or a kind of them as they come."""

from typing import get_args

import click

from cli import render
from cli.asking import confirm, yes_option
from cli.client import call
from cli.launch import call_started
from cli.persons import person_option
from cli.preview import at_option, show_preview
from cli.settings import Settings, pass_settings, starting_options
from cli.sharing import MY_RECORD, note_ending, print_provisions, print_shared, reader
from cli.values import COMPLETE_S, DurationParam, IdParam, parse_purpose, since_option
from protocol import exits
from protocol.control import MyPreview, MyShare, MyShareKind, MyShares, MyStop, ShareTerms, Stopped
from protocol.control.asking import RequestKind


def list_my_shares(settings: Settings) -> list[tuple[str, str]]:
    """Ids and readers of the patient's grants, for completion."""
    found = call(settings.place, MyShares(), timeout_s=COMPLETE_S)
    grants = [(one.grant, f"{one.grantee_name} {one.title}") for one in found.grants]
    return grants + [(one.id, f"{one.grantee_name} {one.kind}") for one in found.provisions]


MY_SHARE = IdParam(list_my_shares)


with_option = click.option("--with", "clinic", required=True, metavar="CLINIC", help="Who may read.")
for_option = click.option(
    "--for", "for_ms", required=True, type=DurationParam(), help="How long, for example 30d."
)
purpose_option = click.option(
    "--purpose", "purposes", multiple=True, default=("treatment",), show_default=True, help="What for."
)


@click.command()
@starting_options
@with_option
@for_option
@purpose_option
@click.option("--preview", "is_preview", is_flag=True, help="Only show who could read then. Signs nothing.")
@at_option
@click.argument("records", nargs=-1, required=True, metavar="RECORD...", type=MY_RECORD)
@pass_settings
def share(
    settings: Settings,
    clinic: str,
    for_ms: int,
    purposes: tuple[str, ...],
    is_preview: bool,
    in_ms: int | None,
    records: tuple[str, ...],
) -> int:
    """Let a clinic read records of yours, for a time and a purpose."""
    codes = _codes(purposes)
    if is_preview:
        terms = ShareTerms(clinic=clinic, for_ms=for_ms, purposes=codes)
        show_preview(settings, MyPreview(records=records, in_ms=in_ms, share=terms))
        return exits.DONE
    if in_ms is not None:
        raise click.UsageError("--at goes with --preview")
    request = MyShare(records=records, clinic=clinic, for_ms=for_ms, purposes=codes)
    result = call_started(settings, request)
    if settings.is_json:
        render.document(result)
    else:
        print_shared(settings, result.grants)
    return exits.DONE if all(one.final for one in result.grants) else exits.NOT_FINAL


@click.command("share-all")
@starting_options
@with_option
@for_option
@purpose_option
@click.option(
    "--kind", type=click.Choice(get_args(RequestKind)), default="all", show_default=True, help="Only these."
)
@click.option("--from", "issuer", metavar="CLINIC", help="Only those that this clinic added.")
@since_option
@click.option("--future", "is_future", is_flag=True, help="Also those that come, until it ends.")
@person_option
@pass_settings
def share_all(
    settings: Settings,
    clinic: str,
    for_ms: int,
    purposes: tuple[str, ...],
    kind: RequestKind,
    issuer: str | None,
    since_ms: int | None,
    is_future: bool,
    person: str | None,
) -> int:
    """Let a clinic read all your records of a kind; with --future also those that come.

    Records that come are shared by this device: while it is off, they wait.
    """
    request = MyShareKind(
        clinic=clinic,
        for_ms=for_ms,
        purposes=_codes(purposes),
        kind=kind,
        issuer=issuer,
        since_ms=since_ms or 0,
        is_future=is_future,
        person=person,
    )
    result = call_started(settings, request)
    if settings.is_json:
        render.document(result)
    else:
        print_shared(settings, result.grants)
        print_provisions(settings, [] if result.provision is None else [result.provision])
    return exits.DONE if all(one.final for one in result.grants) else exits.NOT_FINAL


@click.command()
@starting_options
@at_option
@pass_settings
def shares(settings: Settings, in_ms: int | None) -> None:
    """What you share, with whom, until when; with --at, who could read what then, and why not."""
    if in_ms is not None:
        show_preview(settings, MyPreview(in_ms=in_ms))
        return
    result = call_started(settings, MyShares())
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "RECORD", "WITH", "FOR", "UNTIL", "STATE", "TITLE"),
        (
            (
                render.short(one.grant),
                render.short(one.token),
                reader(one),
                ", ".join(one.purposes),
                render.when(one.not_after),
                one.state,
                one.title,
            )
            for one in result.grants
        ),
        empty="you share nothing",
    )
    print_provisions(settings, result.provisions)
    note_ending(settings, result.grants)


@click.command()
@starting_options
@click.option("--all", "is_all", is_flag=True, help="Everything that you share.")
@yes_option
@click.argument("identity", metavar="[ID]", required=False, type=MY_SHARE)
@pass_settings
def stop(settings: Settings, is_all: bool, yes: bool, identity: str | None) -> int:
    """Stop sharing. Copies already read are not undone."""
    if is_all == (identity is not None):
        raise click.UsageError("give the ID of one share, or --all")
    if is_all:
        confirm("Stop sharing everything with everybody?", yes=yes, is_json=settings.is_json)
    progress = render.ProgressLine(is_json=settings.is_json)
    result = call_started(settings, MyStop(id=identity), progress)
    progress.clear()
    for one in result.stops:
        if settings.is_json:
            render.document(one)
        else:
            _print_stopped(one)
    if result.ended and not settings.is_json:
        render.say("records that come are not shared any more")
    elif not result.stops:
        render.note("you share nothing")
    return exits.DONE if all(one.final for one in result.stops) else exits.NOT_FINAL


def _codes(purposes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse_purpose(one) for one in purposes))


def _print_stopped(one: Stopped) -> None:
    reached, total = len(one.stopped_at), len(one.stopped_at) + len(one.unreached)
    rest = f"; the last within {one.bound_s} s" if one.unreached else ""
    state = "" if one.final else " of being final, which it is not yet" if rest else " (not final yet)"
    render.say(f"{render.short(one.grant)}: stopped at {reached} of {total} clinics{rest}{state}")
    if one.unreached_names:
        by = "" if one.ends_by is None else f"; by {render.clock(one.ends_by)} none of them serves it"
        render.note(f"not reached: {', '.join(one.unreached_names)}{by}")
    render.note("copies that were already read are not undone")
