"""The records bench: one clinic that adds small records until it has many, and then looks for some.

A clinic alone in its network, a daemon on this machine, asked over its control socket as by many who work
there at once. Each record has a receive code of its own, as if each were of another visit; one in a hundred
belongs to any one patient. The limit of the last records added is the first ones: what was stored meanwhile
should not be felt.

What bounds it: three waits for the disk in each record's way (ciphertext, what the clinic knows of it,
its block), shared by those under way together, and the daemon's one core. Who lists reads the times of all
rows, and opens those that are shown; who looks for a patient opens all.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from typing import Final

import trio

from node.bench.asking import ask
from node.bench.cluster import Cluster
from node.bench.report import Report, Row, Spread, paired
from node.bench.workload import seed
from protocol.blocks import block_hash
from protocol.chain import genesis_header
from protocol.codes import ReceiveCode, encode_code
from protocol.control import RecordAdd, RecordList, StoreStat
from protocol.errors import UserError
from protocol.keys import OpeningKey, SigningKey
from protocol.limits import DAY_MS
from protocol.persons import REFERENCE_BYTES
from protocol.transactions import Enrolment, next_key_hash, sign_enrolment

REACH_RATE: Final = 0.8
BYTES: Final = 4_000
AT_ONCE: Final = 16
PATIENTS: Final = 100
PDF_EVERY: Final = 50


@dataclass(frozen=True, slots=True)
class RecordsSizes:
    """How many records are added, how many of them are timed at each end, and the rounds of each list."""

    records: int
    timed: int
    rounds: int


RECORDS = RecordsSizes(records=100_000, timed=5_000, rounds=7)
RECORDS_QUICK = RecordsSizes(records=1_000, timed=300, rounds=3)


def bench_records(sizes: RecordsSizes) -> Report:
    """Adds and lists in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), 1)
        cluster.start()
        try:
            return trio.run(_bench, _Desk(cluster), sizes)
        finally:
            cluster.stop()


async def _bench(desk: "_Desk", sizes: RecordsSizes) -> Report:
    steps = max(1, sizes.timed // 5)
    await desk.add(steps)  # The first ones find nothing in any cache.
    first = [await desk.add(steps) for _ in range(5)]
    await desk.add(sizes.records - desk.added - 5 * steps)
    last = [await desk.add(steps) for _ in range(5)]
    stored = sum(one.bytes for one in (await ask(desk.data_dir, StoreStat())).databases)
    lists = {
        "the newest hundred": RecordList(rows=100),
        "one type": RecordList(type="pdf", rows=100),
        "one patient": RecordList(patient=_patient(1), rows=100),
        "one patient, one type": RecordList(patient=_patient(0), type="pdf", rows=100),
    }
    report = Report("records", [f"{desk.added:,} records of {BYTES:,} bytes, {AT_ONCE} under way at once"])
    report.rows = [
        paired(
            f"added, from {desk.added - 5 * steps:,} on",
            "records/s",
            last,
            "the first ones",
            first,
            reach=REACH_RATE,
        ),
        Row("on disk for each", "B", Spread.of([stored / desk.added])),
    ]
    for name, request in lists.items():
        took = [await desk.timed(request) for _ in range(sizes.rounds)]
        report.rows.append(Row(f"list of {name}", "ms", Spread.of(took)))
    return report


class _Desk:
    """Those who add records at one clinic, and the codes that patients show them."""

    def __init__(self, cluster: Cluster) -> None:
        [self._clinic] = cluster.clinics
        self.data_dir = self._clinic.data_dir
        [self._issuer] = cluster.issuers
        self._network, self._checkpoint = cluster.network, block_hash(genesis_header(cluster.genesis))
        self._not_after_ms = cluster.genesis.created_ms + DAY_MS
        self.added = 0

    async def add(self, count: int) -> float:
        """Adds so many records; how many in a second."""
        numbers = iter(range(self.added, self.added + count))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._add_all, numbers)
        self.added += count
        return count / (trio.current_time() - began)

    async def _add_all(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            request = RecordAdd(
                name=f"{number}.txt",
                size=BYTES,
                code=self._code(number),
                title=f"Letter {number}",
                type="pdf" if number % PDF_EVERY == 0 else "other",
                patient=_patient(number % PATIENTS),
            )
            result = await ask(self.data_dir, request, shake_256(seed("content", number)).digest(BYTES))
            if not result.records[0].final:
                raise UserError("a record did not become final", "try again on a quieter machine")

    def _code(self, number: int) -> str:
        owner = SigningKey(seed("owner", number))
        terms = Enrolment(
            self._issuer.public,
            owner.public,
            next_key_hash(SigningKey(seed("next", number)).public),
            OpeningKey(seed("enc", number)).public,
            self._not_after_ms,
        )
        return encode_code(
            ReceiveCode(
                network=self._network,
                clinic=self._issuer.public,
                clinic_name=self._clinic.member.name,
                checkpoint_height=0,
                checkpoint_hash=self._checkpoint,
                enrolments=(sign_enrolment(terms, owner, self._network),),
                reference=seed("patient", number % PATIENTS)[:REFERENCE_BYTES],
            )
        )

    async def timed(self, request: RecordList) -> float:
        """Milliseconds until it is answered."""
        began = trio.current_time()
        await ask(self.data_dir, request)
        return 1e3 * (trio.current_time() - began)


def _patient(number: int) -> str:
    return f"patient {number}"
