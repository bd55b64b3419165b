"""What a patient can read and look at on the page. The original is always one click away."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from starlette.responses import Response

from node.web.looking import NotShown
from node.web.study_pages import content_of, read_study, unreadable
from node.web.visit import Visit
from protocol import limits
from protocol.control import MyRecord, MyRecordItem, MyRecords, histories
from protocol.errors import Malformed, Refused
from protocol.fhir import read_bundle
from protocol.records import RecordType

LINES_SHOWN: Final = 12


async def find_record(visit: Visit) -> MyRecordItem:
    """The record that the path names. Raises Refused where she has no such one."""
    return next(one for one in await find_history(visit) if one.token == visit.name("token"))


async def find_history(visit: Visit) -> tuple[MyRecordItem, ...]:
    """The record that the path names, what it took the place of and what took its, newest first."""
    for history in histories((await visit.asking(MyRecords())).records):
        if any(one.token == visit.name("token") for one in history):
            return history
    raise Refused


def can_read(record: MyRecordItem) -> bool:
    """Whether the page reads such a record out, or draws it."""
    if record.type == RecordType.STUDY:
        return True
    return record.type in _READERS and record.size <= _READERS[record.type][0]


async def read_record(visit: Visit) -> Response:
    """A record as a person can read it, made in this process or in one that it started."""
    record = await find_record(visit)
    if not can_read(record):
        raise unreadable()
    if record.type == RecordType.STUDY:
        return await read_study(visit, record)
    most, show = _READERS[record.type]
    return await show(visit, record, await content_of(visit, MyRecord(id=record.token), most))


async def _show_bundle(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """FHIR in sentences."""
    try:
        reading = await trio.to_thread.run_sync(read_bundle, raw)
    except Malformed:
        reading = None
    return visit.page("read.html", record=record, reading=reading, shown=LINES_SHOWN)


async def _show_picture(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """A DICOM image; the picture comes with the page, so that nothing is fetched twice."""
    return visit.page("picture.html", record=record, path="", picture=await visit.place.viewer.drawn(raw))


async def _show_narrative(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """What a C-CDA document says, as plain text."""
    narrative, why = None, ""
    try:
        narrative = await visit.place.viewer.narrative(raw)
    except NotShown as error:
        why = str(error)
    return visit.page("narrative.html", record=record, narrative=narrative, why=why)


Show = Callable[[Visit, MyRecordItem, bytes], Awaitable[Response]]

# By type: the most bytes that are read out, and what does it.
_READERS: Final[dict[str, tuple[int, Show]]] = {
    RecordType.FHIR: (limits.FHIR_BYTES_MAX, _show_bundle),
    RecordType.DICOM: (limits.LOOK_BYTES_MAX, _show_picture),
    RecordType.CDA: (limits.LOOK_BYTES_MAX, _show_narrative),
}
