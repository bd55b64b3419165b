"""Private, durable small files: above all, who may read them."""

import os
import stat
from pathlib import Path

import pytest

from node.store.durable import _is_exposed, create_durably, read_private, replace_durably
from protocol.errors import Code, UserError


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "reader", "exposed"),
    [
        (0o600, 1000, 1000, 1000, False),
        (0o400, 1000, 1000, 1000, False),
        (0o640, 1000, 1000, 1000, True),
        (0o604, 1000, 1000, 1000, True),
        (0o440, 0, 0, 1000, False),  # a systemd credential: the group's bit is the access list's mask
        (0o460, 0, 0, 1000, True),
        (0o444, 0, 0, 1000, True),
        (0o440, 0, 50, 1000, True),
        (0o440, 0, 0, 0, True),
    ],
)
def test_only_the_owner_may_touch_a_private_file(
    monkeypatch: pytest.MonkeyPatch, mode: int, uid: int, gid: int, reader: int, exposed: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    assert _is_exposed(status(mode, uid, gid)) is exposed


def test_a_file_and_its_directory_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def traced(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", traced)
    create_durably(tmp_path / "file", b"content")
    assert synced == [False, True]
    synced.clear()
    replace_durably(tmp_path / "file", b"other")
    assert synced == [False, True, True]
    assert (tmp_path / "file").read_bytes() == b"other"


def test_a_pipe_is_no_private_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UserError, match="not a file") as caught:
        read_private(tmp_path / "pipe", 100, "key file")
    assert caught.value.code is Code.KEY_FILE
