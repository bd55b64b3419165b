"""What a running process has used, from proc(5)."""

import os
from pathlib import Path
from typing import Final

from protocol.limits import KIB

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FORGET_PEAK: Final = "5"


def cpu_s(pid: int) -> float:
    """Seconds of CPU so far, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """In memory now."""
    return _status_bytes(pid, "VmRSS:")


def peak_bytes(pid: int) -> int:
    """The most that was in memory since `forget_peak`."""
    return _status_bytes(pid, "VmHWM:")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_PEAK)


def _status_bytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * KIB
