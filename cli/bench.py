"""`chartmesh bench`: how fast this machine does it, beside what limits it."""

from pathlib import Path

import click

from cli.launch import become, node_program
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options

BENCHES = (
    "ledger",
    "growth",
    "finality",
    "blobs",
    "sync",
    "join",
    "proofs",
    "page",
    "my",
    "records",
    "startup",
)


@click.command()
@shared_options
@click.option("--quick", is_flag=True, help="Shorter, and less exact.")
@click.option("--plot", type=ANY_PATH, metavar="FILE", help="Draw the figures there.")
@click.argument("name", type=click.Choice(BENCHES))
@pass_settings
def bench(settings: Settings, quick: bool, plot: Path | None, name: str) -> None:
    """Measure, and print figures and ratios."""
    arguments = [name, *(["--quick"] if quick else []), *([] if plot is None else ["--plot", str(plot)])]
    become(node_program("node.bench", *arguments, *json_flag(settings)))
