"""The patient's commands for what clinics ask of her: see it, allow it or a part of it, say no."""

import click

from cli import render, requested
from cli.client import call
from cli.launch import call_started
from cli.settings import Settings, pass_settings, starting_options
from cli.sharing import print_shared
from cli.values import DurationParam, IdParam
from protocol import exits
from protocol.control import MyApprove, MyDecline, MyRequests, RequestItem

_COMPLETE_S = 1.0


def list_my_requests(settings: Settings) -> list[tuple[str, str]]:
    """Ids and askers of the requests that wait, for completion."""
    found = call(settings.place, MyRequests(), timeout_s=_COMPLETE_S).requests
    return [(one.request, one.asker_name) for one in found if one.state == "waiting"]


MY_REQUEST = IdParam(list_my_requests)


@click.command()
@starting_options
@pass_settings
def requests(settings: Settings) -> int:
    """What clinics ask you to share: who, what, why, for how long."""
    result = call_started(settings, MyRequests())
    if settings.is_json:
        render.document(result)
    else:
        for one in result.requests:
            _print_request(settings, one)
        if not result.requests:
            render.note("nobody asks you for anything")
        if result.unreached:
            count = render.counted(len(result.unreached), "clinic")
            render.note(f"{count} could not be reached: what they ask is missing here")
    return exits.IN_PART if result.unreached else exits.DONE


@click.command()
@starting_options
@click.option("--for", "for_ms", type=DurationParam(), help="A shorter time than asked, for example 7d.")
@click.option(
    "--record",
    "records",
    multiple=True,
    metavar="RECORD",
    type=IdParam(),
    help="Only this record of those asked for. May be given several times.",
)
@click.argument("identity", metavar="ID", type=MY_REQUEST)
@pass_settings
def approve(settings: Settings, for_ms: int | None, records: tuple[str, ...], identity: str) -> int:
    """Share what a request asks for, or less of it."""
    result = call_started(settings, MyApprove(id=identity, for_ms=for_ms, records=records))
    if settings.is_json:
        render.document(result)
    else:
        print_shared(settings, result.grants)
        _note_told(is_told=result.told is not False)
    return exits.DONE if all(one.final for one in result.grants) else exits.NOT_FINAL


@click.command()
@starting_options
@click.argument("identity", metavar="ID", type=MY_REQUEST)
@pass_settings
def decline(settings: Settings, identity: str) -> None:
    """Say no to a request. The clinic learns that, and nothing else."""
    result = call_started(settings, MyDecline(id=identity))
    if settings.is_json:
        render.document(result)
        return
    one = result.request
    render.say(f"declined: {_asker(one)} does not get {requested.what(one)}")
    _note_told(is_told=result.told)


def _print_request(settings: Settings, one: RequestItem) -> None:
    name = render.short(one.request)
    render.say(
        f"{name}  {_asker(one)} asks to read {requested.what(one)} for {requested.why(one)}, "
        f"for {requested.length(one)}" + (" more" if one.renews else "")
    )
    titles = ", ".join(record.title or render.short(record.token) for record in one.records)
    count = render.counted(len(one.records), "record")
    render.say(f"    that is {count} of yours now" + (f": {titles}" if titles else ""))
    if one.state != "waiting":
        render.say(f"    you {one.state} it")
        return
    flags = settings.place.flags
    render.say(
        f"    stands until {render.when(one.not_after)}. Allow it with: chartmesh my approve {name}{flags}"
    )
    render.say(f"    for less: --for 7d, --record RECORD. Say no with: chartmesh my decline {name}{flags}")


def _asker(one: RequestItem) -> str:
    return render.named(one.asker_name, one.asker)


def _note_told(*, is_told: bool) -> None:
    if not is_told:
        render.note("the clinic could not be told yet: it is with the next chartmesh my requests")
