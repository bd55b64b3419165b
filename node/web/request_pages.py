"""What clinics ask a patient to share, on her page: see it, allow it or a part of it, say no."""

from typing import Final

from starlette.responses import Response

from node.web import forms, words
from node.web.visit import Handler, Visit
from protocol import limits
from protocol.control import MyApprove, MyDecline, MyRequests, RequestItem
from protocol.errors import Refused

DAYS: Final = (1, 7, 30, 90, 365)
AS_ASKED: Final = "asked"  # for the time that was asked for, and all records


async def show_requests(visit: Visit) -> Response:
    answer = await visit.asking(MyRequests())
    waiting = [one for one in answer.requests if one.state == "waiting"]
    return visit.page(
        "requests.html",
        waiting=waiting,
        past=[one for one in answer.requests if one.state != "waiting"],
        unreached=len(answer.unreached),
        tell=words.requested,
    )


async def ask_answer(visit: Visit) -> Response:
    """All that is asked for is chosen already, so that one click allows it."""
    request = await _request(visit)
    days = [count for count in DAYS if count * limits.DAY_MS < request.for_s * limits.SECOND_MS]
    return visit.page(
        "request.html",
        request=request,
        days=days,
        as_asked=AS_ASKED,
        is_choice=len(request.records) <= limits.PAGE_CHOICES_MAX,
        tell=words.requested,
    )


async def allow(visit: Visit) -> Response:
    form = await visit.form()
    request = await _request(visit)
    time = forms.one(form, "days")
    answer = await visit.asking(
        MyApprove(
            id=request.request,
            for_ms=None if time == AS_ASKED else forms.days(time, DAYS) * limits.DAY_MS,
            records=_chosen(request, form.get("record", [])),
        )
    )
    return visit.go("/requests", words.can_read(answer.grants) + _told(is_told=answer.told is not False))


async def decline(visit: Visit) -> Response:
    await visit.form()
    answer = await visit.asking(MyDecline(id=forms.identity(visit.name("request"))))
    asker = words.named(answer.request.asker_name, answer.request.asker)
    return visit.go("/requests", f"You said no to {asker}.{_told(is_told=answer.told)}")


REQUEST_SHOWN: Final[tuple[tuple[str, Handler], ...]] = (
    ("/requests", show_requests),
    ("/requests/{request}", ask_answer),
)
REQUEST_DONE: Final[tuple[tuple[str, Handler], ...]] = (
    ("/requests/{request}/allow", allow),
    ("/requests/{request}/decline", decline),
)


async def _request(visit: Visit) -> RequestItem:
    """Raises Refused where no such request waits for an answer."""
    name = visit.name("request")
    for one in (await visit.asking(MyRequests())).requests:
        if one.request == name and one.state == "waiting":
            return one
    raise Refused


def _chosen(request: RequestItem, fields: list[str]) -> tuple[str, ...]:
    """The records chosen; none for all. Raises UserError where that is unclear."""
    mine, chosen = {one.token for one in request.records}, set(fields)
    if not chosen or not chosen <= mine | {AS_ASKED}:
        raise forms.unclear("which records")
    return () if chosen in (mine, {AS_ASKED}) else tuple(sorted(chosen - {AS_ASKED}))


def _told(*, is_told: bool) -> str:
    return "" if is_told else " The clinic could not be told yet: it will be when it is reached."
