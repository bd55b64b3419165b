"""Commands about the node's databases."""

import click

from cli import render
from cli.client import call
from cli.settings import Settings, pass_settings, shared_options
from protocol import exits
from protocol.control import StoreGc, StoreStat, StoreVerify
from protocol.errors import Code


@click.group()
@shared_options
def store() -> None:
    """The databases of this node."""


@store.command()
@shared_options
@pass_settings
def stat(settings: Settings) -> None:
    """What each database takes, and how much room is left."""
    result = call(settings.place, StoreStat())
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("DATABASE", "ON DISK"), ((one.name, render.size(one.bytes)) for one in result.databases), empty=""
    )
    if result.used_bytes is not None and result.quota_bytes is not None:
        render.say(f"ciphertext {render.size(result.used_bytes)} of {render.size(result.quota_bytes)}")
    render.say(
        f"free {render.size(result.free_bytes)}; no record is taken in below "
        f"{render.size(result.low_water_bytes)}, nothing written below {render.size(result.vital_bytes)}"
    )


@store.command()
@shared_options
@pass_settings
def verify(settings: Settings) -> int:
    """Read every entry and check it. Exits 13 where something is damaged."""
    progress = render.ProgressLine(is_json=settings.is_json)
    try:
        result = call(settings.place, StoreVerify(), report=progress)
    finally:
        progress.clear()
    if settings.is_json:
        render.document(result)
    else:
        render.table(
            ("DATABASE", "ENTRIES", "STATE"),
            ((one.name, str(one.entries), one.problem or "whole") for one in result.databases),
            empty="",
        )
    return exits.DONE if result.ok else exits.exit_status(Code.STORE_DAMAGED)


@store.command()
@shared_options
@pass_settings
def gc(settings: Settings) -> None:
    """Give the room of what was deleted back to the disk. Reads and writes all of it, so it may take long.

    Ciphertext that no record needs is deleted without being told to.
    """
    progress = render.ProgressLine(is_json=settings.is_json)
    try:
        result = call(settings.place, StoreGc(), report=progress)
    finally:
        progress.clear()
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("DATABASE", "BEFORE", "AFTER"),
        (
            (one.name, render.size(one.before_bytes), render.size(one.after_bytes))
            for one in result.databases
        ),
        empty="",
    )
