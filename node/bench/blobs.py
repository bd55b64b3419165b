"""The blobs bench: a record fetched by a clinic that may read it, beside a bare stream and a file copy.

Four real daemons and a patient's; a clinic without a copy fetches the record from one that holds it:
asked for, decided on and written down there, sent over libp2p, verified and decrypted here, handed over
the control socket and written to a file that is on the disk when the time stops.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from node import paths
from node.adapters import SystemEntropy
from node.bench.cluster import stop
from node.bench.report import Report, paired
from node.bench.speeds import copy_file, measure
from node.demo.stage import Actor, Stage, environment
from node.demo.story import Story
from protocol import limits
from protocol.control import ErrorReply, FrameDecoder, Kind, RecordGet, decode_reply, encode_request, frame
from protocol.errors import Code, UserError
from protocol.limits import MIB

MB: Final = 1_000_000
REACH: Final = 0.6
_RECEIVE_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class BlobSizes:
    record_bytes: int
    rounds: int


BLOBS = BlobSizes(256 * MIB, rounds=5)
BLOBS_QUICK = BlobSizes(16 * MIB, rounds=2)


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
                return _report(shared, record, address, sizes)
        finally:
            trio.run(lambda: stage.close(keep=True))


@dataclass(frozen=True, slots=True)
class _Shared:
    """A record that a clinic may read without holding a copy of it."""

    reader: Actor
    token: str


async def _share(stage: Stage, record: Path) -> _Shared:
    stage.build()
    story = Story(stage)
    await story.found()
    issuer, patient = stage.clinics[story.issuer], stage.patient
    code = (await patient.ask("my", "code", "--clinic", story.issuer))["code"]
    added = (await issuer.ask("record", "add", str(record), "--for", code))["records"][0]
    reader = next(name for name, identity in story.ids.items() if identity not in added["holders"])
    await patient.ask("my", "share", added["token"], "--with", reader, "--for", "1d")
    return _Shared(stage.clinics[reader], added["token"])


def _report(shared: _Shared, record: Path, address: str, sizes: BlobSizes) -> Report:
    fetched = record.with_name("fetched")
    fetch_s: list[float] = []
    raw_s: list[float] = []
    copy_s: list[float] = []
    for _ in range(sizes.rounds):
        raw_s.append(_raw_fetch(address, sizes.record_bytes))
        fetch_s.append(_fetch(shared, fetched))
        assert fetched.stat().st_size == sizes.record_bytes
        fetched.unlink()
        copy_s.append(measure(lambda: copy_file(record, fetched)).wall_s)
        fetched.unlink()

    def speeds(seconds: list[float]) -> list[float]:
        return [sizes.record_bytes / MB / one for one in seconds]

    report = Report("blobs", [f"a record of {sizes.record_bytes // MIB} MiB, {sizes.rounds} rounds"])
    report.rows = [
        paired(
            "authorised fetch to disk",
            "MB/s",
            speeds(fetch_s),
            "a bare py-libp2p stream with writes of 256 KiB",
            speeds(raw_s),
            reach=REACH,
        ),
        paired("authorised fetch and a copy", "MB/s", speeds(fetch_s), "a plain file copy", speeds(copy_s)),
    ]
    return report


def _fetch(shared: _Shared, target: Path) -> float:
    """Seconds until the whole record is verified and on the disk.

    Raises:
        UserError: the clinic did not get it.
    """
    request = RecordGet(id=shared.token, purpose="TREAT", user="bench")
    decoder = FrameDecoder(json_limit=limits.CONTROL_REPLY_BYTES_MAX)
    start_s = time.perf_counter()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line, target.open("wb") as output:
        line.connect(str(paths.socket(shared.reader.data_dir)))
        line.sendall(frame(Kind.JSON, encode_request(request)))
        while True:
            got = decoder.next()
            if got is None:
                decoder.feed(line.recv(_RECEIVE_BYTES))
            elif got.kind is Kind.DATA:
                output.write(got.payload)
            elif got.kind is Kind.JSON:
                reply = decode_reply(RecordGet, got.payload)
                if isinstance(reply, ErrorReply):
                    raise UserError(
                        f"the bench's fetch failed: {reply.error}", reply.hint, code=Code.PARTIAL
                    )
                if hasattr(reply, "sha256"):
                    break
        output.flush()
        os.fsync(output.fileno())
    return time.perf_counter() - start_s


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
