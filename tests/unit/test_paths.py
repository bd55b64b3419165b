"""The data directory: one process at a time."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node import paths
from node.paths import lock_data_dir
from protocol.errors import Code, UserError


def test_no_two_things_share_a_place(tmp_path: Path) -> None:
    places = [
        paths.config,
        paths.keyfile,
        paths.votes,
        paths.card,
        paths.genesis,
        paths.ledger_db,
        paths.blob_db,
        paths.audit_db,
        paths.socket,
        paths.lock,
    ]
    found = {place(tmp_path) for place in places}
    assert len(found) == len(places)
    assert all(path.parent == tmp_path for path in found)


def test_the_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        with pytest.raises(UserError, match=f"pid {os.getpid()}") as caught, lock_data_dir(tmp_path):
            pass
        assert caught.value.code is Code.ALREADY_RUNNING
    with lock_data_dir(tmp_path):
        pass


def test_a_dead_holder_lets_go(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, node.paths\n"
        "with node.paths.lock_data_dir(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError), lock_data_dir(tmp_path):
            pass
        holder.kill()
    with lock_data_dir(tmp_path):
        pass


def test_a_directory_that_is_not_there_is_not_initialised(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught, lock_data_dir(tmp_path / "none"):
        pass
    assert caught.value.code is Code.NOT_INITIALISED


@pytest.mark.parametrize(
    "trace",
    [
        paths.card,
        paths.votes,
        paths.next_vote_key,
        paths.application,
        paths.ledger_db,
        paths.blob_db,
        paths.audit_db,
    ],
    ids=lambda trace: trace.__name__,
)
def test_whatever_is_left_of_a_node_keeps_new_keys_away(
    tmp_path: Path, trace: Callable[[Path], Path]
) -> None:
    assert not paths.has_history(tmp_path)
    paths.config(tmp_path).touch()
    paths.lock(tmp_path).touch()
    assert not paths.has_history(tmp_path)
    trace(tmp_path).mkdir()
    assert paths.has_history(tmp_path)
