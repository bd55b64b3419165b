"""The patient's commands. Each starts the light client in the background where it does not run."""

import click

from cli import render
from cli.erasing import erase, erasures
from cli.exporting import export
from cli.giving import give, take
from cli.launch import call_started, ensure_running
from cli.persons import person, person_option
from cli.receive import check_output, receive
from cli.requests import approve, decline, requests
from cli.settings import Settings, pass_settings, starting_options
from cli.share import share, share_all, shares, stop
from cli.sharing import MY_RECORD, reader
from cli.study_files import check_part, part_options, show_files
from cli.values import rows_option
from cli.wallet import lost_phone, recover
from protocol import exits, limits
from protocol.control import (
    LOG_WORDS,
    AccessItem,
    MyCode,
    MyRecord,
    MyRecords,
    MyWho,
    MyWhoResult,
    histories,
)


@click.group()
@starting_options
def my() -> None:
    """Your own records: see them, share them, stop sharing, see who read them."""


my.add_command(share)
my.add_command(share_all)
my.add_command(shares)
my.add_command(stop)
my.add_command(export)
my.add_command(erase)
my.add_command(erasures)
my.add_command(give)
my.add_command(take)
my.add_command(lost_phone)
my.add_command(recover)
my.add_command(requests)
my.add_command(approve)
my.add_command(decline)
my.add_command(person)


@my.command()
@starting_options
@click.option("--clinic", required=True, help="The clinic that will add a record.")
@click.option(
    "--count", type=click.IntRange(1, limits.ENROLMENTS_PER_CODE_MAX), default=1, show_default=True
)
@click.option("--qr", is_flag=True, help="Also as a QR code.")
@person_option
@pass_settings
def code(settings: Settings, clinic: str, count: int, qr: bool, person: str | None) -> None:
    """A receive code, which lets one clinic add records to you."""
    result = call_started(settings, MyCode(clinic=clinic, count=count, person=person))
    if settings.is_json:
        render.document(result)
        return
    if qr:
        render.qr(result.code, too_long="ask for a smaller --count")
    render.say(result.code)
    until = "" if result.not_after is None else f", until {render.when(result.not_after)}"
    render.note(f"show this at the desk of {render.named(result.clinic_name, clinic)}{until}")


@my.command()
@starting_options
@person_option
@pass_settings
def records(settings: Settings, person: str | None) -> None:
    """Your records, and who can see them."""
    result = call_started(settings, MyRecords(person=person))
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "DATE", "WHOSE", "CLINIC", "TYPE", "SIZE", "TITLE", "WHO CAN SEE IT"),
        (
            (
                render.short(one.token),
                render.when(one.time),
                one.person or "?",
                render.named(one.issuer_name, one.issuer),
                one.type,
                render.size(one.size),
                f"  before: {one.title}" if one is not history[0] else one.title,
                ", ".join(reader(grant) for grant in one.grants) or "only you",
            )
            for history in histories(result.records)
            for one in history
        ),
        empty="you have no records yet: show a clinic a code from: chartmesh my code",
    )


@my.command()
@starting_options
@click.option(
    "-o", "--output", default=".", metavar="FILE|DIR|-", help="Where to save; - is the standard output."
)
@part_options
@click.argument("identity", metavar="ID", type=MY_RECORD)
@pass_settings
def record(settings: Settings, output: str, file: str | None, is_index: bool, identity: str) -> None:
    """Save one of your records."""
    check_output(settings, output, 1)
    check_part(file, is_index=is_index, output=output, count=1)
    ensure_running(settings)
    request = MyRecord(id=identity, file=file, is_index=is_index)
    if is_index:
        show_files(settings, request)
    else:
        receive(settings, request, output, is_part=file is not None)


@my.command()
@starting_options
@rows_option
@click.argument("record", metavar="[RECORD]", required=False, type=MY_RECORD)
@pass_settings
def who(settings: Settings, rows: int, record: str | None) -> int:
    """Who read your records or tried to: when, why, under which share."""
    progress = render.ProgressLine(is_json=settings.is_json)
    result = call_started(settings, MyWho(record=record, rows=rows), progress)
    progress.clear()
    if settings.is_json:
        render.document(result)
    else:
        _print_accesses(result)
    return exits.IN_PART if result.unreached or result.flawed else exits.DONE


def _print_accesses(result: MyWhoResult) -> None:
    render.table(
        ("TIME", "CLINIC", "USER", "PURPOSE", "RECORD", "SHARE", "OUTCOME", "TOLD BY", "PROOF", "TITLE"),
        (
            (
                render.when(one.time),
                render.named(one.member_name, one.member),
                one.user,
                one.purpose,
                render.short(one.token),
                render.short(one.grant or "-"),
                one.outcome if one.count == 1 else f"{one.outcome} {one.count} times",
                render.named(one.server_name, one.server),
                _proof(one),
                one.title,
            )
            for one in result.accesses
        ),
        empty="nobody has read or asked for them",
    )
    for log in result.logs:
        words = LOG_WORDS.get(log.state)
        if words is not None:
            render.note(f"{render.named(log.name, log.member)} {words}")
    proven = sum(log.state == "proven" for log in result.logs)
    if proven:
        render.note(
            f"{proven} of {len(result.logs)} clinics proved that they list every entry under the head "
            "that they posted to the ledger; an entry marked posted can no longer be changed or taken out"
        )


def _proof(one: AccessItem) -> str:
    """What there is beside the clinic's word: the reader's signature, and a head on the ledger."""
    found = ["signed"] * one.is_proven + ["posted"] * one.is_posted
    return ", ".join(found) or "none"
