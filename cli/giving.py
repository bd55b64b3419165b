"""The patient's commands for a record that changes hands: both sides see what it is, and both say yes."""

from pathlib import Path
from typing import get_args

import click
from msgspec.structs import replace

from cli import render
from cli.asking import confirm, with_words, words_options, yes_option
from cli.launch import call_started
from cli.persons import person_option
from cli.settings import Settings, pass_settings, starting_options
from cli.values import IdParam
from protocol import exits
from protocol.control import GiveReason, MyGive, MyTake, MyTakeCode


@click.command()
@starting_options
@words_options
@yes_option
@click.option("--to", required=True, metavar="CODE", help="The receiver's code, from: chartmesh my take.")
@click.option("--reason", required=True, type=click.Choice(get_args(GiveReason)), help="Why.")
@click.argument("record", metavar="RECORD", type=IdParam())
@pass_settings
def give(
    settings: Settings,
    words_file: Path | None,
    words_fd: int | None,
    yes: bool,
    to: str,
    reason: GiveReason,
    record: str,
) -> None:
    """Give a record to another person for good: a child of age, a guardian, an heir."""
    ask = MyGive(record=record, to=to, reason=reason)
    shown = call_started(settings, ask)
    if not settings.is_json:
        render.note(
            f"{render.short(shown.token)}  {shown.title}: to {shown.to_name}, whose code has the "
            f"fingerprint {shown.to_fingerprint}. Compare it with what the receiver sees"
        )
    confirm(
        "Once taken it is not yours any more, and everything you share of it ends. Give it?",
        yes=yes,
        is_json=settings.is_json,
    )
    result = with_words(
        words_file, words_fd, lambda words: call_started(settings, replace(ask, words=words))
    )
    if settings.is_json:
        render.document(result)
        return
    render.say(result.gift)
    render.note(
        f"send this to {result.to_name}, who takes it by {render.when(result.not_after)} with: "
        f"chartmesh my take. It is yours until it is taken; chartmesh my lost-phone{settings.place.flags} "
        "makes it worthless"
    )


@click.command()
@starting_options
@yes_option
@click.option("--name", default="", help="What you call yourself, in a code for the giver.")
@person_option
@click.argument("gift", required=False, metavar="[GIFT]")
@pass_settings
def take(settings: Settings, yes: bool, name: str, person: str | None, gift: str | None) -> int:
    """Take a record that somebody gives you. Without GIFT: a code for the giver."""
    if (gift is None) == (name == ""):
        raise click.UsageError("give --name for a code of yours, or the GIFT that somebody made for it")
    if gift is None:
        _print_code(settings, name, person)
        return exits.DONE
    shown = call_started(settings, MyTake(gift=gift))
    if not settings.is_json:
        render.note(
            f"{render.short(shown.token)}  {shown.title}  {shown.media}  {render.size(shown.size)}, "
            f"given for this reason: {shown.reason}"
        )
    confirm("Take it? You decide from then on who reads it.", yes=yes, is_json=settings.is_json)
    result = call_started(settings, MyTake(gift=gift, is_signed=True))
    if settings.is_json:
        render.document(result)
    else:
        state = "yours, final" if result.final else "sent, but not final yet: see chartmesh my records"
        render.say(f"{render.short(result.token)}  {state}  {result.title}")
    return exits.DONE if result.final else exits.NOT_FINAL


def _print_code(settings: Settings, name: str, person: str | None) -> None:
    result = call_started(settings, MyTakeCode(name=name, person=person))
    if settings.is_json:
        render.document(result)
        return
    render.say(result.code)
    render.note(
        f"send this to whoever gives you a record, by {render.when(result.not_after)}; its fingerprint is "
        f"{result.fingerprint}. What you get back goes to: chartmesh my take"
    )
