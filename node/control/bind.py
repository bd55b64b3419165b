"""Binding the control socket so that a live daemon's is never taken, and knowing who connects to it."""

import logging
import os
import socket
import stat
import struct
from pathlib import Path

import trio

from protocol.errors import Code, UserError

_log = logging.getLogger(__name__)
_BACKLOG = 64
_PROBE_S = 1.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def bind_control_socket(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, mode 0600. A stale socket there is replaced, a live one never.

    Raises:
        UserError: ALREADY_RUNNING or CONFIG.
    """
    _remove_stale(path)
    # A socket that is bound but not yet listening refuses connections and would look stale, so it
    # gets its name only when it listens.
    temporary = path.with_name(f".c{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        temporary.unlink(missing_ok=True)
        listener.bind(str(temporary))
        temporary.chmod(0o600)
        listener.listen(_BACKLOG)
        temporary.rename(path)
    except OSError as error:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"cannot make the control socket {path}: {error}",
            "use a data directory that you may write to, with a shorter path",
            code=Code.CONFIG,
        ) from error
    return listener


def unlink_if_same(path: Path, bound: os.stat_result) -> None:
    """Removes the socket at `path` if it is still the one with the status `bound`."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if (found.st_dev, found.st_ino) == (bound.st_dev, bound.st_ino):
        path.unlink()


def is_allowed_peer(accepted: trio.socket.SocketType) -> bool:
    """Whether the process at the other end runs as our user or as root."""
    raw = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if is_allowed_user(uid, own=os.geteuid()):
        return True
    _log.warning("refused a control connection of user %d", uid)
    return False


def is_allowed_user(uid: int, *, own: int) -> bool:
    """Whether user `uid` may command a daemon that runs as user `own`."""
    return uid in (0, own)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(f"{path} is not a socket", "move it out of the way", code=Code.CONFIG)
    if _is_live(path):
        raise UserError(
            f"a daemon is running on {path.parent}",
            "stop it first: chartmesh stop",
            code=Code.ALREADY_RUNNING,
        )
    path.unlink(missing_ok=True)


def _is_live(path: Path) -> bool:
    """Anything but a refusal means that somebody may listen, a full backlog included."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            _log.debug("cannot tell whether %s is live: %s", path, error)
    return True
