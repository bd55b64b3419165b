"""Commands about the network of clinics."""

import os
import sys
from pathlib import Path

import click

from cli import launch, render
from cli.client import call
from cli.membership import approve, evidence, print_members, remove, suspend
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from cli.values import DurationParam
from protocol import exits, limits
from protocol.armour import is_code
from protocol.control import (
    Members,
    NetworkApply,
    NetworkInvitation,
    NetworkInvitationResult,
    NetworkInvite,
    NetworkJoin,
    NetworkJoinResult,
)
from protocol.errors import Code, UserError

_ANSWER_S = 60.0


@click.group()
@shared_options
def network() -> None:
    """The network of clinics."""


for command in (approve, suspend, remove, evidence):
    network.add_command(command)


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
@click.option("--accept-terms", is_flag=True, help="Accept the network's terms without being asked.")
@click.argument("given", metavar="GENESIS|CODE")
@pass_settings
def join(settings: Settings, accept_terms: bool, given: str) -> int:
    """Join the network of a genesis file, as a founder, or of an invitation code."""
    if is_code(given) and not os.path.exists(given):  # for a path too long for a file it says no
        return _apply(settings, given, accept_terms)
    genesis = Path(given)
    text = _genesis_text(genesis)
    if not launch.is_running(settings.place):
        launch.become(launch.node_program("node", *_join_arguments(settings, genesis)))
    return _print_joined(settings, call(settings.place, NetworkJoin(genesis=text), timeout_s=_ANSWER_S))


@network.command()
@shared_options
@click.option(
    "--expires",
    "expires_ms",
    type=DurationParam(),
    default="7d",
    show_default=True,
    help="How long the code is good for; at most 90d.",
)
@click.option("--qr", is_flag=True, help="Also as a QR code.")
@pass_settings
def invite(settings: Settings, expires_ms: int, qr: bool) -> None:
    """A code by which one more clinic can ask to join."""
    if expires_ms > limits.INVITATION_LIFE_MS_MAX:
        raise UserError(
            "an invitation is good for 90 days at most",
            "give less, for example --expires 7d",
            code=Code.DURATION,
        )
    result = call(settings.place, NetworkInvite(expires_ms=expires_ms), timeout_s=_ANSWER_S)
    if settings.is_json:
        render.document(result)
        return
    if qr:
        render.qr(result.code, too_long="give this clinic fewer or shorter addresses")
    render.say(result.code)
    render.note(
        f"give this to one clinic, which runs: chartmesh network join CODE; "
        f"good until {render.when(result.expires)}. It lets nobody in: the members approve who asks"
    )


@network.command()
@shared_options
@pass_settings
def members(settings: Settings) -> None:
    """The clinics of the network, and the changes that wait for approvals."""
    result = call(settings.place, Members(), timeout_s=_ANSWER_S)
    if settings.is_json:
        render.document(result)
    else:
        print_members(result.members, result.pending)


def _apply(settings: Settings, code: str, accept_terms: bool) -> int:
    """Asks to be admitted, once the network's terms are accepted."""
    found = call(settings.place, NetworkInvitation(code=code), timeout_s=_ANSWER_S)
    if not accept_terms:
        _ask_terms(settings, found)
    request = NetworkApply(code=code, terms_hash=found.terms_hash)
    return _print_joined(settings, call(settings.place, request, timeout_s=_ANSWER_S))


def _ask_terms(settings: Settings, found: NetworkInvitationResult) -> None:
    """Shows the terms and waits for a yes. Raises UserError TERMS where there is none."""
    render.note(f"network {found.name}  {found.network}")
    render.note(f"founded by {', '.join(found.founders)}; invited by {render.short(found.inviter)}")
    render.note(f"its terms: {found.terms}")
    if settings.is_json or not sys.stdin.isatty() or not click.confirm("Accept these terms?", err=True):
        raise UserError(
            f"the terms of {found.name} were not accepted, so nothing was sent",
            "read them, and accept them here or with --accept-terms",
            code=Code.TERMS,
        )


def _print_joined(settings: Settings, result: NetworkJoinResult) -> int:
    if settings.is_json:
        render.document(result)
    elif result.joined:
        render.say(f"joined {result.name}  members {result.members} (need {result.quorum})")
    else:
        render.say(f"request sent to {result.name}; {result.approvals} of {result.quorum} approvals")
        render.note(f"next: keep the node running, and see: chartmesh status{settings.place.flags}")
    return exits.DONE if result.joined else exits.NOT_FINAL


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
