"""`chartmesh demo`: the whole story on this machine."""

from pathlib import Path

import click

from cli.launch import become, node_program
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options


@click.command()
@shared_options
@click.option("--keep", type=ANY_PATH, metavar="DIR", help="Leave the network running there.")
@pass_settings
def demo(settings: Settings, keep: Path | None) -> None:
    """Four clinics and a patient on this machine: the whole story, step by step."""
    kept = [] if keep is None else ["--keep", str(keep)]
    become(node_program("node.demo", *kept, *json_flag(settings)))
