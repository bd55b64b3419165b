"""Commands about patients, for a clinic. The names are its own and stay there."""

import click

from cli import render
from cli.client import call
from cli.patient_export import export
from cli.settings import Settings, pass_settings, shared_options
from cli.values import rows_option
from protocol.control import PatientEnrol, PatientList, PatientShow


@click.group()
@shared_options
def patient() -> None:
    """Patients: enrol, list, show, export."""


patient.add_command(export)


@patient.command()
@shared_options
@click.option("--for", "code", required=True, metavar="CODE", help="A receive code of the patient's.")
@click.option("--also", is_flag=True, help="The same person, with a new wallet.")
@click.argument("name")
@pass_settings
def enrol(settings: Settings, code: str, also: bool, name: str) -> None:
    """Give a patient a name of your own, by which her records are found. It stays in this clinic.

    Adding a record with --patient does the same.
    """
    result = call(settings.place, PatientEnrol(name=name, code=code.strip(), also=also))
    if settings.is_json:
        render.document(result)
        return
    one = result.patient
    render.say(f"{one.name} is enrolled, known here as {one.reference}…")
    render.note("what she shares with this clinic is listed by: chartmesh patient show NAME")


@patient.command("list")
@shared_options
@pass_settings
def list_(settings: Settings) -> None:
    """Your own names for your patients."""
    result = call(settings.place, PatientList())
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("NAME", "KNOWN AS", "SINCE"),
        ((one.name, f"{one.reference}…", render.when(one.since)) for one in result.patients),
        empty="no patients: enrol one with a code of hers: chartmesh patient enrol NAME --for CODE",
    )


@patient.command()
@shared_options
@rows_option
@click.argument("name")
@pass_settings
def show(settings: Settings, name: str, rows: int) -> None:
    """A patient's records of all clinics: those that you issued, and those that you may read."""
    result = call(settings.place, PatientShow(name=name, rows=rows))
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("DATE", "ID", "CLINIC", "TYPE", "SIZE", "UNTIL", "TITLE"),
        (
            (
                render.when(one.time),
                render.short(one.token),
                render.named(one.issuer_name, one.issuer),
                one.type,
                render.size(one.size),
                "yours" if one.until is None else render.when(one.until),
                one.title,
            )
            for one in result.records
        ),
        empty="no records",
    )
    if result.more:
        render.note("there are more: ask with --rows")
    if any(not one.fresh for one in result.records):
        render.note("this node's ledger is too old to read some of them now: chartmesh status")
