"""Who is in the network, and the changes of it that members approve together."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from cli import launch, render
from cli.asking import confirm, yes_option
from cli.client import call
from cli.node_commands import json_flag
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from protocol import exits
from protocol.control import (
    Ask,
    ChangeItem,
    MemberItem,
    Members,
    NetworkApprove,
    NetworkChangeResult,
    NetworkEvidence,
    NetworkRemove,
    NetworkSuspend,
)
from protocol.control.asking import SuspendReason
from protocol.errors import Code, UserError

_ANSWER_S = 60.0
_COMPLETE_S = 1.0
_DONE = {"admit": "admitted", "promote": "made a validator", "suspend": "suspended", "remove": "removed"}


class MemberParam(click.ParamType[str]):
    """A member's id, a prefix of one, or its name. Completion asks a running node."""

    name = "member"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        settings = ctx.find_object(Settings) or Settings()
        try:
            found = call(settings.place, Members(), timeout_s=_COMPLETE_S)
        except UserError:
            return []
        names = [(one.id, one.name) for one in found.members]
        names += [(one.member, one.name) for one in found.pending]
        return [
            click.shell_completion.CompletionItem(one, help=name)
            for one, name in names
            if one.startswith(incomplete.lower())
        ]


MEMBER = MemberParam()


@click.command()
@shared_options
@click.option("--validator", is_flag=True, help="Let a member that only follows vote too.")
@click.argument("member", metavar="ID", type=MEMBER)
@pass_settings
def approve(settings: Settings, validator: bool, member: str) -> int:
    """Approve a clinic that asks to join, or that a member becomes a validator."""
    return _change(settings, NetworkApprove(member=member, validator=validator))


@click.command()
@shared_options
@yes_option
@click.option(
    "--reason",
    type=click.Choice(get_args(SuspendReason)),
    default="other",
    show_default=True,
    help="Why; it is on the ledger.",
)
@click.argument("member", metavar="ID", type=MEMBER)
@pass_settings
def suspend(settings: Settings, yes: bool, reason: SuspendReason, member: str) -> int:
    """Stop serving a member at once, and end its vote. It never comes back under its keys."""
    confirm(f"Suspend {member} for good?", yes=yes, is_json=settings.is_json)
    return _change(settings, NetworkSuspend(member=member, reason=reason))


@click.command()
@shared_options
@yes_option
@click.argument("member", metavar="ID", type=MEMBER)
@pass_settings
def remove(settings: Settings, yes: bool, member: str) -> int:
    """End a member's place in the network. It never comes back under its keys."""
    confirm(f"Remove {member} for good?", yes=yes, is_json=settings.is_json)
    return _change(settings, NetworkRemove(member=member))


@click.command()
@shared_options
@click.option("-o", "--output", type=ANY_PATH, help="Write it to this file.")
@click.option("--check", type=ANY_PATH, metavar="FILE", help="Verify the evidence in a file instead.")
@click.option("--chains", is_flag=True, help="The two valid chains for which this node has stopped.")
@click.argument("member", metavar="[ID]", required=False, type=MEMBER)
@pass_settings
def evidence(
    settings: Settings, output: Path | None, check: Path | None, chains: bool, member: str | None
) -> int:
    """The signed statements by which a member contradicted itself, for anyone to verify."""
    if check is not None:
        arguments = ("network", "check-evidence", *json_flag(settings), str(check.absolute()))
        launch.become(launch.node_program("node", *arguments))
    result = call(settings.place, NetworkEvidence(member=member), timeout_s=_ANSWER_S)
    text = result.two_chains if chains else "".join(one.text for one in result.evidence)
    if output is not None and text:
        _write(output, text)
    if settings.is_json:
        render.document(result)
        return exits.DONE
    if not text:
        render.note(
            "no second chain is known" if chains else "no member is known to have contradicted itself"
        )
    for one in () if chains else result.evidence:
        name = render.named(one.name, one.member)
        render.note(f"{name} contradicted itself in view {one.view} of epoch {one.epoch}")
    if output is None:
        click.echo(text, nl=False)
    elif text:
        render.say(f"saved to {output}; anyone verifies it: chartmesh network evidence --check {output}")
    return exits.DONE


def print_members(members: Sequence[MemberItem], pending: Sequence[ChangeItem]) -> None:
    """The table of `network members`, and what waits for approvals below it."""
    render.table(
        ("ID", "NAME", "ROLE", "VOTES", "REACHABLE", "HEIGHT", "SOFTWARE", "LAST SEEN", "EVIDENCE"),
        (_row(one) for one in members),
        empty="this node has no network yet",
    )
    for one in pending:
        render.say(_waiting(one))


def _row(one: MemberItem) -> tuple[str, ...]:
    return (
        render.short(one.id),
        one.name,
        one.role,
        "yes" if one.votes else "no",
        "this node" if one.is_self else "yes" if one.reachable else "no",
        "-" if one.last_height is None else str(one.last_height),
        one.software or "-",
        "-" if one.is_self else render.when(one.last_seen),
        one.evidence or "-",
    )


def _waiting(one: ChangeItem) -> str:
    """What waits, and the command that approves it where this node has not."""
    flag = " --validator" if one.act == "promote" else ""
    verb = one.act if one.act in ("suspend", "remove") else "approve"
    following = (
        "" if one.is_approved_here else f": chartmesh network {verb}{flag} {render.short(one.member)}"
    )
    return (
        f"pending: {one.act} {render.named(one.name, one.member)} {render.short(one.member)}, "
        f"{one.approvals} of {one.needed} approvals, until {render.when(one.expires)}{following}"
    )


def _change(settings: Settings, request: Ask[NetworkChangeResult]) -> int:
    result = call(settings.place, request, timeout_s=_ANSWER_S)
    if settings.is_json:
        render.document(result)
    else:
        change = result.change
        name = render.named(change.name, change.member)
        render.note(
            f"{name} is {_DONE.get(change.act, change.act)}"
            if result.final
            else f"{change.act} {name}: {change.approvals} of {change.needed} approvals"
        )
        print_members(result.members, result.pending)
    return exits.DONE if result.final else exits.NOT_FINAL


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "check the path", code=Code.EVIDENCE
        ) from error
