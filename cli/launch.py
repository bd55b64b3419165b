"""Starting and stopping the daemon's program. The only place where the CLI runs another program."""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from cli.client import AnsweredError, call, connect, ignore_progress
from cli.settings import Place, Settings
from protocol.control import Ask, Document, ErrorReply, Progress, Status, StatusResult, decode_reply
from protocol.errors import ChartmeshError, Code, Malformed, UserError
from protocol.exits import code_of_exit, exit_status
from protocol.limits import MIB

if TYPE_CHECKING:
    from subprocess import Popen

R = TypeVar("R", bound=Document)

LOG_NAME = "daemon.log"  # in the data directory
LOG_BYTES_MAX = 16 * MIB  # beyond it the next start sets the log aside, and keeps one such
READY_S = 60.0
DRAINED_S = 60.0
_POLL_S = 0.05
_ANSWER_S = 10.0
_ERROR_BYTES_MAX = 64 * 1024


def node_program(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of the daemon's program.

    `-P` keeps a `node.py` in the working directory from being taken for ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def become(program: list[str]) -> NoReturn:
    """Replaces this program by another, which inherits the terminal and decides the exit status."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program[0], program)


def daemon_arguments(settings: Settings, *, descriptor: int | None) -> list[str]:
    """The arguments of `node daemon`. Secrets are named by file or descriptor, never given."""
    arguments = ["daemon", "--data-dir", str(settings.place.data_dir)]
    if settings.config is not None:
        arguments += ["--config", str(settings.config.absolute())]
    if descriptor is not None:
        arguments += ["--passphrase-fd", str(descriptor)]
    elif settings.passphrase_file is not None:
        arguments += ["--passphrase-file", str(settings.passphrase_file.absolute())]
    return arguments


def is_running(place: Place) -> bool:
    """Whether a daemon listens there. Raises UserError where there is no node, or it is not ours."""
    try:
        connect(place).close()
    except UserError as error:
        if error.code is Code.NOT_RUNNING:
            return False
        raise
    return True


def start(settings: Settings) -> StatusResult:
    """Starts the daemon in the background and waits until it answers.

    The passphrase is asked for only where the daemon says that it needs one and a person is there.

    Raises:
        ChartmeshError: the daemon's own error, where it exits; UNREACHABLE, where it is not ready in time.
    """
    try:
        return _start(settings, passphrase=None)
    except ChartmeshError as error:
        may_ask = settings.passphrase_file is None and sys.stdin.isatty()
        if error.code is not Code.WRONG_PASSPHRASE or not may_ask:
            raise
    from getpass import getpass

    return _start(settings, passphrase=getpass("Passphrase of this node: "))


def ensure_running(settings: Settings) -> None:
    """Starts the daemon unless it runs. Raises as `start`."""
    if not is_running(settings.place):
        start(settings)


def daemon_pid(place: Place) -> int:
    """The process id of the daemon that listens there. Raises UserError as `connect`."""
    with connect(place) as line:
        raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", raw)[0]
    return pid


def wait_gone(pid: int) -> None:
    """Waits until a process has exited.

    Raises:
        UserError: UNREACHABLE, where it takes longer than DRAINED_S.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], DRAINED_S)[0]:
            raise UserError(
                f"the node is still finishing after {DRAINED_S:.0f} s",
                "wait, or see what it does in its log",
                code=Code.UNREACHABLE,
            )
    finally:
        os.close(descriptor)


def call_started(
    settings: Settings, request: Ask[R], report: Callable[[Progress], None] = ignore_progress
) -> R:
    """The daemon's answer, after starting it where it does not run. Raises as `start` and `call`."""
    ensure_running(settings)
    return call(settings.place, request, report=report)


def run_job(*arguments: str, descriptor: int | None = None) -> dict[str, Any]:
    """Runs one job of the daemon's program, which may ask at the terminal; the document it printed.

    `descriptor` is one that it inherits.

    Raises:
        ChartmeshError: the job's own error.
    """
    import json
    import subprocess

    done = subprocess.run(
        [*node_program("node", *arguments), "--json"],
        capture_output=True,
        pass_fds=() if descriptor is None else (descriptor,),
        check=False,
    )
    if done.returncode:
        told = done.stderr.splitlines()
        raise _last_words(done.returncode, told[-1] if told else b"", "run it again without --json")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def run_parsers(job: str, given: bytes) -> bytes:
    """What the parsers' program wrote, whether or not it lived to the end of its job."""
    import subprocess

    # Of its own accord it stops soon: it limits its processor time and its memory.
    done = subprocess.run(
        node_program("node.parsers", job),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout


def _start(settings: Settings, *, passphrase: str | None) -> StatusResult:
    descriptor = None if passphrase is None else pipe_with(passphrase)
    try:
        arguments = daemon_arguments(settings, descriptor=descriptor)
        return run_detached(node_program("node", *arguments), settings.place, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def run_detached(program: list[str], place: Place, descriptor: int | None = None) -> StatusResult:
    """Runs a daemon's program in the background, its log in the data directory, until it answers.

    `descriptor` is one that it inherits. Interrupted, it leaves no daemon behind.

    Raises:
        ChartmeshError: the program's own error, where it exits; UNREACHABLE, where it is not ready in time.
    """
    log = place.data_dir / LOG_NAME
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as errors:
        try:
            daemon = _spawn([*program, "--errors-fd", str(writer)], log, writer, descriptor)
        finally:
            os.close(writer)
        try:
            status = _wait_ready(place, daemon)
        except KeyboardInterrupt:
            daemon.terminate()
            daemon.wait()
            raise
        if isinstance(status, StatusResult):
            return status
        raise _last_words(status, errors.read(_ERROR_BYTES_MAX), f"look at {log}")


def pipe_with(secret: str) -> int:
    """The reading end of a pipe that holds one line."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(secret.encode() + b"\n")
    return reader


def _spawn(program: list[str], log: Path, *descriptors: int | None) -> "Popen[bytes]":
    import subprocess

    try:
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_name(f"{log.name}.1"))
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot write {log}: {error.strerror}",
            "run this as the user that owns the node",
            code=Code.CONFIG,
        ) from error
    with os.fdopen(number, "wb") as output:
        return subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[one for one in descriptors if one is not None],
        )


def _wait_ready(place: Place, daemon: "Popen[bytes]") -> StatusResult | int:
    """What the daemon says of itself once it is ready, or the status with which it exited before."""
    begun_s = time.perf_counter()
    while time.perf_counter() < begun_s + READY_S:
        try:
            return call(place, Status(), timeout_s=_ANSWER_S)
        except ChartmeshError as error:
            if error.code is not Code.NOT_RUNNING:
                raise
        status = daemon.poll()
        if status is not None:
            # Of two that start at once, one finds the other running: then the other may yet answer.
            lost_race = status == exit_status(Code.ALREADY_RUNNING)
            if not lost_race or time.perf_counter() > begun_s + _ANSWER_S:
                return status
        time.sleep(_POLL_S)
    raise UserError(
        f"the node was not ready after {READY_S:.0f} s",
        f"look at {place.data_dir / LOG_NAME}",
        code=Code.UNREACHABLE,
    )


def _last_words(status: int, said: bytes, hint: str) -> ChartmeshError:
    """The error that a daemon handed over before it exited; without one, what its exit status says."""
    try:
        reply = decode_reply(Status, said.rstrip())
    except Malformed:
        reply = None
    if isinstance(reply, ErrorReply):
        return AnsweredError(reply)
    return UserError(f"the node stopped at once, with status {status}", hint, code=code_of_exit(status))
