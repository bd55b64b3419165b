"""One file of a study, or what files there are, from the chunks in which they lie and from no others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from node.records.fetch_run import Earlier, FetchAsk, Fetched, Write
from node.records.fetching import Fetcher
from protocol.blobs import PIECE_BYTES
from protocol.errors import Code, Malformed, UserError
from protocol.keys import PublicKey
from protocol.study import MAGIC, START_BYTES, Study, decode_head, head_length


@dataclass(frozen=True, slots=True)
class StudyHead:
    """What a study's head says, the record's first bytes, which are more than the head, and how these were
    fetched."""

    study: Study
    first: bytes
    fetched: Fetched


async def fetch_wanted(
    fetcher: Fetcher,
    ask: FetchAsk,
    sources: Sequence[PublicKey],
    write: Write,
    *,
    file: str | None,
    is_index: bool,
    earlier: Earlier | None = None,
) -> Fetched:
    """Hands to `write` one file of a study, or its head, or else the whole record, or what of this comes
    after `earlier`.

    Raises:
        UserError: USAGE, a part of a study is not fetched from where an earlier run broke off.
        ChartmeshError: as `fetch_file` does.
    """
    if earlier is not None and (file or is_index):
        raise UserError("a part of a study is fetched whole", "ask without earlier bytes", code=Code.USAGE)
    # What cannot be opened here is asked for all the same: only the holders refuse.
    if ask.content is None or ask.content_key is None or not (file or is_index):
        return await fetcher.fetch(ask, sources, write, earlier)
    if file:
        return await fetch_file(fetcher, ask, sources, file, write)
    head = await fetch_head(fetcher, ask, sources)
    return await _write(head, 0, head.study.head_length, write)


async def fetch_head(fetcher: Fetcher, ask: FetchAsk, sources: Sequence[PublicKey]) -> StudyHead:
    """The head of the study that `ask` is about: its first chunk, and what is missing by a second request.

    Raises:
        UserError: USAGE, the record is no study.
        Malformed: its head is not sound.
        ChartmeshError: as `Fetcher.fetch` does.
    """
    assert ask.content is not None
    raw = bytearray()

    async def keep(piece: bytes) -> None:
        raw.extend(piece)

    first = min(PIECE_BYTES, ask.content.length)
    fetched = await fetcher.fetch(replace(ask, span=(0, first)), sources, keep)
    if len(raw) < START_BYTES or not raw.startswith(MAGIC):
        raise UserError("this record is no study", "it is one file: get it whole", code=Code.USAGE)
    length = head_length(bytes(raw))
    if length > len(raw):
        fetched = await fetcher.fetch(replace(ask, span=(len(raw), length)), sources, keep)
    study = decode_head(bytes(raw[:length]))
    if study.length != ask.content.length:
        raise Malformed("the study is of another length than its index says")
    return StudyHead(study, bytes(raw), fetched)


async def fetch_file(
    fetcher: Fetcher, ask: FetchAsk, sources: Sequence[PublicKey], path: str, write: Write
) -> Fetched:
    """Hands one file of the study to `write`. Nothing of it is true before this returns.

    Raises:
        UserError: USAGE, the study has no such file, or the record is no study.
        Malformed: the file is not the one that the index names.
        ChartmeshError: as `fetch_head` does.
    """
    head = await fetch_head(fetcher, ask, sources)
    try:
        file, start = head.study.find(path)
    except Malformed as error:
        raise UserError(
            f"the study has no file called {path}", "see what it has with --files", code=Code.USAGE
        ) from error
    end = start + file.length
    # Each request is an access in the patient's list: what came with the head is not asked for again.
    if end <= len(head.first):
        fetched = await _write(head, start, end, write)
    else:
        fetched = await fetcher.fetch(replace(ask, span=(start, end)), sources, write)
    if fetched.sha256 != file.sha256:
        raise Malformed(f"the file {file.path} is not the one that the study's index names")
    return fetched


async def _write(head: StudyHead, start: int, end: int, write: Write) -> Fetched:
    """Hands on what of the record is here already."""
    part = head.first[start:end]
    for at in range(0, len(part), PIECE_BYTES):
        await write(part[at : at + PIECE_BYTES])
    return replace(head.fetched, length=len(part), sha256=hashlib.sha256(part).digest())
