"""The clinic's keys: what is public of them, and a new vote key."""

import click

from cli import render
from cli.client import call
from cli.settings import Settings, pass_settings, shared_options
from protocol import exits
from protocol.control import KeysResult, KeysRotate, KeysShow

_ANSWER_S = 60.0


@click.group()
@shared_options
def keys() -> None:
    """The keys of this clinic."""


@keys.command()
@shared_options
@pass_settings
def show(settings: Settings) -> None:
    """The fingerprints of the keys; never a key."""
    _print(settings, call(settings.place, KeysShow(), timeout_s=_ANSWER_S))


@keys.command()
@shared_options
@pass_settings
def rotate(settings: Settings) -> int:
    """Make a new vote key. The old one is destroyed once the network votes with the new one."""
    result = call(settings.place, KeysRotate(), timeout_s=_ANSWER_S)
    _print(settings, result)
    return exits.DONE if result.final else exits.NOT_FINAL


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
