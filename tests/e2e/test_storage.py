"""Damage to a clinic's databases while it is down: what others have is fetched again, the rest is told."""

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from node import paths
from node.demo.stage import Actor, Stage
from node.store import layout
from node.store.leveldb import LEDGER_TUNING, LevelDbStore, open_leveldb
from protocol import limits
from protocol.blocks import network_id
from tests.e2e.clinics import PATIENCE_S, add_record, genesis_of, shared_clinics

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with shared_clinics(tmp_path_factory.mktemp("storage")) as stage:
        yield stage


def clinic(stage: Stage, index: int) -> Actor:
    return list(stage.clinics.values())[index]


def database(stage: Stage, path: Path) -> LevelDbStore:
    return open_leveldb(path, tuning=LEDGER_TUNING, network=network_id(genesis_of(stage)))


async def caught_up(actor: Actor, height: int) -> dict[str, Any]:
    """The status of a clinic once it is at `height`."""
    with trio.fail_after(PATIENCE_S):
        while (status := await actor.status())["height"] < height:  # noqa: ASYNC110
            await trio.sleep(0.1)
    return status


async def test_a_ledger_that_lost_an_entry_is_set_aside_and_fetched_again(stage: Stage) -> None:
    victim, other = clinic(stage, 0), clinic(stage, 1)
    added = await add_record(stage, victim, b"kept" * 100, name="letter.bin")
    height = (await victim.status())["height"]
    await victim.ask("stop")
    ledger = paths.ledger_db(victim.data_dir)
    store = database(stage, ledger)
    store.write([], [next(key for key, _ in store.iterate(layout.STATE))], sync=True)
    store.close()
    await victim.ask("start")
    status = await caught_up(victim, height)
    assert [one for one in status["warnings"] if "set aside" in one]
    assert not [one for one in status["warnings"] if "only learns" in one]
    assert len(list(ledger.parent.glob("ledger.damaged-*"))) == 1
    # What only this clinic knew is there: the name of the file that it added.
    rows = (await victim.ask("record", "list"))["records"]
    assert [row["title"] for row in rows if row["token"] == added["token"]] == ["letter.bin"]
    assert (await add_record(stage, victim, b"next"))["final"]
    assert (await add_record(stage, other, b"next but one"))["final"]


