"""The keys of this node: what is public of them, a clinic's new vote key, a patient's from her words."""

import os
from pathlib import Path

import click

from cli import launch, render
from cli.asking import with_words, words_options
from cli.client import call
from cli.launch import call_started
from cli.settings import (
    ANY_PATH,
    Settings,
    pass_settings,
    passphrase_option,
    shared_options,
    starting_options,
)
from cli.wallet import print_recovered
from protocol import exits
from protocol.control import (
    KeysExport,
    KeysRefill,
    KeysResult,
    KeysRotate,
    KeysShow,
    MyRecover,
    RecoverResult,
    Status,
    WalletResult,
    WalletShow,
)

_ANSWER_S = 60.0


@click.group()
@shared_options
def keys() -> None:
    """The keys of this node."""


@keys.command()
@shared_options
@pass_settings
def show(settings: Settings) -> None:
    """The fingerprints of the keys; never a key."""
    if call(settings.place, Status(), timeout_s=_ANSWER_S).role == "light":
        _print_wallet(settings, call(settings.place, WalletShow(), timeout_s=_ANSWER_S))
    else:
        _print(settings, call(settings.place, KeysShow(), timeout_s=_ANSWER_S))


@keys.command()
@shared_options
@pass_settings
def rotate(settings: Settings) -> int:
    """Make a new vote key. The old one is destroyed once the network votes with the new one."""
    result = call(settings.place, KeysRotate(), timeout_s=_ANSWER_S)
    _print(settings, result)
    return exits.DONE if result.final else exits.NOT_FINAL


@keys.command()
@shared_options
@passphrase_option
@words_options
@click.option("--genesis", type=ANY_PATH, help="The network's genesis file.")
@click.option("--clinic", multiple=True, metavar="NAME", help="A clinic to talk to; repeat for more.")
@click.option("--insecure-no-passphrase", is_flag=True, help="Keep the keys without a passphrase.")
@pass_settings
def restore(
    settings: Settings,
    words_file: Path | None,
    words_fd: int | None,
    genesis: Path | None,
    clinic: tuple[str, ...],
    insecure_no_passphrase: bool,
) -> None:
    """Make a patient's wallet anew on another device, from the 24 words, and find what is hers."""
    place = settings.place
    arguments = ["init", "--data-dir", str(place.data_dir)]
    arguments += ["--role", "light"] if settings.config is None else ["--config", str(settings.config)]
    arguments += [] if genesis is None else ["--genesis", str(genesis)]
    for one in clinic:
        arguments += ["--clinic", one]
    if settings.passphrase_file is not None:
        arguments += ["--passphrase-file", str(settings.passphrase_file)]
    arguments += ["--insecure-no-passphrase"] if insecure_no_passphrase else []
    result = with_words(words_file, words_fd, lambda words: _restore(settings, arguments, words))
    if settings.is_json:
        render.document(result)
    else:
        print_recovered(place, result)


def _restore(settings: Settings, arguments: list[str], words: str) -> RecoverResult:
    """The wallet first: it stays where the ledger cannot be asked now."""
    descriptor = launch.pipe_with(words)
    try:
        made = launch.run_job(*arguments, "--words-fd", str(descriptor), descriptor=descriptor)
    finally:
        os.close(descriptor)
    for path in made["files"]:
        render.note(f"made {path}")
    render.note(f"looking for what is yours; if that fails, go on with: {made['next']}")
    return call_started(settings, MyRecover(words=words))


@keys.command()
@starting_options
@words_options
@pass_settings
def refill(settings: Settings, words_file: Path | None, words_fd: int | None) -> None:
    """Make more one-time keys for receive codes, from a patient's 24 words."""
    _print_wallet(
        settings,
        with_words(words_file, words_fd, lambda words: call_started(settings, KeysRefill(words=words))),
    )


@keys.command()
@starting_options
@words_options
@click.option("--words", "form", flag_value="words", help="The 24 words, for example from three sheets.")
@click.option("--sheets", "form", flag_value="sheets", help="Five sheets; any three bring the words back.")
@pass_settings
def export(settings: Settings, words_file: Path | None, words_fd: int | None, form: str | None) -> None:
    """Print a patient's words, or split them into sheets. No device keeps them: type what you have."""
    match form:
        case "words" | "sheets":
            result = with_words(
                words_file,
                words_fd,
                lambda words: call_started(settings, KeysExport(words=words, form=form)),
            )
        case _:
            raise click.UsageError("give --words or --sheets")
    if settings.is_json:
        render.document(result)
        return
    for number, sheet in enumerate(result.sheets, 1):
        render.say(f"sheet {number} of {len(result.sheets)}: {sheet}")
    if result.sheets:
        render.note(
            f"write each on paper and keep them apart: any {result.needed} bring everything back, "
            f"{result.needed - 1} tell nothing. Type {result.needed} where the words are asked for"
        )
    else:
        render.say(result.words)
        render.note("whoever has these words has your records")


def _print(settings: Settings, result: KeysResult) -> None:
    if settings.is_json:
        render.document(result)
        return
    protection = "under a passphrase" if result.is_protected else "without a passphrase"
    render.say(f"identity  {result.fingerprint}  {result.id}")
    render.say(f"vote      {result.vote_fingerprint}  generation {result.generation}")
    render.say(f"kept {protection}")
    if result.is_rotating:
        render.note("a new vote key waits to become final; this node goes on by itself")


def _print_wallet(settings: Settings, result: WalletResult) -> None:
    if settings.is_json:
        render.document(result)
        return
    render.say(f"wallet    {result.fingerprint}  {result.id}")
    render.say(f"device    number {result.device}")
    render.say(f"one-time keys  {result.used} used, {result.left} left")
    if not result.left:
        render.note(f"more are made of the 24 words: chartmesh keys refill{settings.place.flags}")
