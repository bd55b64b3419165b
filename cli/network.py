"""Commands about the network of clinics."""

from pathlib import Path

import click

from cli import launch, render
from cli.client import call
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from protocol import exits, limits
from protocol.control import Members, NetworkJoin
from protocol.errors import Code, UserError

_ANSWER_S = 60.0


@click.group()
@shared_options
def network() -> None:
    """The network of clinics."""


@network.command()
@shared_options
@click.option("--name", required=True, help="The network's name.")
@click.option("-o", "--output", type=ANY_PATH, help="Where to write the genesis file.")
@click.argument("cards", nargs=-1, required=True, metavar="CARD...", type=ANY_PATH)
@pass_settings
def create(settings: Settings, name: str, output: Path | None, cards: tuple[Path, ...]) -> None:
    """Make a network's genesis file of its founders' cards."""
    arguments = ["network", "create", "--name", name]
    if output is not None:
        arguments += ["-o", str(output)]
    arguments += [str(card.absolute()) for card in cards]
    launch.become(launch.node_program("node", *arguments, *json_flag(settings)))


@network.command()
@shared_options
@click.argument("genesis", type=ANY_PATH)
@pass_settings
def join(settings: Settings, genesis: Path) -> int:
    """Join the network of a genesis file."""
    text = _genesis_text(genesis)
    if not launch.is_running(settings.place):
        launch.become(launch.node_program("node", *_join_arguments(settings, genesis)))
    result = call(settings.place, NetworkJoin(genesis=text), timeout_s=_ANSWER_S)
    if settings.is_json:
        render.document(result)
    else:
        state = "joined" if result.joined else "asked to join"
        render.say(f"{state} {result.name}  members {result.members} (need {result.quorum})")
    return exits.DONE if result.joined else exits.NOT_FINAL


@network.command()
@shared_options
@pass_settings
def members(settings: Settings) -> None:
    """The clinics of the network, and which can be reached."""
    result = call(settings.place, Members(), timeout_s=_ANSWER_S)
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "NAME", "ROLE", "REACHABLE", "HEIGHT"),
        (
            (
                render.short(one.id),
                one.name,
                one.role,
                "this node" if one.is_self else "yes" if one.reachable else "no",
                "-" if one.last_height is None else str(one.last_height),
            )
            for one in result.members
        ),
        empty="this node has no network yet",
    )


def _join_arguments(settings: Settings, genesis: Path) -> list[str]:
    """For a node that does not run: its program then keeps the file itself."""
    arguments = ["network", "join", "--data-dir", str(settings.place.data_dir)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config.absolute())]
    return [*arguments, *json_flag(settings), str(genesis.absolute())]


def _genesis_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(limits.GENESIS_CHARS_MAX + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the genesis file {path}: {error}", "ask a member for the file", code=Code.GENESIS
        ) from error
    if not 1 <= len(raw) <= limits.GENESIS_CHARS_MAX:
        raise UserError(
            f"{path} is no genesis file: {len(raw)} bytes", "ask a member for the file", code=Code.GENESIS
        )
    return text