async def test_a_ledger_that_does_not_open_is_set_aside_and_fetched_again(stage: Stage) -> None:
    victim = clinic(stage, 1)
    height = (await victim.status())["height"]
    await victim.ask("stop")
    (paths.ledger_db(victim.data_dir) / "CURRENT").write_bytes(b"MANIFEST-999999\n")
    await victim.ask("start")
    await caught_up(victim, height)


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[None]:
    """What is in the folder `path` on a file system of its own for a while; only root can do that."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    path.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", path])
    if mounted.returncode != 0:
        path.rmdir()
        aside.rename(path)
        pytest.skip("only root can mount a small file system here")
    try:
        shutil.copytree(aside, path, dirs_exist_ok=True)
        yield
        shutil.copytree(path, aside, dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()
        aside.rename(path)


def fill_up(path: Path, leave_mib: int) -> Path:
    """A file beside the databases that leaves so much room on their disk."""
    filler = path / "filler"
    disk = os.statvfs(path)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave_mib * limits.MIB)
    return filler


async def test_a_full_disk_stops_writing_is_told_and_needs_no_restart(stage: Stage) -> None:
    victim, other = clinic(stage, 2), clinic(stage, 1)
    kept = await add_record(stage, victim, b"kept")
    await victim.ask("stop")
    with small_disk(victim.data_dir, 600):
        await victim.ask("start")
        pid = victim.pid()
        # Below the mark for ciphertext the ledger goes on.
        filler = fill_up(victim.data_dir, 150)
        code = (await stage.patient.ask("my", "code", "--clinic", victim.name))["code"]
        answer = await victim.run("record", "add", str(victim.config), "--for", code, "--json")
        assert (answer.status, answer.error()["code"]) == (1, "store-full")
        assert [one for one in (await victim.status())["warnings"] if "nearly full" in one]
        await add_record(stage, other, b"elsewhere")
        await caught_up(victim, (await other.status())["height"])
        # Below the other mark nothing is written, and what is there can be read.
        filler.unlink()
        filler = fill_up(victim.data_dir, 10)
        height = (await victim.status())["height"]
        await add_record(stage, other, b"elsewhere again")
        status = await victim.status()
        assert status["height"] <= height + 1
        assert [one for one in status["warnings"] if "disk is full" in one]
        rows = (await victim.ask("record", "list"))["records"]
        assert kept["token"] in [row["token"] for row in rows]
        filler.unlink()
        status = await caught_up(victim, (await other.status())["height"])
        assert not [one for one in status["warnings"] if "full" in one]
        assert (await add_record(stage, victim, b"after"))["final"]
        assert victim.pid() == pid
        await victim.ask("stop")
    await victim.ask("start")


async def test_a_disk_that_fails_in_the_middle_ends_the_daemon_and_loses_nothing(stage: Stage) -> None:
    victim = clinic(stage, 1)
    kept = await add_record(stage, victim, b"acknowledged")
    pid = victim.pid()
    assert pid is not None
    # From now on no file of the daemon can grow.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, 1))
    await add_record(stage, clinic(stage, 0), b"elsewhere")
    with trio.fail_after(PATIENCE_S):
        while (await victim.run("status", "--json")).status != 6:  # noqa: ASYNC110
            await trio.sleep(0.1)
    await victim.ask("start")
    await caught_up(victim, kept["height"])
    rows = (await victim.ask("record", "list"))["records"]
    assert kept["token"] in [row["token"] for row in rows]
    assert (await add_record(stage, victim, b"after"))["final"]


async def test_an_audit_log_that_is_damaged_stays_where_it_is_and_nothing_starts(stage: Stage) -> None:
    victim = clinic(stage, 2)
    await add_record(stage, victim, b"a record")
    await victim.ask("stop")
    audit, kept = paths.audit_db(victim.data_dir), victim.data_dir / "audit.kept"
    shutil.copytree(audit, kept)
    manifest = next(one for one in audit.iterdir() if one.name.startswith("MANIFEST"))
    manifest.write_bytes(random.Random(1).randbytes(200))
    answer = await victim.run("start", "--json")
    assert (answer.status, answer.error()["code"]) == (13, "store-damaged")
    assert "evidence" in answer.error()["hint"]
    assert not list(victim.data_dir.glob("audit.damaged*"))
    shutil.rmtree(audit)
    kept.rename(audit)
    await victim.ask("start")


async def test_a_clinic_restored_from_its_backup_learns_and_does_not_vote(
    stage: Stage, tmp_path: Path
) -> None:
    victim, other = clinic(stage, 3), clinic(stage, 0)
    added = await add_record(stage, victim, b"before the backup", name="before.bin")
    folder = tmp_path / "backups" / "first"
    made = await victim.ask("backup", "create", str(folder))
    await add_record(stage, other, b"after the backup")
    height = (await other.status())["height"]
    await victim.ask("stop")
    shutil.rmtree(victim.data_dir)
    # None of these needs a daemon.
    assert (await victim.ask("backup", "verify", str(folder)))["root"] == made["root"]
    assert (await victim.ask("backup", "list", str(folder.parent)))["root"] == made["root"]
    assert (await victim.ask("backup", "restore", str(folder)))["root"] == made["root"]
    again = await victim.run("backup", "restore", str(folder), "--json")
    assert (again.status, again.error()["code"]) == (1, "already-initialised")
    await victim.ask("start")
    status = await caught_up(victim, height)
    assert [one for one in status["warnings"] if "only learns" in one and "vote file" in one]
    rows = (await victim.ask("record", "list"))["records"]
    assert added["token"] in [row["token"] for row in rows]
    assert (await victim.ask("audit", "verify"))["ok"]
    assert (await victim.ask("store", "verify"))["ok"]
    assert not paths.votes(victim.data_dir).exists()
    # A new vote key, with a vote file of its own, ends that.
    assert (await victim.ask("keys", "rotate"))["final"]
    assert not [one for one in (await victim.status())["warnings"] if "only learns" in one]


async def test_a_backup_of_which_a_byte_changed_is_not_restored(stage: Stage, tmp_path: Path) -> None:
    actor, folder = clinic(stage, 0), tmp_path / "backup"
    await actor.ask("backup", "create", str(folder))
    ledger = folder / "ledger.entries"
    content = bytearray(ledger.read_bytes())
    content[len(content) // 2] ^= 1
    ledger.write_bytes(content)
    for command in ("verify", "list"):
        answer = await actor.run("backup", command, str(folder), "--json")
        assert answer.status == (13 if command == "verify" else 0)
    elsewhere = tmp_path / "elsewhere.toml"
    data_dir = tmp_path / "elsewhere"
    elsewhere.write_text(f'[node]\ndata_dir = "{data_dir}"\n')
    # Once only: two at a time keep each other out of the data directory.
    answer = await Actor("elsewhere", elsewhere, data_dir).run("backup", "restore", str(folder), "--json")
    assert (answer.status, answer.error()["code"]) == (13, "store-damaged")
    assert not paths.ledger_db(data_dir).exists()
