"""`doctor`: what of this machine and its files would keep the node from running well, and what mends it.

Needs no daemon, and changes nothing but modes of files, where it is told to. What only a running daemon
knows, the CLI asks that daemon.
"""

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from node import paths
from node.adapters import SystemClock
from node.addresses import listening_at
from node.config import Config, ConfigError
from node.founding import load_genesis
from node.keystore import is_protected, read_passphrase_file
from node.store.room import BULK_LOW_WATER, VITAL_LOW_WATER, space
from node.store.votefile import open_vote_file
from node.version import program_version
from protocol.errors import StorageError, UserError
from protocol.limits import MIB, NetworkLimits

SYNC_SLOW_S: Final = 0.25
_CONNECT_S: Final = 2.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_PROBE: Final = "doctor.probe"
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`. `fix` is what to do next, empty where nothing is wrong."""

    check: str
    state: Literal["ok", "warning", "wrong"]
    text: str
    fix: str = ""


def misconfigured(error: ConfigError) -> list[Finding]:
    """The findings where not even the configuration can be used."""
    fix = "correct it, then: chartmesh config check"
    return [Finding("config", "wrong", one.text, fix) for one in error.found]


def examine(config: Config, *, flags: str = "", is_mending: bool = False) -> Iterator[Finding]:
    """Every check in turn. `flags` name this node in commands that people are told to type;
    `is_mending` first takes from others what only the owner may touch."""
    data_dir = config.node.data_dir
    yield Finding("version", "ok", f"chartmesh {program_version() or 'not installed'}")
    yield Finding("config", "ok", "no mistake found")
    if not data_dir.is_dir():
        yield Finding("folder", "wrong", f"there is no node in {data_dir}", f"chartmesh init{flags}")
        return
    yield from _modes(data_dir, is_mending=is_mending)
    yield from _keys(config, flags)
    if config.node.role == "clinic":
        yield _votes(data_dir, flags)
    yield _genesis(config, flags)
    yield _clock(data_dir)
    yield _room(data_dir)
    yield _syncing(data_dir)
    is_running = _answers(socket.AF_UNIX, str(config.control.socket))
    yield (
        Finding("daemon", "ok", "it runs")
        if is_running
        else Finding("daemon", "warning", "it is not running", f"chartmesh start{flags}")
    )
    if is_running and not config.network.genesis.exists():
        return  # it listens once it is in a network
    for address in config.network.listen:
        yield _port(address, is_running=is_running, flags=flags)


def _modes(data_dir: Path, *, is_mending: bool) -> Iterator[Finding]:
    private = (*data_dir.glob("keys*"), *data_dir.glob("votes*"), *data_dir.glob("daemon.log"))
    exposed = [path for path in (data_dir, *sorted(private)) if path.stat().st_mode & _OTHERS]
    for path in exposed:
        mode = 0o700 if path.is_dir() else 0o600
        if is_mending:
            path.chmod(mode)
            yield Finding("modes", "ok", f"{path} is closed to others now")
        else:
            yield Finding("modes", "wrong", f"others may touch {path}", f"chmod {mode:o} {path}")
    if not exposed:
        yield Finding("modes", "ok", "keys, votes and log are closed to others")


def _keys(config: Config, flags: str) -> Iterator[Finding]:
    try:
        protected = is_protected(paths.keyfile(config.node.data_dir))
        if config.keys.passphrase_file is not None:
            read_passphrase_file(config.keys.passphrase_file)
    except UserError as error:
        yield Finding("keys", "wrong", error.message, error.hint.removeprefix("run: "))
        return
    if protected:
        yield Finding("keys", "ok", "whole, under a passphrase")
    else:
        fix = f"make another node with a passphrase: chartmesh init{flags}"
        yield Finding("keys", "warning", "kept without a passphrase", fix)


def _votes(data_dir: Path, flags: str) -> Finding:
    fix = f"this clinic must not vote with that key: chartmesh keys rotate{flags}"
    found = sorted(data_dir.glob("votes*"))
    if not found:
        return Finding("votes", "wrong", f"there is no vote file in {data_dir}", fix)
    for path in found:
        votes = open_vote_file(path)
        try:
            votes.load()
        except StorageError as error:
            return Finding("votes", "wrong", error.message, fix)
        finally:
            votes.close()
    return Finding("votes", "ok", "whole")


def _genesis(config: Config, flags: str) -> Finding:
    try:
        genesis = load_genesis(config.network.genesis)
    except UserError as error:
        return Finding("network", "wrong", error.message, error.hint)
    if genesis is None:
        fix = f"chartmesh network join{flags} GENESIS|CODE"
        return Finding("network", "warning", "in no network yet", fix)
    return Finding("network", "ok", genesis.name)


def _clock(data_dir: Path) -> Finding:
    """A clock that was set back is behind what was written before."""
    newest = max((path.stat().st_mtime for path in data_dir.iterdir()), default=0.0)
    behind_s = newest - SystemClock().wall_ms() / 1000
    if behind_s > NetworkLimits().tolerance_ms / 1000:
        text = f"the clock is {behind_s:.0f} s behind the newest file in {data_dir}"
        return Finding("clock", "wrong", text, "set it, for example: timedatectl set-ntp true")
    return Finding("clock", "ok", "not behind what was written")


def _room(data_dir: Path) -> Finding:
    free, bulk = space(data_dir, BULK_LOW_WATER)
    vital = space(data_dir, VITAL_LOW_WATER)[1]
    text, fix = f"{free // MIB} MiB free", f"free some, or move {data_dir} to another disk"
    if free < vital:
        return Finding("disk", "wrong", f"{text}; nothing is written below {vital // MIB} MiB", fix)
    if free < bulk:
        return Finding("disk", "warning", f"{text}; no record is taken in below {bulk // MIB} MiB", fix)
    return Finding("disk", "ok", text)


def _syncing(data_dir: Path) -> Finding:
    probe = data_dir / _PROBE
    start_s = time.perf_counter()
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        text = f"cannot write in {data_dir}: {error.strerror}"
        return Finding("sync", "wrong", text, "run this as the node's user; check the disk: dmesg")
    took_s = time.perf_counter() - start_s
    text = f"a page is on the disk in {1000 * took_s:.1f} ms"
    if took_s > SYNC_SLOW_S:
        return Finding("sync", "warning", text, "every vote waits for that: use a faster or less busy disk")
    return Finding("sync", "ok", text)


def _port(address: str, *, is_running: bool, flags: str) -> Finding:
    family, host, port = listening_at(address)
    if port == 0:
        return Finding("port", "ok", f"{address}: the system chooses one")
    if is_running:
        if _answers(family, (_WILDCARDS.get(host, host), port)):
            return Finding("port", "ok", f"{address} answers")
        fix = f"start it again: chartmesh stop{flags} && chartmesh start{flags}"
        return Finding("port", "wrong", f"nothing answers at {address}", fix)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            fix = "set another under [network] listen"
            if error.errno == errno.EADDRINUSE:
                fix = f"stop who has it (ss -ltnp sport = :{port}), or {fix}"
            return Finding("port", "wrong", f"cannot listen on {address}: {error.strerror}", fix)
    return Finding("port", "ok", f"{address} is free")


def _answers(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
