"""The blobs bench: records brought in and fetched by a clinic that may read them, beside a bare stream.

Four real daemons and a patient's; a clinic without a copy fetches the record from the three that hold it,
and, with two of these shut out, from one: asked for, decided on and written down there, sent over libp2p,
verified and decrypted here, handed over the control socket and written to a file that is on the disk when
the time stops. What is brought in is sealed, stored, and copied to two other clinics. A small record is
fetched over connections that are there.

What bounds it: on two cores, the work of both ends for each byte: encryption of the connection twice, of
the record once, hashes, and the copies between them. Of a small record, the decision and what is written
down of it, durably, before a byte leaves.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from node.adapters import SystemEntropy
from node.bench import usage
from node.bench.asking import ask
from node.bench.cluster import stop
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import copy_file, measure
from node.demo.stage import Actor, Stage, environment
from node.demo.story import Story
from protocol.control import PeerBlock, RecordGet
from protocol.limits import HOUR_MS, MIB

MB: Final = 1_000_000
REACH_FETCH: Final = 0.85
REACH_SEVERAL: Final = 1.0
REACH_IMPORT: Final = 0.4
REACH_MEMORY_MIB: Final = 64
REACH_SMALL_MS: Final = 8
REACH_SMALL_RATE: Final = 250
SMALL_BYTES: Final = 4_000
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class BlobSizes:
    record_bytes: int
    rounds: int
    small_fetches: int


BLOBS = BlobSizes(1024 * MIB, rounds=3, small_fetches=500)
BLOBS_QUICK = BlobSizes(16 * MIB, rounds=2, small_fetches=50)


def bench_blobs(sizes: BlobSizes) -> Report:
    """Builds the demo's network in a temporary directory, and takes it down again."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        root = Path(directory)
        record = root / "record"
        _write_random(record, sizes.record_bytes)
        stage = Stage(root / "network")
        try:
            shared = trio.run(_share, stage, record)
            with _raw_server(sizes.record_bytes) as address:
                report = _report(shared, record, address, sizes)
            report.rows += trio.run(_bench_small, stage, shared, sizes.small_fetches)
            return report
        finally:
            trio.run(lambda: stage.close(keep=True))


@dataclass(frozen=True, slots=True)
class _Shared:
    """A record that a clinic may read without holding a copy of it, and a small one; `import_s` is how
    long the first took to be brought in. `others` are the holders beside the issuer."""

    issuer: Actor
    reader: Actor
    others: tuple[str, ...]
    token: str
    small: str
    import_s: float


async def _share(stage: Stage, record: Path) -> _Shared:
    stage.build()
    story = Story(stage)
    await story.found()
    issuer, patient = stage.clinics[story.issuer], stage.patient
    code = (await patient.ask("my", "code", "--clinic", story.issuer, "--count", "20"))["code"]
    began = time.perf_counter()
    added = (await issuer.ask("record", "add", str(record), "--for", code))["records"][0]
    import_s = time.perf_counter() - began
    reader = next(name for name, identity in story.ids.items() if identity not in added["holders"])
    small = await _small_outside(issuer, code, story.ids[reader], record.with_name("small"))
    tokens = (added["token"], small)
    await patient.ask("my", "share", *tokens, "--with", reader, "--for", "1d")
    others = tuple(one for one in added["holders"] if one != story.ids[story.issuer])
    return _Shared(issuer, stage.clinics[reader], others, *tokens, import_s)


async def _small_outside(issuer: Actor, code: str, reader: str, file: Path) -> str:
    """A small record of which `reader` holds no copy: the place of copies follows from the content."""
    while True:
        _write_random(file, SMALL_BYTES)
        added = (await issuer.ask("record", "add", str(file), "--for", code))["records"][0]
        if reader not in added["holders"]:
            return str(added["token"])


