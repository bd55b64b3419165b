"""The persons whose records one wallet holds: hers, her child's."""

import click

from cli import render
from cli.launch import call_started
from cli.settings import Settings, pass_settings, starting_options
from protocol.control import MyPersonAdd, MyPersonAssign, MyPersonRename, MyPersons, MyPersonsResult

person_option = click.option("--person", metavar="NAME", help="Whose: a name from my person list.")
"""Whose records a command is about."""


@click.group()
@starting_options
def person() -> None:
    """Whose records this wallet holds. The names stay on this device."""


@person.command("list")
@starting_options
@pass_settings
def list_(settings: Settings) -> None:
    """Everybody whose records are here."""
    _print(settings, call_started(settings, MyPersons()))


@person.command()
@starting_options
@click.argument("name")
@pass_settings
def add(settings: Settings, name: str) -> None:
    """Somebody else whose records you keep, such as your child."""
    _print(settings, call_started(settings, MyPersonAdd(name=name)))


@person.command()
@starting_options
@click.argument("name")
@click.argument("to")
@pass_settings
def rename(settings: Settings, name: str, to: str) -> None:
    """Another name for somebody."""
    _print(settings, call_started(settings, MyPersonRename(name=name, to=to)))


@person.command()
@starting_options
@click.argument("record", metavar="RECORD")
@click.argument("name")
@pass_settings
def assign(settings: Settings, record: str, name: str) -> None:
    """Say whose a record is, where it is not clear."""
    _print(settings, call_started(settings, MyPersonAssign(record=record, name=name)))


def _print(settings: Settings, result: MyPersonsResult) -> None:
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("NAME", "RECORDS"), ((one.name, str(one.records)) for one in result.persons), empty="nobody"
    )
