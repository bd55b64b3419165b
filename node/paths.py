"""The data directory: what lies in it, by name, and the lock that gives it to one process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import Code, UserError


def config(data_dir: Path) -> Path:
    """The configuration file that is read where no other is named."""
    return data_dir / "config.toml"


def keyfile(data_dir: Path) -> Path:
    """A clinic's keys or a wallet, see `node.keystore`."""
    return data_dir / "keys"


def next_vote_key(data_dir: Path) -> Path:
    """A clinic's next vote key while it is being rotated in."""
    return data_dir / "keys.next"


def votes(data_dir: Path, generation: int = 0) -> Path:
    """The vote file of one vote key, by the key's generation; see `node.store.votefile`.

    It is made with the key: one that is missing was lost, and is never made again.
    """
    return data_dir / (f"votes-{generation}" if generation else "votes")


def card(data_dir: Path) -> Path:
    """The public card that other clinics need to create a network."""
    return data_dir / "card"


def genesis(data_dir: Path) -> Path:
    """The genesis file of the network this node has joined."""
    return data_dir / "genesis"


def application(data_dir: Path) -> Path:
    """The invitation by which this clinic asked to join, see `node.members.application`."""
    return data_dir / "application"


def ledger_db(data_dir: Path) -> Path:
    return data_dir / "ledger"


def blob_db(data_dir: Path) -> Path:
    return data_dir / "blobs"


def audit_db(data_dir: Path) -> Path:
    return data_dir / "audit"


def socket(data_dir: Path) -> Path:
    """The control socket that the CLI talks to."""
    return data_dir / "control.sock"


def lock(data_dir: Path) -> Path:
    return data_dir / "lock"


def has_history(data_dir: Path) -> bool:
    """Whether a node has lived here, so that its keys belong here and no others."""
    traces = (card, votes, next_vote_key, application, ledger_db, blob_db, audit_db)
    return any(path(data_dir).exists() for path in traces)


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Holds the data directory for this process; the system lets go when the process ends.

    Raises:
        UserError: another process holds it (Code.ALREADY_RUNNING), or it is not there or not ours
            (Code.NOT_INITIALISED).
    """
    try:
        descriptor = os.open(lock(data_dir), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot use the data directory {data_dir}: {error.strerror}",
            "run: chartmesh init, or check who owns the directory",
            code=Code.NOT_INITIALISED,
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is using the data directory {data_dir}{_holder(descriptor)}",
                "stop it first (chartmesh stop), or use another data directory",
                code=Code.ALREADY_RUNNING,
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
    return f" (pid {pid})" if pid.isdigit() else ""
