"""The patient's commands for the day when a phone is lost: the old keys killed, everything found again."""

from pathlib import Path

import click

from cli import render
from cli.asking import confirm, with_words, words_options, yes_option
from cli.launch import call_started
from cli.settings import Place, Settings, pass_settings, starting_options
from cli.values import IdParam
from protocol import exits, limits
from protocol.control import LostPhoneResult, MyLostPhone, MyRecover, RecoverResult
from protocol.errors import Code, UserError

_LOST = (
    "All your records get new keys and everything you share ends, but what you keep with --keep. "
    "This cannot be undone. Go on?"
)


@click.command("lost-phone")
@starting_options
@words_options
@yes_option
@click.option(
    "--keep", multiple=True, metavar="ID", type=IdParam(), help="A share that lives on; repeat for more."
)
@pass_settings
def lost_phone(
    settings: Settings, words_file: Path | None, words_fd: int | None, yes: bool, keep: tuple[str, ...]
) -> int:
    """Kill the keys of a lost or stolen device now: your records get new ones, of this device."""
    if len(keep) > limits.KEEP_GRANTS_MAX:
        raise UserError(
            f"at most {limits.KEEP_GRANTS_MAX} shares can be kept",
            "leave some out, and share again afterwards",
            code=Code.LIMIT,
        )
    confirm(_LOST, yes=yes, is_json=settings.is_json)
    result = with_words(
        words_file, words_fd, lambda words: call_started(settings, MyLostPhone(words=words, keep=keep))
    )
    if settings.is_json:
        render.document(result)
    else:
        _print_rekeyed(settings.place, result)
    return exits.DONE if all(one.final for one in result.records) else exits.NOT_FINAL


@click.command()
@starting_options
@words_options
@pass_settings
def recover(settings: Settings, words_file: Path | None, words_fd: int | None) -> None:
    """Find everything that is yours on the ledger, from the 24 words."""
    result = with_words(words_file, words_fd, lambda words: call_started(settings, MyRecover(words=words)))
    if settings.is_json:
        render.document(result)
    else:
        print_recovered(settings.place, result)


def print_recovered(place: Place, result: RecoverResult) -> None:
    """What was found, and what else there is to do after a loss."""
    records, shares = render.counted(result.records, "record"), render.counted(result.grants, "share")
    render.say(f"found {records} of yours, and {shares} of them")
    render.note(f"see them: chartmesh my records{place.flags}, and chartmesh my shares{place.flags}")
    if result.unreadable:
        render.note(
            f"! {render.counted(result.unreadable, 'share')} cannot be read with your words: somebody else "
            f"may have made them. This ends them: chartmesh my lost-phone{place.flags}"
        )
    render.note(f"was the old device lost or stolen? kill its keys: chartmesh my lost-phone{place.flags}")


def _print_rekeyed(place: Place, result: LostPhoneResult) -> None:
    for one in result.records:
        state = "new keys, final" if one.final else "sent, but not final yet: the old keys may still count"
        render.say(f"{render.short(one.token)}  {state}  {one.title}")
    for grant in result.kept:
        render.say(f"{render.short(grant)}  still shared, as you asked")
    if not all(one.final for one in result.records):
        render.note(f"run it again in a minute: chartmesh my lost-phone{place.flags}")
    render.note(
        "what else you shared of a record with new keys has ended; copies already read are not undone"
    )
    render.note(
        "codes that clinics have from you lead to the old keys: give them new ones, and run this again "
        "if a record still came by an old one"
    )
