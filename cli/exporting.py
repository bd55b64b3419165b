"""A patient's records in one file, and the check of such a file, which needs no node and no network."""

from pathlib import Path

import click
from msgspec.structs import replace

from cli import launch, render
from cli.client import call
from cli.files import Incoming, file_error
from cli.launch import ensure_running
from cli.node_commands import json_flag
from cli.settings import Settings, pass_settings, shared_options, starting_options
from cli.sharing import MY_RECORD
from protocol import exits
from protocol.control import MyExport
from protocol.errors import Code, UserError


@click.command()
@starting_options
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("records", nargs=-1, metavar="[RECORD...]", type=MY_RECORD)
@pass_settings
def export(settings: Settings, file: Path, records: tuple[str, ...]) -> int:
    """Save all your records, or some, with consents, accesses and proofs in FILE.

    Whoever has FILE can read the records in it. chartmesh verify FILE checks it anywhere.
    """
    path = file.expanduser().absolute()
    if path.exists():
        raise file_error(f"{path} is there already", "name another file: nothing is overwritten")
    ensure_running(settings)
    progress = render.ProgressLine(is_json=settings.is_json)
    with Incoming(path.parent) as incoming:
        result = call(settings.place, MyExport(records=records), sink=incoming.write, report=progress)
        progress.clear()
        if incoming.bytes != result.bytes:
            raise UserError(
                "what arrived is not what the node sent", "run the command again", code=Code.INTERNAL
            )
        incoming.keep(path)
    result = replace(result, path=str(path))
    if settings.is_json:
        render.document(result)
    else:
        counted = f"{result.records} record{'s' * (result.records != 1)}"
        render.say(f"{counted} saved to {path}: {render.size(result.bytes)}")
        render.note(
            "whoever has this file can read the records in it; check it with: chartmesh verify FILE"
        )
        if result.left_out:
            left_out = ", ".join(map(render.short, result.left_out))
            render.note(f"without their content, which no clinic gave: {left_out}")
        if result.unreached:
            render.note(f"without the accesses that these clinics know of: {', '.join(result.unreached)}")
    return exits.IN_PART if result.left_out or result.unreached else exits.DONE


@click.command()
@shared_options
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="The network's genesis file."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Save the records in it there."
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@pass_settings
def verify(settings: Settings, genesis: Path, output: Path | None, file: Path) -> None:
    """Check a file of my export, without any node or network, and say what it proves."""
    arguments = ["verify", *json_flag(settings), "--genesis", str(genesis.expanduser().absolute())]
    arguments += [] if output is None else ["--output", str(output.expanduser().absolute())]
    launch.become(launch.node_program("node", *arguments, str(file.expanduser().absolute())))