def _report(shared: _Shared, record: Path, address: str, sizes: BlobSizes) -> Report:
    fetched = record.with_name("fetched")
    fetch_s: list[float] = []
    raw_s: list[float] = []
    copy_s: list[float] = []
    ends = [_pid(shared.issuer), _pid(shared.reader)]
    idle = [usage.resident_bytes(pid) for pid in ends]
    for pid in ends:
        usage.forget_peak(pid)
    from_all_s = [_fetch(shared, fetched) for _ in range(sizes.rounds)]
    _keep_out(shared)
    for _ in range(sizes.rounds):
        raw_s.append(_raw_fetch(address, sizes.record_bytes))
        fetch_s.append(_fetch(shared, fetched))
        fetched.unlink()
        copy_s.append(measure(lambda: copy_file(record, fetched)).wall_s)
        fetched.unlink()

    above = [(usage.peak_bytes(pid) - was) / MIB for pid, was in zip(ends, idle, strict=True)]

    def speeds(seconds: list[float]) -> list[float]:
        return [sizes.record_bytes / MB / one for one in seconds]

    report = Report("blobs", [f"a record of {sizes.record_bytes // MIB} MiB, {sizes.rounds} rounds"])
    report.rows = [
        paired(
            "authorised fetch to disk, from one holder",
            "MB/s",
            speeds(fetch_s),
            "a bare py-libp2p stream with writes of 256 KiB",
            speeds(raw_s),
            reach=REACH_FETCH,
        ),
        paired(
            "authorised fetch to disk, from three holders",
            "MB/s",
            speeds(from_all_s),
            "the same from one",
            speeds(fetch_s),
            reach=REACH_SEVERAL,
        ),
        paired(
            "import, sealed and copied to two others",
            "MB/s",
            speeds([shared.import_s]),
            "a bare py-libp2p stream with writes of 256 KiB",
            speeds(raw_s[:1]),
            reach=REACH_IMPORT,
        ),
        Row(
            "memory beyond that of an idle clinic, either end of a fetch",
            "MiB",
            Spread.of(above),
            reach=REACH_MEMORY_MIB,
            is_ceiling=True,
        ),
        paired("authorised fetch and a copy", "MB/s", speeds(fetch_s), "a plain file copy", speeds(copy_s)),
    ]
    return report


def _keep_out(shared: _Shared) -> None:
    """Leaves the reader one holder to fetch from."""
    for other in shared.others:
        trio.run(partial(ask, shared.reader.data_dir, PeerBlock(id=other, for_ms=HOUR_MS)))


def _fetch(shared: _Shared, target: Path) -> float:
    """Seconds until the whole record is verified and on the disk. Raises UserError: it did not come."""
    request = RecordGet(id=shared.token, purpose="TREAT", user="bench")
    start_s = time.perf_counter()
    with target.open("wb") as output:
        trio.run(partial(ask, shared.reader.data_dir, request, sink=output.write))
        output.flush()
        os.fsync(output.fileno())
    return time.perf_counter() - start_s


async def _bench_small(stage: Stage, shared: _Shared, fetches: int) -> list[Row]:
    """A small record fetched again and again: one by one, then many at once."""
    request = RecordGet(id=shared.small, purpose="TREAT", user="bench")
    fetch = partial(ask, shared.reader.data_dir, request)
    took_ms: list[float] = []
    for _ in range(fetches):
        began = trio.current_time()
        await fetch()
        took_ms.append(1e3 * (trio.current_time() - began))
    servers = [_pid(actor) for actor in stage.clinics.values() if actor is not shared.reader]
    before_s = [usage.cpu_s(pid) for pid in servers]
    waiting = iter(range(fetches))

    async def work() -> None:
        for _ in waiting:
            await fetch()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)
    served_s = sum(usage.cpu_s(pid) - before for pid, before in zip(servers, before_s, strict=True))
    return [
        Row(
            f"fetch of {SMALL_BYTES:,} bytes, one by one",
            "ms",
            Spread.of(took_ms),
            reach=REACH_SMALL_MS,
            is_ceiling=True,
        ),
        Row(
            f"fetches of {SMALL_BYTES:,} bytes for a second of a server's core",
            "fetches/s",
            Spread.of([fetches / served_s]),
            reach=REACH_SMALL_RATE,
        ),
    ]


def _pid(actor: Actor) -> int:
    pid = actor.pid()
    assert pid is not None, "the demo's clinics run"
    return pid


@contextmanager
def _raw_server(count: int) -> Iterator[str]:
    program: Any = [sys.executable, "-P", "-m", "node.bench.raw_stream", "serve", str(count)]
    server = subprocess.Popen(program, stdout=subprocess.PIPE, env=environment())
    try:
        assert server.stdout is not None
        yield server.stdout.readline().decode().strip()
    finally:
        stop([server])


def _raw_fetch(address: str, count: int) -> float:
    program = [sys.executable, "-P", "-m", "node.bench.raw_stream", "fetch", address, str(count)]
    done = subprocess.run(program, stdout=subprocess.PIPE, env=environment(), check=True)
    return float(done.stdout)


def _write_random(path: Path, count: int) -> None:
    """Bytes that nothing can make shorter, on the disk when it returns."""
    entropy = SystemEntropy()
    with path.open("wb") as output:
        for start in range(0, count, MIB):
            output.write(entropy.bytes(min(MIB, count - start)))
        output.flush()
        os.fsync(output.fileno())
