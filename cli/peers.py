"""Commands about the node's peers: who is connected, who misbehaved, and whom to keep out."""

import time

import click

from cli import render
from cli.client import call
from cli.node_commands import ANSWER_S, REFRESH_S, clear
from cli.settings import Settings, pass_settings, shared_options
from cli.values import DurationParam, IdParam
from protocol.control import PeerBlock, Peers, PeersResult


def list_peers(settings: Settings) -> list[tuple[str, str]]:
    """Ids and names of peers and offenders, for completion."""
    found = call(settings.place, Peers(), timeout_s=ANSWER_S)
    offenders = [(one.id, one.name or one.reason) for one in found.offenders if one.id is not None]
    return [*offenders, *((one.id, one.name) for one in found.peers)]


@click.command()
@shared_options
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@pass_settings
def peers(settings: Settings, watch: bool) -> None:
    """Who is connected to the node, and who misbehaved lately."""
    while True:
        result = call(settings.place, Peers(), timeout_s=ANSWER_S)
        if not settings.is_json:
            clear(watch)
        _show(settings, result)
        if not watch:
            return
        time.sleep(REFRESH_S)


@click.group()
@shared_options
def peer() -> None:
    """Keep one peer out, or let it in again."""


@peer.command()
@shared_options
@click.argument("identity", metavar="ID", type=IdParam(list_peers))
@click.option(
    "--for", "for_ms", type=DurationParam(), default="1h", show_default=True, help="For how long."
)
@pass_settings
def block(settings: Settings, identity: str, for_ms: int) -> None:
    """Close a peer's connections and keep it out, until the node restarts at the latest.

    A member that is kept out can neither vote here nor fetch records from here.
    """
    _show(settings, call(settings.place, PeerBlock(id=identity, for_ms=for_ms), timeout_s=ANSWER_S))


@peer.command()
@shared_options
@click.argument("identity", metavar="ID", type=IdParam(list_peers))
@pass_settings
def unblock(settings: Settings, identity: str) -> None:
    """Let a peer in again and forget its offences."""
    _show(settings, call(settings.place, PeerBlock(id=identity, for_ms=0), timeout_s=ANSWER_S))


def _show(settings: Settings, result: PeersResult) -> None:
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "NAME", "ADDRESS", "ROUND TRIP", "AGENT", "WAY", "FRESH SINCE"),
        (
            (
                render.short(peer.id),
                peer.name,
                peer.address,
                "-" if peer.round_trip_ms is None else f"{peer.round_trip_ms:.1f} ms",
                peer.agent,
                peer.direction,
                render.when(peer.fresh_since),
            )
            for peer in result.peers
        ),
        empty="no peer is connected",
    )
    if result.offenders:
        render.say("")
        _offender_table(result)


def _offender_table(result: PeersResult) -> None:
    render.table(
        ("OFFENDER", "NAME", "ADDRESS", "REASON", "TIMES", "LAST", "KEPT OUT UNTIL"),
        (
            (
                "-" if one.id is None else render.short(one.id),
                one.name,
                one.address,
                one.reason,
                str(one.count),
                render.when(one.last),
                render.when(one.blocked_until),
            )
            for one in result.offenders
        ),
        empty="",
    )
