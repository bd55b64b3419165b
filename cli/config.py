"""Commands about the configuration: what is in force and why, and what is wrong with a file."""

from pathlib import Path

import click

from cli import launch
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options


@click.group()
@shared_options
def config() -> None:
    """The settings of this node: flags before environment before file before defaults."""


@config.command()
@shared_options
@click.option("--origin", is_flag=True, help="Say where each setting comes from.")
@pass_settings
def show(settings: Settings, origin: bool) -> None:
    """The settings in force, as a configuration file."""
    _become(settings, "show", *(["--origin"] if origin else []))


@config.command()
@shared_options
@click.argument("file", type=ANY_PATH, required=False)
@pass_settings
def check(settings: Settings, file: Path | None) -> None:
    """Name every mistake of FILE, or of all that is in force. Exits 1 where there is one.

    A key can be set for one run in the environment too, as CHARTMESH_SECTION_KEY.
    """
    _become(settings, "check", *([] if file is None else [str(file.absolute())]))


def _become(settings: Settings, job: str, *more: str) -> None:
    arguments = ["config", job]
    if settings.data_dir_flag is not None:
        arguments += ["--data-dir", str(settings.data_dir_flag)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config.absolute())]
    launch.become(launch.node_program("node", *arguments, *json_flag(settings), *more))
