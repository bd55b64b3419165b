"""The page bench: from a browser's request to the last byte of the answer, for a patient with many records.

The node behind the page answers at once from what this bench made up: measured is what the page itself
adds, which is mostly its template. The limit is a small file over the same connection, measured in turn:
the server and the guard, without a page. What a browser needs until it has painted is measured where there
is one, beside a page that shows next to nothing.
"""

import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from typing import Final
from urllib.parse import urlsplit

import trio

from node.adapters import SystemClock, SystemEntropy
from node.bench.painting import measure_paints
from node.bench.report import Report, Row, Spread, paired
from node.exchange import Exchange
from node.web.door import PageDoor
from protocol.control import (
    AnyRequest,
    Document,
    GrantItem,
    MyPersons,
    MyPersonsResult,
    MyRecordItem,
    MyRecords,
    MyRecordsResult,
    Status,
    StatusResult,
)
from protocol.errors import UserError

REACH_MS: Final = 500
PAINTED: Final = ("/", "/nothing")
TIMEOUT_S: Final = 60
_STATUS: Final = StatusResult(
    role="light",
    id="02" * 33,
    network="ab" * 32,
    epoch=0,
    height=1,
    final_age_s=1.0,
    members=4,
    reachable=4,
    quorum=3,
    fresh=True,
    peers=4,
    mempool=0,
    disk_bytes=0,
    running_s=0,
)


@dataclass(frozen=True, slots=True)
class PageSizes:
    """How many records the patient has, and how often each answer is asked for."""

    records: int
    rounds: int


PAGE = PageSizes(records=1_000, rounds=30)
PAGE_QUICK = PageSizes(records=1_000, rounds=3)


def bench_page(sizes: PageSizes) -> Report:
    """Serves the page of a patient who is made up, on loopback, and asks for it as a browser does."""
    return trio.run(_bench, sizes)


async def _bench(sizes: PageSizes) -> Report:
    door = PageDoor(
        role="light", answerer=_Patient(sizes.records), clock=SystemClock(), entropy=SystemEntropy()
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(door.run)
        began = time.perf_counter()
        link = (await door.open()).url
        opened_ms = 1e3 * (time.perf_counter() - began)
        rows = await trio.to_thread.run_sync(partial(_browse, link, sizes))
        link = (await door.open()).url
        paints = await trio.to_thread.run_sync(partial(measure_paints, link, PAINTED, sizes.rounds))
        nursery.cancel_scope.cancel()
    report = Report("page", ["the node's own answers are made up and cost nothing here"])
    report.rows = [Row("first link of a node, libraries and all", "ms", Spread.of([opened_ms])), *rows]
    if paints is None:
        report.notes.append("first paint is not measured: there is no chromium, or no playwright")
    else:
        listed, empty = paints
        name = f"first paint of the list of {sizes.records:,} records"
        report.rows += [
            Row(name, "ms", Spread.of(listed), reach=REACH_MS, is_ceiling=True),
            paired("the same", "ms", listed, "first paint of a page of one sentence", empty),
        ]
    return report


def _browse(link: str, sizes: PageSizes) -> list[Row]:
    """Enters by the link, and asks for each answer in turn over one connection."""
    parts = urlsplit(link)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
        cookie = (answer.getheader("set-cookie") or "").split(";")[0]
        base = parts.path.split("/enter/")[0]
        ask = partial(_ask, connection, {"Cookie": cookie})
        every: list[tuple[float, float]] = []
        some: list[float] = []
        bare: list[float] = []
        ask(f"{base}/")
        for _ in range(sizes.rounds):
            bare.append(ask(f"{base}/static/page.js")[1])
            every.append(ask(f"{base}/"))
            some.append(ask(f"{base}/?q=letter+9")[1])
    finally:
        connection.close()
    name, limit = f"list of {sizes.records:,} records", "a small file from the same server"
    firsts, lasts = [first for first, _ in every], [last for _, last in every]
    return [
        Row(f"first byte of the {name}", "ms", Spread.of(firsts), reach=REACH_MS, is_ceiling=True),
        paired(f"whole {name}", "ms", lasts, limit, bare),
        paired("what the words typed are found in", "ms", some, limit, bare),
    ]


def _ask(connection: HTTPConnection, headers: dict[str, str], path: str) -> tuple[float, float]:
    """Milliseconds to the head of an answer, and to its last byte."""
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    first = time.perf_counter()
    answer.read()
    ended = time.perf_counter()
    if answer.status != 200:
        raise UserError(f"the page answered {answer.status} to {path}", "run the bench again")
    return 1e3 * (first - began), 1e3 * (ended - began)


class _Patient:
    """A node whose patient has many records, each shared once."""

    def __init__(self, count: int) -> None:
        self._records = MyRecordsResult(records=tuple(map(_record, range(count))))

    async def answer(self, request: AnyRequest, exchange: Exchange) -> Document:
        await trio.lowlevel.checkpoint()
        match request:
            case MyRecords():
                return self._records
            case MyPersons():
                return MyPersonsResult(persons=())
            case Status():
                return _STATUS
            case _:
                raise UserError("this patient is made up", "ask for her records")


def _record(index: int) -> MyRecordItem:
    token, clinic = f"{index:064x}", f"{index % 4 + 2:066x}"
    time_of = f"{2026 - index // 300:04}-{index // 25 % 12 + 1:02}-{index % 25 + 1:02}T12:00:00.000Z"
    grant = GrantItem(
        grant=token,
        token=token,
        grantee=clinic,
        grantee_name="clinic-b",
        purposes=("TREAT",),
        not_after=time_of,
        final=True,
    )
    return MyRecordItem(
        token=token,
        issuer=clinic,
        issuer_name="clinic-a",
        time=time_of,
        title=f"Letter {index} about the knee",
        type="pdf",
        size=20_000 + index,
        grants=(grant,),
    )
