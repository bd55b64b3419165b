"""The images of a study on the page: a small one with its pictures, of a large one each for itself."""

from hashlib import sha256
from typing import NamedTuple

import trio
from starlette.responses import Response

from node.web.looking import Picture
from node.web.visit import Visit
from protocol import limits
from protocol.control import MyRecord, MyRecordItem
from protocol.errors import Code, Malformed, UserError
from protocol.study import START_BYTES, Study, StudyFile, decode_head, head_length

NOT_INDEXED = "it is not the file that the study's index names"


async def content_of(visit: Visit, request: MyRecord, most: int) -> bytes:
    """What answers `request`. Raises UserError LIMIT where that is more than `most` bytes."""
    raw = bytearray()

    async def keep(chunk: bytes) -> None:
        raw.extend(chunk)
        if len(raw) > most:
            raise unreadable()

    await visit.asking(request, keep)
    return bytes(raw)


def unreadable() -> UserError:
    """What a page says of a record that it does not show."""
    return UserError("this record cannot be read out on the page", "download the original", code=Code.LIMIT)


async def read_study(visit: Visit, record: MyRecordItem) -> Response:
    """One image of a study, where the address names it; else some with their pictures, or all by name."""
    path = visit.query("file", limits.STUDY_PATH_CHARS_MAX)
    if path:
        request = MyRecord(id=record.token, file=path)
        image = await content_of(visit, request, limits.LOOK_BYTES_MAX)
        picture = await visit.place.viewer.drawn(image)
        return visit.page("picture.html", record=record, picture=picture, path=path)
    if record.size > limits.LOOK_BYTES_MAX:
        return await _list_images(visit, record)
    return await _show_pictures(
        visit, record, await content_of(visit, MyRecord(id=record.token), record.size)
    )


async def _list_images(visit: Visit, record: MyRecordItem) -> Response:
    """From the index alone: the record may have gigabytes."""
    most = START_BYTES + limits.STUDY_INDEX_BYTES_MAX
    try:
        study = decode_head(await content_of(visit, MyRecord(id=record.token, is_index=True), most))
    except Malformed:
        return _no_study(visit, record)
    return _page(visit, record, study, _chosen(visit, study, limits.STUDY_IMAGES_LISTED), {})


async def _show_pictures(visit: Visit, record: MyRecordItem, raw: bytes) -> Response:
    """Some images, each with its picture: held against the index first, and drawn at the same time."""
    try:
        study = decode_head(raw[: head_length(raw)])
    except Malformed:
        return _no_study(visit, record)
    chosen = _chosen(visit, study, limits.STUDY_PICTURES_SHOWN)
    pictures: dict[str, Picture] = {}

    async def draw(one: StudyFile) -> None:
        _, start = study.find(one.path)
        content = raw[start : start + one.length]
        if sha256(content).digest() == one.sha256:
            pictures[one.path] = await visit.place.viewer.drawn(content)
        else:
            pictures[one.path] = Picture("", NOT_INDEXED)

    async with trio.open_nursery() as nursery:
        for one in chosen.files:
            nursery.start_soon(draw, one)
    return _page(visit, record, study, chosen, pictures)


class _Chosen(NamedTuple):
    """The images of one page, which begins at the `first` of all `images` and has at most `step`."""

    files: list[StudyFile]
    first: int
    images: int
    step: int


def _chosen(visit: Visit, study: Study, step: int) -> _Chosen:
    """Those that the address asks for: the first ones, where it does not."""
    images, text = [one for one in study.files if one.instance], visit.query("first")
    first = int(text) if text.isascii() and text.isdecimal() and int(text) < len(images) else 0
    return _Chosen(images[first : first + step], first, len(images), step)


def _no_study(visit: Visit, record: MyRecordItem) -> Response:
    return visit.page("study.html", record=record, study=None, shown=(), first=0, images=0, others=())


def _page(
    visit: Visit, record: MyRecordItem, study: Study, chosen: _Chosen, pictures: dict[str, Picture]
) -> Response:
    """The images of this page with their pictures, where there are any, and the other files by name."""
    others = [one for one in study.files if not one.instance]
    return visit.page(
        "study.html",
        record=record,
        study=study,
        shown=[(one, pictures.get(one.path)) for one in chosen.files],
        first=chosen.first,
        images=chosen.images,
        others=others[: limits.STUDY_IMAGES_LISTED],
        left_out=max(0, len(others) - limits.STUDY_IMAGES_LISTED),
        step=chosen.step,
        are_drawn=bool(pictures),
    )
