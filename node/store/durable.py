"""Small files that must be private, complete and durable: what keys and votes are kept in."""

import os
import stat
from pathlib import Path

from protocol.errors import Code, UserError

PRIVATE_MODE = 0o600
DIRECTORY_MODE = 0o700
_OTHERS = 0o077
_ROOT = 0


def create_durably(path: Path, content: bytes) -> None:
    """Makes a new private file, on disk with its directory entry when this returns.

    The file is private before its first byte. On an error nothing is left behind.

    Raises:
        FileExistsError: there is one already; it is not touched.
        OSError: the disk failed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def replace_durably(path: Path, content: bytes) -> None:
    """Replaces a file atomically: after a crash it holds the old content or the new, in full."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    create_durably(fresh, content)
    os.replace(fresh, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path, limit: int, what: str) -> bytes:
    """The content of a regular file of at most `limit` bytes that nobody else can read.

    Raises:
        UserError: missing, unreadable, too long, or open to group or others (Code.KEY_FILE).
            `what` names the file's role in the message.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise UserError(
            f"cannot read the {what} {path}: {error.strerror}",
            "check the path and who owns the file",
            code=Code.KEY_FILE,
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"the {what} {path} is not a file", "give a regular file", code=Code.KEY_FILE)
        if _is_exposed(status):
            raise UserError(
                f"the {what} {path} can be read by others", f"run: chmod 600 {path}", code=Code.KEY_FILE
            )
        # A regular file gives all of it at once.
        content = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise UserError(
            f"the {what} {path} is too long", "check that it is the right file", code=Code.KEY_FILE
        )
    return content


def _is_exposed(status: os.stat_result) -> bool:
    """Whether anyone but the owner may touch the file.

    systemd hands credentials over as root's files with an access list for the service's user, whose
    mask shows up as the group's read bit. Group bits of a file of root that we can read without being
    root are that mask, or stand for the group of root.
    """
    is_credential = status.st_uid == _ROOT == status.st_gid and os.geteuid() != _ROOT
    return bool(status.st_mode & (_OTHERS & ~stat.S_IRGRP if is_credential else _OTHERS))
