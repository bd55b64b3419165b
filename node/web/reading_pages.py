"""What a patient can read and look at on the page. The original is always one click away."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, NamedTuple

import trio
from starlette.responses import Response

from node.web.looking import NotShown
from node.web.visit import Visit
from protocol import limits
from protocol.control import MyRecord, MyRecordItem, MyRecords
from protocol.errors import Code, Malformed, Refused, UserError
from protocol.fhir import read_bundle
from protocol.records import RecordType
from protocol.study import StudyFile, decode_head, head_length

LINES_SHOWN: Final = 12


class Picture(NamedTuple):
    """A PNG in base64, or why there is none."""

    png: str
    why: str


async def find_record(visit: Visit) -> MyRecordItem:
    """The record that the path names. Raises Refused where she has no such one."""
    token = visit.name("token")
    for one in (await visit.asking(MyRecords())).records:
        if one.token == token:
            return one
    raise Refused


def can_read(record: MyRecordItem) -> bool:
    """Whether the page reads such a record out, or draws it."""
    return record.type in _READERS and record.size <= _READERS[record.type][0]


async def read_record(visit: Visit) -> Response:
    """A record as a person can read it, made in this process or in one that it started."""
    record = await find_record(visit)
    if not can_read(record):
        raise _unreadable()
    most, show = _READERS[record.type]
    raw = bytearray()

    async def keep(chunk: bytes) -> None:
        raw.extend(chunk)
        if len(raw) > most:
            raise _unreadable()

    await visit.asking(MyRecord(id=record.token), keep)
    return await show(visit, record, bytes(raw))


async def _show_bundle(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """FHIR in sentences."""
    try:
        reading = await trio.to_thread.run_sync(read_bundle, raw)
    except Malformed:
        reading = None
    return visit.page("read.html", record=record, reading=reading, shown=LINES_SHOWN)


async def _show_picture(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """A DICOM image; the picture comes with the page, so that nothing is fetched twice."""
    return visit.page("picture.html", record=record, picture=await _draw(visit, raw))


async def _show_narrative(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """What a C-CDA document says, as plain text."""
    narrative, why = None, ""
    try:
        narrative = await visit.place.viewer.narrative(raw)
    except NotShown as error:
        why = str(error)
    return visit.page("narrative.html", record=record, narrative=narrative, why=why)


async def _show_study(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """Some images of a study, each with its picture, and what else is in it by name."""
    try:
        study = decode_head(raw[: head_length(raw)])
    except Malformed:
        return visit.page(
            "study.html", record=record, study=None, shown=(), first=0, images=0, others=(), step=0
        )
    images = [one for one in study.files if one.instance]
    first = _first(visit.query("first"), len(images))
    chosen = images[first : first + limits.STUDY_PICTURES_SHOWN]
    shown: dict[str, Picture] = {}

    async def draw(one: StudyFile) -> None:
        _, start = study.find(one.path)
        content = raw[start : start + one.length]
        if sha256(content).digest() == one.sha256:
            shown[one.path] = await _draw(visit, content)
        else:
            shown[one.path] = Picture("", "it is not the file that the study's index names")

    async with trio.open_nursery() as nursery:
        for one in chosen:
            nursery.start_soon(draw, one)
    return visit.page(
        "study.html",
        record=record,
        study=study,
        shown=[(one, shown[one.path]) for one in chosen],
        first=first,
        images=len(images),
        others=[one for one in study.files if not one.instance],
        step=limits.STUDY_PICTURES_SHOWN,
    )


def _first(text: str, count: int) -> int:
    """Where in the images a page begins: the first one, where it is not said, or said wrongly."""
    return int(text) if text.isascii() and text.isdecimal() and int(text) < count else 0


async def _draw(visit: Visit, image: bytes) -> Picture:
    try:
        return Picture(b64encode(await visit.place.viewer.picture(image)).decode(), "")
    except NotShown as error:
        return Picture("", str(error))


def _unreadable() -> UserError:
    return UserError("this record cannot be read out on the page", "download the original", code=Code.LIMIT)


Show = Callable[[Visit, MyRecordItem, bytes], Awaitable[Response]]

# By type: the most bytes that are read out, and what does it.
_READERS: Final[dict[str, tuple[int, Show]]] = {
    RecordType.FHIR: (limits.FHIR_BYTES_MAX, _show_bundle),
    RecordType.DICOM: (limits.LOOK_BYTES_MAX, _show_picture),
    RecordType.STUDY: (limits.LOOK_BYTES_MAX, _show_study),
    RecordType.CDA: (limits.LOOK_BYTES_MAX, _show_narrative),
}
