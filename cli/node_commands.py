"""Commands about the node itself: make it, run it, look at it."""

import time
from collections.abc import Iterator
from pathlib import Path

import click

from cli import launch, render
from cli.client import call
from cli.settings import ANY_PATH, Settings, pass_settings, passphrase_option, shared_options
from protocol import exits
from protocol.control import PageOpen, Status, StatusResult, Stop
from protocol.errors import Code, UserError

PROTOCOL_VERSION = 1
REFRESH_S = 2.0
ANSWER_S = 30.0


@click.command()
@shared_options
@click.option(
    "--role", type=click.Choice(["clinic", "light"]), help="A member clinic, or a patient's light client."
)
@click.option("--name", help="What others call this node.")
@click.option("--listen", metavar="ADDR", help="The address that peers connect to.")
@click.option("--genesis", type=ANY_PATH, help="The network's genesis file.")
@click.option(
    "--clinic",
    multiple=True,
    metavar="NAME",
    help="A clinic that a light client talks to; repeat for more.",
)
@passphrase_option
@click.option("--insecure-no-passphrase", is_flag=True, help="Keep the keys without a passphrase.")
@pass_settings
def init(
    settings: Settings,
    role: str | None,
    name: str | None,
    listen: str | None,
    genesis: Path | None,
    clinic: tuple[str, ...],
    insecure_no_passphrase: bool,
) -> None:
    """Make a node: its keys, its public card, its configuration."""
    arguments = ["init", "--data-dir", str(settings.place.data_dir)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config)]
    for flag, value in (("--role", role), ("--name", name), ("--listen", listen), ("--genesis", genesis)):
        arguments += [] if value is None else [flag, str(value)]
    for one in clinic:
        arguments += ["--clinic", one]
    if settings.passphrase_file is not None:
        arguments += ["--passphrase-file", str(settings.passphrase_file)]
    arguments += ["--insecure-no-passphrase"] if insecure_no_passphrase else []
    launch.become(launch.node_program("node", *arguments, *json_flag(settings)))


@click.command()
@shared_options
@passphrase_option
@click.option(
    "--passphrase-fd", type=click.IntRange(min=0), help="Read the passphrase from this open descriptor."
)
@pass_settings
def daemon(settings: Settings, passphrase_fd: int | None) -> None:
    """Run the node in the foreground."""
    if settings.passphrase_file is not None and passphrase_fd is not None:
        raise click.UsageError("give --passphrase-file or --passphrase-fd, not both")
    arguments = launch.daemon_arguments(settings, descriptor=passphrase_fd)
    launch.become(launch.node_program("node", *arguments, *json_flag(settings)))


@click.command()
@shared_options
@passphrase_option
@pass_settings
def start(settings: Settings) -> None:
    """Start the node in the background and wait until it is ready."""
    if launch.is_running(settings.place):
        raise UserError(
            f"the node in {settings.place.data_dir} is already running",
            f"see: chartmesh status{settings.place.flags}",
            code=Code.ALREADY_RUNNING,
        )
    result = launch.start(settings)
    if settings.is_json:
        render.document(result)
    else:
        _print_status(result)


@click.command()
@shared_options
@pass_settings
def stop(settings: Settings) -> None:
    """Stop the node, after what is running has finished."""
    from msgspec.structs import replace

    pid = launch.daemon_pid(settings.place)
    begun_s = time.perf_counter()
    result = call(settings.place, Stop(), timeout_s=ANSWER_S)
    launch.wait_gone(pid)
    drained_s = round(time.perf_counter() - begun_s, 3)
    if settings.is_json:
        render.document(replace(result, drained_s=drained_s))
    else:
        render.say(f"stopped; drained in {drained_s:.1f} s")


@click.command()
@shared_options
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@pass_settings
def status(settings: Settings, watch: bool) -> int:
    """How the node is, in one line, and what is wrong. Exits 7 where it is stale."""
    while True:
        result = call(settings.place, Status(), timeout_s=ANSWER_S)
        if settings.is_json:
            render.document(result)
        else:
            clear(watch)
            _print_status(result)
        if not watch:
            return exits.DONE if result.fresh else exits.STALE
        time.sleep(REFRESH_S)


@click.command()
@shared_options
@pass_settings
def version(settings: Settings) -> None:
    """The versions of this program and of the protocol it speaks."""
    import json
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        program = installed("chartmesh")
    except PackageNotFoundError:
        program = "not installed"
    if settings.is_json:
        render.say(json.dumps({"v": 1, "type": "result", "program": program, "protocol": PROTOCOL_VERSION}))
    else:
        render.say(f"chartmesh {program}, protocol {PROTOCOL_VERSION}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "chartmesh", "_CHARTMESH_COMPLETE").source())


def json_flag(settings: Settings) -> list[str]:
    """`--json` for another program, where it was given to this one."""
    return ["--json"] if settings.is_json else []


def _print_status(result: StatusResult) -> None:
    render.say(status_line(result))
    for warning in result.warnings:
        render.say(f"! {warning}")


def status_line(result: StatusResult) -> str:
    """The one line of `status`."""
    name, running = render.named(result.name, result.id), f"running {render.span(result.running_s)}"
    if result.network is None:
        return f"{name}  {running}  in no network yet"
    final = (
        "nothing final yet"
        if result.final_age_s is None
        else f"final {render.span(result.final_age_s)} ago"
    )
    freshness = "fresh" if result.fresh else "stale"
    disk = render.size(result.disk_bytes)
    if result.disk_total_bytes is not None:
        disk = f"{disk} of {render.size(result.disk_total_bytes)}"
    return "  ".join(
        (
            name,
            running,
            f"epoch {result.epoch}",
            f"members {result.reachable}/{result.members} {freshness} (need {result.quorum})",
            f"peers {result.peers}",
            f"pending {result.mempool}",
            f"disk {disk}",
            final,
            *_catching_up(result),
        )
    )


def _catching_up(result: StatusResult) -> Iterator[str]:
    """How far the node is, while it fetches what it missed."""
    if result.catch_up_blocks_per_s is not None:
        yield (
            f"catching up: block {result.height} of {result.known_height}, "
            f"{result.catch_up_blocks_per_s:.0f} a second"
        )
    if result.catch_up_left_s is not None:
        yield f"about {render.span(result.catch_up_left_s)} left"


def clear(is_wanted: bool) -> None:
    """Empties the screen before a table is shown again."""
    if is_wanted:
        click.clear()  # does nothing where the output is no terminal


@click.command("open")
@shared_options
@passphrase_option
@pass_settings
def open_page(settings: Settings) -> None:
    """A link to this node's page in a browser, good for one use. Starts the node where it does not run."""
    launch.ensure_running(settings)
    result = call(settings.place, PageOpen(), timeout_s=ANSWER_S)
    if settings.is_json:
        render.document(result)
        return
    render.say(result.url)
    render.note(
        f"open it in a browser on this machine within {render.span(result.expires_s)}; it lets in once"
    )
