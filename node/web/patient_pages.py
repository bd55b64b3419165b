"""The patient's pages: her records, who read them, receive codes, and how her wallet is."""

from itertools import groupby
from typing import Final

import segno
from markupsafe import Markup
from starlette.responses import Response

from node.web import forms, words
from node.web.download import Download
from node.web.kind_pages import KIND_DONE, KIND_SHOWN
from node.web.reading_pages import can_read, find_history, find_record, read_record
from node.web.request_pages import REQUEST_DONE, REQUEST_SHOWN
from node.web.sharing_pages import (
    SHARING_DONE,
    SHARING_SHOWN,
    chosen_person,
    several_persons,
    soon_of,
)
from node.web.visit import Handler, Visit
from protocol import limits
from protocol.control import (
    LOG_WORDS,
    Members,
    MyCode,
    MyRecord,
    MyRecordItem,
    MyRecords,
    MyShares,
    MyWho,
    Status,
    histories,
)

WHO_ROWS: Final = 500


async def show_records(visit: Visit) -> Response:
    """All records, or those that the words of `q` are in, by month; what one amends stands below it."""
    every = list(histories((await visit.asking(MyRecords())).records))
    sought = visit.query("q")
    found = [one for one in every if any(_fits(version, sought) for version in one)]
    months = [(name, list(items)) for name, items in groupby(found, lambda one: words.month(one[0].time))]
    return visit.page(
        "records.html",
        months=months,
        sought=sought,
        found=len(found),
        total=len(every),
        is_several=bool(await several_persons(visit)),
        status=await visit.asking(Status()),
    )


async def show_record(visit: Visit) -> Response:
    history = await find_history(visit)
    [record] = [one for one in history if one.token == visit.name("token")]
    return visit.page(
        "record.html",
        record=record,
        history=history,
        can_read=can_read(record),
        soon=soon_of(visit, record.grants),
    )


async def save_record(visit: Visit) -> Response:
    """The original bytes, of one file of a study with `file`."""
    record, path = await find_record(visit), visit.query("file", limits.STUDY_PATH_CHARS_MAX)
    called = path.replace("/", "-") or record.title or "record"
    name = f"{words.short(record.token)}-{called}"
    return Download(visit.asking, MyRecord(id=record.token, file=path or None), name, visit.tell)


async def show_who(visit: Visit) -> Response:
    """Every access and refusal, of one record with `record`."""
    token = visit.query("record")
    answer = await visit.asking(MyWho(record=forms.identity(token) if token else None, rows=WHO_ROWS))
    days = [(day, list(items)) for day, items in groupby(answer.accesses, lambda one: words.day(one.time))]
    flawed = [(one, LOG_WORDS[one.state]) for one in answer.logs if one.state in LOG_WORDS]
    return visit.page("who.html", days=days, answer=answer, flawed=flawed, token=token, tell=words.access)


async def ask_code(visit: Visit) -> Response:
    return visit.page(
        "code.html",
        clinics=(await visit.asking(Members())).members,
        persons=await several_persons(visit),
        most=limits.ENROLMENTS_PER_CODE_MAX,
        receive=None,
    )


async def make_code(visit: Visit) -> Response:
    form = await visit.form()
    count = forms.one(form, "count")
    if not count.isdecimal() or not 1 <= int(count) <= limits.ENROLMENTS_PER_CODE_MAX:
        raise forms.unclear("how many records the code is for")
    person = await chosen_person(visit, form)
    code = await visit.asking(MyCode(clinic=forms.one(form, "clinic"), count=int(count), person=person))
    return visit.page(
        "code.html", persons=await several_persons(visit), receive=code, drawing=draw_code(code.code)
    )


async def show_wallet(visit: Visit) -> Response:
    status = await visit.asking(Status())
    records = (await visit.asking(MyRecords())).records if status.fresh else ()
    grants = (await visit.asking(MyShares())).grants
    live, _ = words.parted(grants)
    return visit.page(
        "wallet.html", status=status, records=records, live=live, soon=len(soon_of(visit, live))
    )


def draw_code(text: str) -> Markup | None:
    """A QR code as SVG; None where the text is too long for one."""
    try:
        drawn = segno.make(text, error="l", micro=False)
    except segno.DataOverflowError:
        return None
    return Markup(  # Made by segno of modules alone, without the text.
        drawn.svg_inline(omitsize=True, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None)
    )


# What a browser is shown, and what it does. The first part of each list is the navigation's.
PAGES: Final = (
    ("/", "Records"),
    ("/shares", "Sharing"),
    ("/requests", "Requests"),
    ("/who", "Who read"),
    ("/code", "Receive"),
    ("/wallet", "Wallet"),
)
SHOWN: Final[tuple[tuple[str, Handler], ...]] = (
    ("/", show_records),
    ("/records/{token}", show_record),
    ("/records/{token}/read", read_record),
    ("/records/{token}/original", save_record),
    *KIND_SHOWN,
    *SHARING_SHOWN,
    *REQUEST_SHOWN,
    ("/who", show_who),
    ("/code", ask_code),
    ("/wallet", show_wallet),
)
DONE: Final[tuple[tuple[str, Handler], ...]] = (
    *KIND_DONE,
    *SHARING_DONE,
    *REQUEST_DONE,
    ("/code", make_code),
)


def _fits(record: MyRecordItem, sought: str) -> bool:
    text = f"{record.title} {record.issuer_name} {record.type} {words.day(record.time)}".casefold()
    return all(word in text for word in sought.casefold().split())
