"""A clinic's pages: how its node is, the network, its records, who may read them and who did."""

from typing import Any, Final

from markupsafe import Markup
from starlette.responses import Response

from node.web import forms, words
from node.web.drawing import draw_line, draw_network, draw_share
from node.web.history import Moment
from node.web.visit import Handler, Visit
from protocol.control import (
    KIND_WORDS,
    AccessList,
    AuditList,
    AuditVerify,
    Members,
    RecordList,
    RecordShow,
    Status,
    StoreStat,
)
from protocol.errors import Code, UserError
from protocol.limits import DAY_MS, MIB, NetworkLimits

ROWS: Final = 500
SPANS: Final = {"1": "the last day", "7": "the last week", "30": "the last 30 days", "": "all time"}


async def show_overview(visit: Visit) -> Response:
    status, answer = await visit.asking(Status()), await visit.asking(Members())
    return visit.page(
        "overview.html",
        status=status,
        members=answer.members,
        pending=answer.pending,
        drawing=draw_network(answer.members) if answer.members else None,
    )


async def show_records(visit: Visit) -> Response:
    patient = visit.query("patient")
    kind: Any = visit.query("type") or "all"
    if kind not in KIND_WORDS:
        raise forms.unclear("which type")
    answer = await visit.asking(
        RecordList(patient=patient or None, type=kind, since_ms=_since(visit), rows=ROWS)
    )
    sought = visit.query("q").casefold()
    found = [
        one
        for one in answer.records
        if sought in f"{one.title} {one.issuer_name} {one.type} {one.token}".casefold()
    ]
    return visit.page(
        "clinic_records.html",
        records=found,
        answer=answer,
        patient=patient,
        sought=visit.query("q"),
        kinds=KIND_WORDS,
        kind=kind,
        spans=SPANS,
        span=visit.query("days"),
    )


async def show_record(visit: Visit) -> Response:
    shown = await visit.asking(RecordShow(id=visit.name("token")))
    names = {one.id: one.name for one in (await visit.asking(Members())).members}
    entries = (await visit.asking(AuditList(record=shown.record.token, rows=ROWS))).entries
    return visit.page("clinic_record.html", shown=shown, names=names, entries=entries)


async def show_access(visit: Visit) -> Response:
    answer = await visit.asking(AccessList())
    live, past = words.parted(sorted(answer.grants, key=lambda one: one.not_after))
    return visit.page(
        "access.html",
        live=live,
        past=past,
        requests=answer.requests,
        tell=words.purposes,
        tell_request=words.requested,
    )


async def show_audit(visit: Visit) -> Response:
    """The node's own log, as the filters say; `verify` reads all of it again first."""
    record, by, patient = visit.query("record"), visit.query("by"), visit.query("patient")
    outcome = visit.query("outcome")
    answer = await visit.asking(
        AuditList(
            record=record or None, by=by or None, patient=patient or None, since_ms=_since(visit), rows=ROWS
        )
    )
    verdict = await visit.asking(AuditVerify()) if visit.query("verify") else None
    return visit.page(
        "audit.html",
        entries=[one for one in answer.entries if outcome in ("", one.outcome)],
        answer=answer,
        verdict=verdict,
        outcomes=sorted({one.outcome for one in answer.entries if one.outcome}),
        filters={
            "record": record,
            "by": by,
            "patient": patient,
            "outcome": outcome,
            "days": visit.query("days"),
        },
        spans=SPANS,
    )


async def show_charts(visit: Visit) -> Response:
    await visit.place.history.look()
    moments, stores = list(visit.place.history.moments), await visit.asking(StoreStat())
    return visit.page(
        "charts.html",
        stores=stores,
        moments=moments,
        **_charts(moments),
        share=_share(stores.used_bytes, stores.quota_bytes),
    )


def _charts(moments: list[Moment]) -> dict[str, Any]:
    """The lines that can be drawn of so many looks: one of a single look says nothing."""
    if len(moments) < 2:
        return {"ages": None, "blocks": None, "bytes": None}
    newest = moments[-1].at_ms
    at = [(one.at_ms - newest) / 1000 for one in moments]
    ages = [one.final_age_s for one in moments]
    heights = [one.height - moments[0].height for one in moments]
    sizes = [sum(one.databases.values()) / MIB for one in moments]
    stale_s = NetworkLimits().max_stale_default_ms / 1000
    return {
        "ages": draw_line(
            list(zip(at, ages, strict=True)),
            label=f"Age of the newest final block: {ages[-1]:.0f} seconds now",
            unit="s",
            bound=stale_s,
        ),
        "blocks": draw_line(
            list(zip(at, heights, strict=True)),
            label=f"Blocks made final since the first look: {heights[-1]}",
            unit="",
        ),
        "bytes": draw_line(
            list(zip(at, sizes, strict=True)),
            label=f"Databases on the disk: {sizes[-1]:.1f} MiB now",
            unit="MiB",
        ),
    }


def _share(used: int | None, quota: int | None) -> Markup | None:
    if used is None or not quota:
        return None
    return draw_share(used / quota, label=f"{words.size(used)} of {words.size(quota)} are taken")


def _since(visit: Visit) -> int | None:
    days = visit.query("days")
    if not days:
        return None
    if days not in SPANS:
        raise UserError(f"{days!r} is no span of time", "choose one of the list", code=Code.DURATION)
    return visit.clock.wall_ms() - int(days) * DAY_MS


PAGES: Final = (
    ("/", "Overview"),
    ("/records", "Records"),
    ("/access", "Shared with us"),
    ("/audit", "Audit"),
    ("/charts", "Charts"),
)
SHOWN: Final[tuple[tuple[str, Handler], ...]] = (
    ("/", show_overview),
    ("/records", show_records),
    ("/records/{token}", show_record),
    ("/access", show_access),
    ("/audit", show_audit),
    ("/charts", show_charts),
)
DONE: Final[tuple[tuple[str, Handler], ...]] = ()
