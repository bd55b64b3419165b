"""The command tree, and how every error becomes two lines and an exit status."""

import sys
from typing import NoReturn

import click

from cli import render
from cli.access import access
from cli.audit import audit
from cli.backup import backup
from cli.bench import bench
from cli.client import AnsweredError
from cli.config import config
from cli.demo import demo
from cli.doctor import doctor
from cli.exporting import verify
from cli.keys import keys
from cli.log import log
from cli.my import my
from cli.network import network
from cli.node_commands import completion, daemon, init, open_page, start, status, stop, version
from cli.patient import patient
from cli.peers import peer, peers
from cli.record import record
from cli.service import service
from cli.settings import shared_options
from cli.store import store
from protocol import exits
from protocol.control import ErrorReply, encode_document
from protocol.errors import ChartmeshError, Code


class CommandTree(click.Group):
    """All commands. Ctrl-C ends them without click's own empty line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error


@click.group(cls=CommandTree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chartmesh", message="%(prog)s %(version)s")
@shared_options
def chartmesh() -> None:
    """A network of clinics in which every medical record is owned by its patient."""


COMMANDS: list[click.Command] = [init, daemon, start, stop, status, doctor, open_page, peers]
COMMANDS += [verify, log, version, completion]
COMMANDS += [network, peer, keys, patient, record, access, audit, my, backup, store, config, service]
COMMANDS += [demo, bench]
for command in COMMANDS:
    chartmesh.add_command(command)


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit status; errors are told on stderr."""
    is_json = "--json" in arguments
    try:
        returned = chartmesh.main(arguments, prog_name="chartmesh", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return exits.USAGE
    except click.UsageError as error:
        hint = f"see: {error.ctx.command_path} --help" if error.ctx else "see: chartmesh --help"
        return _tell(Code.USAGE, error.format_message(), hint, is_json)
    except click.ClickException as error:
        return _tell(Code.INTERNAL, error.format_message(), "see: chartmesh --help", is_json)
    except (click.Abort, KeyboardInterrupt):
        if sys.stderr.isatty():
            render.note("")  # the terminal has written ^C there
        return _tell(Code.INTERRUPTED, "interrupted", "nothing is half-written; run it again", is_json)
    except ChartmeshError as error:
        if is_json and isinstance(error, AnsweredError):
            click.echo(encode_document(error.reply), err=True)
            return exits.exit_status(error.code)
        return _tell(error.code, error.message, error.hint, is_json)
    return returned if isinstance(returned, int) else exits.DONE


def _tell(code: Code, message: str, hint: str, is_json: bool) -> int:
    if is_json:
        click.echo(encode_document(ErrorReply(code=code, error=message, hint=hint)), err=True)
    else:
        one_line = " ".join(message.split())
        render.note(f"error: {one_line}")
        render.note(f"hint: {hint or 'see: chartmesh --help'}")
    return exits.exit_status(code)


if __name__ == "__main__":
    main()
