"""Commands about the grants that this clinic holds, and what it asks patients for."""

from collections.abc import Sequence
from typing import get_args

import click

from cli import render, requested
from cli.client import call
from cli.settings import Settings, pass_settings, shared_options
from cli.values import DurationParam, IdParam, parse_id, parse_purpose
from protocol import limits
from protocol.control import AccessAsk, AccessList, AccessShow, GrantItem, RequestItem
from protocol.control.asking import RequestKind
from protocol.errors import Code, UserError

_COMPLETE_S = 1.0


def list_grants(settings: Settings) -> list[tuple[str, str]]:
    """Ids and titles of the grants held, for completion."""
    found = call(settings.place, AccessList(), timeout_s=_COMPLETE_S)
    return [(one.grant, one.title) for one in found.grants]


@click.group()
@shared_options
def access() -> None:
    """What patients allow this clinic to read."""


@access.command()
@shared_options
@click.option("--patient", metavar="CODE", help="A receive code of hers for this clinic, or a record's id.")
@click.option("--records", "wanted", multiple=True, metavar="all|TYPE|ID", help="What is asked for.")
@click.option("--purpose", "purposes", multiple=True, help="What for, as in TREAT or treatment.")
@click.option("--for", "for_ms", required=True, type=DurationParam(), help="How long, for example 30d.")
@click.option("--stands", "stands_ms", type=DurationParam(), default="14d", help="How long she may take.")
@click.option("--renew", metavar="ID", type=IdParam(list_grants), help="Have this grant run on.")
@pass_settings
def ask(
    settings: Settings,
    patient: str | None,
    wanted: tuple[str, ...],
    purposes: tuple[str, ...],
    for_ms: int,
    stands_ms: int,
    renew: str | None,
) -> None:
    """Ask a patient to let this clinic read records of hers."""
    result = call(settings.place, _asking(patient, wanted, purposes, for_ms, stands_ms, renew))
    if settings.is_json:
        render.document(result)
        return
    one = result.request
    render.say(f"{render.short(one.request)}  waiting for the patient, until {render.when(one.not_after)}")
    render.note(
        f"asked for {requested.what(one)}, for {', '.join(one.purposes)} and {requested.length(one)}. "
        f"See what became of it: chartmesh access show {render.short(one.request)}{settings.place.flags}"
    )


@access.command("list")
@shared_options
@click.option(
    "--expiring", "expiring_ms", type=DurationParam(), help="Only those that end within this time."
)
@pass_settings
def list_(settings: Settings, expiring_ms: int | None) -> None:
    """The grants that this clinic holds, and what it asked patients for."""
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
    for one in result.grants:
        if one.ends_soon:
            name = render.short(one.grant)
            render.note(
                f"{name} runs out {render.when(one.not_after)}. Ask the patient for more with: "
                f"chartmesh access ask --renew {name} --for 30d{settings.place.flags}"
            )
    if result.requests:
        _print_requests(result.requests)


@access.command()
@shared_options
@click.argument("identity", metavar="ID", type=IdParam(list_grants))
@pass_settings
def show(settings: Settings, identity: str) -> None:
    """One grant or one request in full."""
    result = call(settings.place, AccessShow(id=identity))
    if settings.is_json:
        render.document(result)
    elif result.grant is not None:
        _print_grant(result.grant)
    elif result.request is not None:
        requested.print_request(result.request)


def _asking(
    patient: str | None,
    wanted: tuple[str, ...],
    purposes: tuple[str, ...],
    for_ms: int,
    stands_ms: int,
    renew: str | None,
) -> AccessAsk:
    """Raises UserError USAGE or PURPOSE."""
    if stands_ms > limits.REQUEST_LIFE_MS_MAX:
        days = limits.REQUEST_LIFE_MS_MAX // limits.DAY_MS
        raise UserError(
            "a request cannot stand that long", f"give --stands {days}d at most", code=Code.DURATION
        )
    if renew is not None:
        if patient is not None or wanted or purposes:
            raise click.UsageError("--renew says by itself who is asked for what")
        return AccessAsk(renew=renew, for_ms=for_ms, stands_ms=stands_ms)
    if patient is None or not wanted or not purposes:
        raise click.UsageError("give --patient, --records and --purpose, or --renew")
    codes = tuple(dict.fromkeys(parse_purpose(one) for one in purposes))
    kinds = [kind for kind in get_args(RequestKind) if kind in wanted]
    if kinds and len(wanted) > 1:
        raise click.UsageError("--records is all, one type, or ids")
    return AccessAsk(
        patient=patient.strip(),
        kind=kinds[0] if kinds else "all",
        tokens=() if kinds else tuple(map(parse_id, wanted)),
        purposes=codes,
        for_ms=for_ms,
        stands_ms=stands_ms,
    )


def _print_requests(requests: Sequence[RequestItem]) -> None:
    render.say("")
    render.table(
        ("ID", "ASKED FOR", "PURPOSE", "LASTS", "STANDS UNTIL", "STATE"),
        (
            (
                render.short(one.request),
                requested.what(one),
                ", ".join(one.purposes),
                requested.length(one),
                render.when(one.not_after),
                one.state,
            )
            for one in requests
        ),
        empty="",
    )


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
