"""The startup bench: from exec to an answer on the control socket, and what an idle daemon takes.

An idle clinic is one of four with nothing to do: it keeps its connections, votes a heartbeat block every
15 seconds and compares its clock. What bounds it: the pings and the gossip's own heartbeat, once a second;
in memory, libp2p and what it imports.

The limit is what Python needs to import libp2p, without which there is no daemon; both are measured in
turn. The CLI's own start is `chartmesh status` less the time in which the daemon answers.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node import paths
from node.bench.cluster import ClinicProcess, Cluster, stop
from node.bench.report import Report, Row, Spread, paired
from node.demo.stage import environment
from protocol.limits import MIB

REACH_START: Final = 3
REACH_RESIDENT_MIB: Final = 120
REACH_IDLE_PERCENT: Final = 2
REACH_CLI_MS: Final = 100
IDLE_S: Final = 3.0
CLINICS: Final = 4
SETTLED_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class StartupSizes:
    """`idle_s` is how long four clinics are watched that have nothing to do."""

    rounds: int
    clis_per_round: int
    idle_s: float


STARTUP = StartupSizes(rounds=7, clis_per_round=5, idle_s=60)
STARTUP_QUICK = StartupSizes(rounds=2, clis_per_round=2, idle_s=5)


def bench_startup(sizes: StartupSizes) -> Report:
    """Starts one clinic of a network of one, again and again, in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        clinic = Cluster(Path(directory), 1).clinics[0]
        ready_s: list[float] = []
        import_s: list[float] = []
        resident_mib: list[float] = []
        cli_ms: list[float] = []
        # The first runs find nothing in the page cache, and write the bytecode.
        _import_libp2p()
        _start(clinic)
        _stop(clinic)
        for _ in range(sizes.rounds):
            import_s.append(_import_libp2p())
            ready_s.append(_start(clinic))
            cli_ms += [_cli_ms(clinic) for _ in range(sizes.clis_per_round)]
            time.sleep(IDLE_S)
            resident_mib.append(clinic.resident_bytes() / MIB)
            _stop(clinic)
    report = Report("startup", ["a clinic in a network of one, its keys without a passphrase"])
    report.rows = [
        paired(
            "exec to status",
            "s",
            ready_s,
            "import libp2p alone",
            import_s,
            reach=REACH_START,
            is_ceiling=True,
        ),
        Row("resident when alone and idle", "MiB", Spread.of(resident_mib)),
        *_idle(sizes.idle_s),
        Row(
            "chartmesh status without the daemon",
            "ms",
            Spread.of(cli_ms),
            reach=REACH_CLI_MS,
            is_ceiling=True,
        ),
    ]
    return report


def _idle(idle_s: float) -> list[Row]:
    """What each of four clinics takes of a core and of memory while nobody asks anything of them."""
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as directory:
        cluster = Cluster(Path(directory), CLINICS)
        try:
            cluster.start()
            time.sleep(SETTLED_S)
            before_s = [clinic.cpu_s() for clinic in cluster.clinics]
            time.sleep(idle_s)
            after_s = [clinic.cpu_s() for clinic in cluster.clinics]
            resident = [clinic.resident_bytes() / MIB for clinic in cluster.clinics]
        finally:
            cluster.stop()
    used = [100 * (after - before) / idle_s for before, after in zip(before_s, after_s, strict=True)]
    return [
        Row(
            "cpu when idle, one of four",
            "% of a core",
            Spread.of(used),
            reach=REACH_IDLE_PERCENT,
            is_ceiling=True,
        ),
        Row(
            "resident when idle, one of four",
            "MiB",
            Spread.of(resident),
            reach=REACH_RESIDENT_MIB,
            is_ceiling=True,
        ),
    ]


def _import_libp2p() -> float:
    start_s = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", "import libp2p"], check=True, env=environment())
    return time.perf_counter() - start_s


def _start(clinic: ClinicProcess) -> float:
    start_s = time.perf_counter()
    clinic.start()
    clinic.wait_ready()
    return time.perf_counter() - start_s


def _stop(clinic: ClinicProcess) -> None:
    assert clinic.process is not None
    stop([clinic.process])


def _cli_ms(clinic: ClinicProcess) -> float:
    """One `chartmesh status`, less one exchange with the daemon."""
    config = str(paths.config(clinic.data_dir))
    program = [sys.executable, "-P", "-m", "cli.main", "status", "--json", "--config", config]
    start_s = time.perf_counter()
    subprocess.run(program, stdout=subprocess.DEVNULL, check=False, env=environment())
    done_s = time.perf_counter()
    clinic.status()
    return 1000 * (2 * done_s - start_s - time.perf_counter())
