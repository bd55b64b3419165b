"""Backups of a node. The running daemon makes them; the rest needs no daemon."""

from pathlib import Path

import click

from cli import launch, render
from cli.client import call
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from protocol.control import BackupCreate

FOLDER = click.argument("folder", metavar="DIR", type=ANY_PATH)


@click.group()
@shared_options
def backup() -> None:
    """Make, check and restore backups of this node."""


@backup.command()
@shared_options
@click.option("--blobs", is_flag=True, help="With the ciphertext held here, which other clinics hold too.")
@FOLDER
@pass_settings
def create(settings: Settings, folder: Path, blobs: bool) -> None:
    """Make a backup in DIR, a new folder, while the node goes on.

    The keys in it are protected by the node's passphrase, as on its disk. Keep the root that is printed
    elsewhere: it proves later that nothing was changed.
    """
    request = BackupCreate(path=str(folder.absolute()), blobs=blobs)
    progress = render.ProgressLine(is_json=settings.is_json)
    try:
        result = call(settings.place, request, report=progress)
    finally:
        progress.clear()
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("FILE", "ENTRIES", "SIZE", "SHA-256"),
        (
            (one.name, "-" if one.entries is None else str(one.entries), render.size(one.bytes), one.sha256)
            for one in result.files
        ),
        empty="nothing to back up",
    )
    render.say(
        f"backup in {result.path}  {render.when(result.time)}  height {result.height}  "
        f"audit entries {result.audit_entries}"
    )
    render.say(f"root {result.root}")


@backup.command()
@shared_options
@FOLDER
@pass_settings
def verify(settings: Settings, folder: Path) -> None:
    """Check every hash of the backup in DIR, and that it hangs together."""
    _become(settings, "verify", folder)


@backup.command("list")
@shared_options
@FOLDER
@pass_settings
def list_(settings: Settings, folder: Path) -> None:
    """The backups in DIR and in the folders in it."""
    _become(settings, "list", folder)


@backup.command()
@shared_options
@FOLDER
@pass_settings
def restore(settings: Settings, folder: Path) -> None:
    """Make this node's data directory of the backup in DIR.

    Refuses where there is one already. The vote file is never restored: the node learns, and votes again
    once it has a new vote key (chartmesh keys rotate).
    """
    _become(settings, "restore", folder)


def _become(settings: Settings, job: str, folder: Path) -> None:
    arguments = ["backup", job, "--data-dir", str(settings.place.data_dir)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config.absolute())]
    launch.become(launch.node_program("node", *arguments, *json_flag(settings), str(folder.absolute())))
