"""The actors of the demo: each a data directory, a daemon of its own, and the CLI to speak to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

import node
from node import paths
from node.adapters import SystemEntropy
from protocol.exits import DONE, STALE

CLINICS: Final = ("clinic-a", "clinic-b", "clinic-c", "clinic-d")
PATIENT: Final = "light"
COMMAND_S: Final = 60.0
_FIRST_PORT: Final = 4001
_GONE_POLL_S: Final = 0.05
_GONE_S: Final = 10.0


class StoryBroken(Exception):
    """A step did not hold; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command printed, and its exit status."""

    status: int
    stdout: bytes
    stderr: bytes

    def document(self) -> dict[str, Any]:
        """The JSON document that was printed."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    def error(self) -> dict[str, Any]:
        """The JSON error that was printed, the last line of stderr."""
        document: dict[str, Any] = json.loads(self.stderr.splitlines()[-1])
        return document


@dataclass(frozen=True, slots=True)
class Actor:
    """A clinic or the patient; `config` is its configuration file."""

    name: str
    config: Path
    data_dir: Path

    def program(self, *arguments: str) -> list[str]:
        """The command line of one command of the CLI."""
        return [sys.executable, "-P", "-m", "cli.main", *arguments, "--config", str(self.config)]

    async def run(self, *arguments: str) -> Answer:
        """One command of the CLI, whatever its exit status."""
        with trio.fail_after(COMMAND_S):
            done = await trio.run_process(
                self.program(*arguments),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                stdin=subprocess.DEVNULL,
                env=environment(),
            )
        return Answer(done.returncode, done.stdout, done.stderr)

    async def ask(self, *arguments: str) -> dict[str, Any]:
        """The JSON answer of a command that must succeed.

        Raises:
            StoryBroken: it failed.
        """
        return await self._ask(arguments, (DONE,))

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself, stale or not. Raises as `ask`."""
        return await self._ask(("status",), (DONE, STALE))

    async def _ask(self, arguments: Sequence[str], good: Collection[int]) -> dict[str, Any]:
        answer = await self.run(*arguments, "--json")
        if answer.status not in good:
            said = answer.stderr.decode(errors="replace").strip()
            raise StoryBroken(
                f"{self.name}: chartmesh {' '.join(arguments)} exited {answer.status}: {said}"
            )
        return answer.document()

    def pid(self) -> int | None:
        """The process id of the daemon, from the lock that it holds."""
        try:
            return int(paths.lock(self.data_dir).read_text())
        except (OSError, ValueError):
            return None

    def send_signal(self, number: int) -> None:
        """Sends a signal to the daemon, if it runs."""
        pid = self.pid()
        if pid is not None and is_daemon(pid):
            os.kill(pid, number)


class Stage:
    """Everything of one demo, below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.genesis = root / "data" / "genesis"
        actors = [Actor(name, root / f"{name}.toml", root / "data" / name) for name in CLINICS]
        self.clinics = {actor.name: actor for actor in actors}
        self.patient = Actor("patient", root / f"{PATIENT}.toml", root / "data" / "patient")

    def build(self) -> None:
        """Copies the configurations for free ports, each with a passphrase file of its own."""
        templates = configs_dir() / "four-clinics"
        ports = free_ports(len(CLINICS))
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.genesis.parent.mkdir(mode=0o700, exist_ok=True)
        for actor in self.everyone():
            text = (templates / actor.config.name).read_text()
            for index, port in enumerate(ports):
                text = text.replace(f"/tcp/{_FIRST_PORT + index}", f"/tcp/{port}")
            secret = actor.config.with_suffix(".passphrase")
            secret.touch(mode=0o600)
            secret.write_text(SystemEntropy().bytes(16).hex() + "\n")
            actor.config.write_text(f"{text}\n[keys]\npassphrase_file = {json.dumps(str(secret))}\n")

    def everyone(self) -> list[Actor]:
        return [*self.clinics.values(), self.patient]

    async def each_clinic(self, act: Callable[[Actor], Awaitable[Any]]) -> None:
        """Lets all clinics do the same at once."""
        async with trio.open_nursery() as nursery:
            for actor in self.clinics.values():
                nursery.start_soon(act, actor)

    async def close(self, *, keep: bool) -> None:
        """Stops every daemon, whatever state it is in, and removes the files unless they are kept."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.daemons():
                os.kill(pid, number)
            with trio.move_on_after(_GONE_S):
                # Processes that are not our children tell nobody that they end.
                while self.daemons():  # noqa: ASYNC110
                    await trio.sleep(_GONE_POLL_S)
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def daemons(self) -> list[int]:
        """The process ids of all daemons of this stage, also of one that has only just begun."""
        below = os.fsencode(self.root) + b"/"
        found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in found if is_daemon(pid) and any(one.startswith(below) for one in argv(pid))]


def environment() -> dict[str, str]:
    """This process's environment without settings of a node, which would apply to every actor, and
    without a wish for no bytecode, which costs each of many processes seconds."""
    dropped = ("CHARTMESH_", "PYTHONDONTWRITEBYTECODE")
    return {key: value for key, value in os.environ.items() if not key.startswith(dropped)}


def is_daemon(pid: int) -> bool:
    """Whether this process runs and is a node of ours: process ids come around again."""
    return b"daemon" in argv(pid)


def argv(pid: int) -> list[bytes]:
    """The arguments of a running process; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback interface that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def configs_dir() -> Path:
    """The example configurations: beside the source, or where the installation put them.

    Raises:
        StoryBroken: the installation lost them.
    """
    assert node.__file__ is not None
    source = Path(node.__file__).parent.parent / "configs"
    installed = Path(sys.prefix) / "share" / "chartmesh" / "configs"
    for place in (source, installed):
        if (place / "four-clinics").is_dir():
            return place
    raise StoryBroken("the example configurations are missing: install chartmesh again")
