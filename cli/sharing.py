"""Sharing in plain sentences, each with the command that ends it or has it go on."""

from collections.abc import Sequence
from datetime import datetime

from cli import render
from cli.client import call
from cli.settings import Settings
from cli.values import COMPLETE_S, IdParam
from protocol.control import KIND_WORDS, GrantItem, MyRecords, ProvisionItem


def list_my_records(settings: Settings) -> list[tuple[str, str]]:
    """Ids and titles of the patient's records, for completion."""
    found = call(settings.place, MyRecords(), timeout_s=COMPLETE_S)
    return [(one.token, one.title) for one in found.records]


MY_RECORD = IdParam(list_my_records)


def print_shared(settings: Settings, grants: Sequence[GrantItem]) -> None:
    """Who can read what until when, and how to stop it."""
    for one in grants:
        state = "" if one.final else " (accepted, not final yet)"
        render.say(
            f"{reader(one)} can read {render.short(one.token)} until {render.when(one.not_after)}{state}. "
            f"Stop with: chartmesh my stop {render.short(one.grant)}{settings.place.flags}"
        )


def note_ending(settings: Settings, grants: Sequence[GrantItem]) -> None:
    """What runs out soon, each with the command that has the patient share it as long again."""
    for one in grants:
        if one.ends_soon:
            purposes = "".join(f" --purpose {code}" for code in one.purposes)
            render.note(
                f"{reader(one)} can read {one.title or render.short(one.token)} only until "
                f"{render.when(one.not_after)}. Renew with: chartmesh my share {render.short(one.token)} "
                f"--with {reader(one)} --for {_days(one)}d{purposes}{settings.place.flags}"
            )


def print_provisions(settings: Settings, provisions: Sequence[ProvisionItem]) -> None:
    """What is shared as it comes, and how to end that."""
    for one in provisions:
        by = "" if not one.issuer else f" that {render.named(one.issuer_name, one.issuer)} added"
        since = "" if one.since is None else f" since {render.when(one.since)}"
        what = f"{KIND_WORDS[one.kind]}{by}{since}, of {one.person}"
        render.say(
            f"{render.named(one.grantee_name, one.grantee)} is let read {what}, also those that come until "
            f"{render.when(one.not_after)}. "
            f"Stop with: chartmesh my stop {render.short(one.id)}{settings.place.flags}"
        )


def reader(one: GrantItem) -> str:
    """Who may read by this grant."""
    return render.named(one.grantee_name, one.grantee)


def _days(one: GrantItem) -> int:
    """How long the grant lasted in all, in days and at least one."""
    if one.not_before is None:
        return 30
    lasted = datetime.fromisoformat(one.not_after) - datetime.fromisoformat(one.not_before)
    return max(1, lasted.days)
