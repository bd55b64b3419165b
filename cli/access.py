"""Commands about the grants that this clinic holds."""

import click

from cli import render
from cli.client import call
from cli.settings import Settings, pass_settings, shared_options
from cli.values import DurationParam, IdParam
from protocol.control import AccessList, AccessShow, GrantItem

_COMPLETE_S = 1.0


def list_grants(settings: Settings) -> list[tuple[str, str]]:
    """Ids and titles of the grants held, for completion."""
    found = call(settings.place, AccessList(), timeout_s=_COMPLETE_S)
    return [(one.grant, one.title) for one in found.grants]


@click.group()
@shared_options
def access() -> None:
    """What patients allow this clinic to read."""


@access.command("list")
@shared_options
@click.option(
    "--expiring", "expiring_ms", type=DurationParam(), help="Only those that end within this time."
)
@pass_settings
def list_(settings: Settings, expiring_ms: int | None) -> None:
    """The grants that this clinic holds."""
    result = call(settings.place, AccessList(expiring_ms=expiring_ms))
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "RECORD", "PURPOSE", "UNTIL", "STATE", "TITLE"),
        (
            (
                render.short(one.grant),
                render.short(one.token),
                ", ".join(one.purposes),
                render.when(one.not_after),
                one.state,
                one.title,
            )
            for one in result.grants
        ),
        empty="no patient has shared a record with this clinic",
    )


@access.command()
@shared_options
@click.argument("identity", metavar="ID", type=IdParam(list_grants))
@pass_settings
def show(settings: Settings, identity: str) -> None:
    """One grant in full."""
    result = call(settings.place, AccessShow(id=identity))
    if settings.is_json:
        render.document(result)
    else:
        _print_grant(result.grant)


def _print_grant(one: GrantItem) -> None:
    stale = "-" if one.max_stale_s is None else render.span(one.max_stale_s)
    for label, value in (
        ("grant", one.grant),
        ("record", one.token),
        ("title", one.title),
        ("may", ", ".join(one.actions)),
        ("for", ", ".join(one.purposes)),
        ("from", render.when(one.not_before)),
        ("until", render.when(one.not_after)),
        ("state", f"{one.state}, {'final' if one.final else 'not final yet'}"),
        ("max stale", stale),
    ):
        render.say(f"{label:<10} {value}")
