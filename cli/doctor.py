"""`doctor`: what keeps this node from running well, and the command that mends it."""

from collections.abc import Iterator
from typing import Any

import click

from cli import launch, render
from cli.client import call
from cli.node_commands import ANSWER_S
from cli.settings import Settings, pass_settings, shared_options
from protocol import exits
from protocol.control import Status, StoreVerify
from protocol.errors import ChartmeshError

_MARKS = {"ok": "✓", "warning": "!", "wrong": "✗"}
_Check = dict[str, str]


@click.command()
@shared_options
@click.option("--fix", is_flag=True, help="Close to others what only the owner may touch.")
@pass_settings
def doctor(settings: Settings, fix: bool) -> int:
    """Check configuration, files, disk, clock, ports, store and network. Exits 1 where one is wrong."""
    checks: list[_Check] = launch.run_job("doctor", *_arguments(settings, fix))["checks"]
    if ("daemon", "ok") in {(one["check"], one["state"]) for one in checks}:
        checks += _asked(settings)
    is_well = all(one["state"] != "wrong" for one in checks)
    if settings.is_json:
        _print_document(checks, is_well)
    else:
        for one in checks:
            fix_text = f"; next: {one['fix']}" if one["fix"] else ""
            render.say(f"{_MARKS[one['state']]} {one['check']}: {one['text']}{fix_text}")
    return exits.DONE if is_well else exits.FAILED


def _arguments(settings: Settings, fix: bool) -> list[str]:
    arguments = ["--fix"] if fix else []
    if settings.data_dir_flag is not None:
        arguments += ["--data-dir", str(settings.data_dir_flag)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config)]
    return arguments


def _asked(settings: Settings) -> Iterator[_Check]:
    """What only the running daemon knows."""
    try:
        status = call(settings.place, Status(), timeout_s=ANSWER_S)
        yield from (_check("status", "warning", warning) for warning in status.warnings)
        if status.network is None:
            return
        yield _check(
            "members",
            "ok" if status.fresh else "wrong",
            f"{status.reachable} of {status.members} reachable, {status.quorum} needed",
            "" if status.fresh else f"see who is missing: chartmesh peers{settings.place.flags}",
        )
        progress = render.ProgressLine(is_json=settings.is_json)
        try:
            store = call(settings.place, StoreVerify(), report=progress)
        finally:
            progress.clear()
    except ChartmeshError as error:
        yield _check("daemon", "wrong", error.message, error.hint)
        return
    for one in store.databases:
        fix = f"chartmesh stop{settings.place.flags} && chartmesh start{settings.place.flags}"
        yield _check(
            "store",
            "wrong" if one.problem else "ok",
            f"{one.name}: {one.problem or f'{one.entries} entries, whole'}",
            fix if one.problem else "",
        )


def _check(check: str, state: str, text: str, fix: str = "") -> _Check:
    return {"check": check, "state": state, "text": text, "fix": fix}


def _print_document(checks: list[Any], is_well: bool) -> None:
    import json

    click.echo(json.dumps({"v": 1, "type": "result", "ok": is_well, "checks": checks}))
