"""The bench of a patient's commands: from the return key to the answer, with the light client up.

Four clinics and a light client as processes on this machine, the demo's. Each command is a process of its
own, as for a person who types it. The limit is `chartmesh status` of the same client in the same round: to
start the program and to ask once. What bounds the others: who shares or stops waits until that is final,
and to see who read, every clinic is asked and its proof verified.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from node.bench.report import Report, Row, Spread, paired
from node.demo.stage import Stage
from node.demo.story import Story

REACH_MS: Final = 300
ISSUER: Final = "clinic-a"
READER: Final = "clinic-b"


@dataclass(frozen=True, slots=True)
class MineSizes:
    """How many records the patient has, of which each was shared and read once, and the rounds."""

    records: int
    rounds: int


MINE = MineSizes(records=20, rounds=15)
MINE_QUICK = MineSizes(records=2, rounds=2)


def bench_mine(sizes: MineSizes) -> Report:
    """Measures in a temporary directory, over libp2p on loopback."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as name:
        return trio.run(_bench, Stage(Path(name) / "stage"), sizes)


async def _bench(stage: Stage, sizes: MineSizes) -> Report:
    stage.build()
    try:
        await Story(stage).found()
        first = await _prepare(stage, sizes.records)
        times: dict[str, list[float]] = {}
        for _ in range(sizes.rounds):
            await _round(stage, first, times)
    finally:
        with trio.CancelScope(shield=True):
            await stage.close(keep=False)
    limit = times.pop("status")
    report = Report("my", [f"{sizes.records} records, each read once by another clinic"])
    for command, found in times.items():
        report.rows += [
            Row(f"chartmesh {command}", "ms", Spread.of(found), reach=REACH_MS, is_ceiling=True),
            paired(f"{command}, beside the least", "ms", found, "chartmesh status", limit),
        ]
    return report


async def _prepare(stage: Stage, count: int) -> str:
    """Records of one clinic that another has read; the first of them."""
    issuer, reader, patient = stage.clinics[ISSUER], stage.clinics[READER], stage.patient
    code = (await patient.ask("my", "code", "--clinic", ISSUER, "--count", str(count)))["code"]
    files = [stage.root / f"letter-{number}.txt" for number in range(count)]
    for file in files:
        file.write_text(f"Dear colleague, this is {file.name}.\n")
    added = await issuer.ask("record", "add", *map(str, files), "--for", code)
    tokens = [one["token"] for one in added["records"]]
    shared = await patient.ask("my", "share", *tokens, "--with", READER, "--for", "30d")
    for token in tokens:
        await reader.ask(
            "record", "get", token, "--purpose", "TREAT", "--as", "dr.b", "-o", str(stage.root)
        )
    for grant in shared["grants"]:
        await patient.ask("my", "stop", grant["grant"])
    return str(tokens[0])


async def _round(stage: Stage, token: str, times: dict[str, list[float]]) -> None:
    """Each command once, the least of them first; what is shared is stopped again."""
    for command in ("status", "my records", "my shares", "my who"):
        await _timed(stage, times, command, *command.split())
    shared = await _timed(stage, times, "my share", "my", "share", token, "--with", READER, "--for", "1d")
    await _timed(stage, times, "my stop", "my", "stop", shared["grants"][0]["grant"])


async def _timed(
    stage: Stage, times: dict[str, list[float]], command: str, *arguments: str
) -> dict[str, Any]:
    began = time.perf_counter()
    answer = await stage.patient.ask(*arguments)
    times.setdefault(command, []).append(1e3 * (time.perf_counter() - began))
    return answer
