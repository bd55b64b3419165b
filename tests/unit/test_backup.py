"""A backup says when one byte of it is not what was written, and restores to what it was made of."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from node import paths
from node.adapters import InlineOffload
from node.backup.archive import (
    MANIFEST,
    EntryWriter,
    encode_manifest,
    find_backups,
    load_manifest,
    read_entries,
)
from node.backup.restore import restore_backup
from node.backup.verify import verify_backup
from node.config import load_config
from node.control.answers import Joined
from node.records.audit_log import AuditLog
from node.store import layout
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from node.store.memory import MemoryStore
from node.store.votefile import create_vote_file
from protocol import control
from protocol.errors import ChartmeshError, Code
from tests.clinic_world import world_clock
from tests.ledger_world import NETWORK
from tests.memory_net import Net
from tests.unit.test_answers import Daemon, Peerage, clinic, keeping

SEED = int(os.environ.get("BACKUP_SEED", "0")) or random.randrange(2**32)
SMALL_FILES = {"keys": b"encrypted", "card": b"card", "genesis": b"genesis", "config.toml": b"[node]\n"}


class Home:
    """A clinic with two databases in memory, some files, and the daemon's answers."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.data_dir, self.folder = folder / "data", folder / "backups" / "one"
        self.data_dir.mkdir()
        for name, content in SMALL_FILES.items():
            (self.data_dir / name).write_bytes(content)
        create_vote_file(paths.votes(self.data_dir))
        part, self.blobs = clinic(Net(nursery)), MemoryStore()
        ledger, audit = part.ports.ledger_store, part.ports.audit_store
        assert isinstance(ledger, MemoryStore)
        assert isinstance(audit, MemoryStore)
        self.ledger, self.audit = ledger, audit
        self.blobs.write([(layout.chunk(bytes(32), 0), b"ciphertext")])
        self.daemon = Daemon()
        kept = keeping(self.data_dir, ledger=self.ledger, audit=self.audit, blobs=self.blobs)
        self.daemon.answers.joined = Joined(part, Peerage(), kept)

    async def back_up(self, **more: Any) -> control.BackupResult:
        result = await self.daemon.ask(control.BackupCreate(path=str(self.folder), **more))
        assert isinstance(result, control.BackupResult)
        return result


@pytest.fixture
async def home(tmp_path: Path, nursery: trio.Nursery) -> Home:
    home = Home(tmp_path, nursery)
    log = AuditLog(store=home.audit, clock=world_clock(), offload=InlineOffload())
    await nursery.start(log.run)
    log._count_denials()
    return home


def refused(act: Any, *arguments: Any) -> Code:
    with pytest.raises(ChartmeshError) as caught:
        act(*arguments)
    assert caught.value.hint
    return caught.value.code


async def test_a_backup_holds_the_databases_and_small_files_and_never_a_vote_file(home: Home) -> None:
    result = await home.back_up()
    manifest = verify_backup(home.folder)
    assert (manifest.root, manifest.height) == (result.root, 0)
    names = {"ledger.entries", "audit.entries", *SMALL_FILES}
    assert {one.name for one in manifest.files} == names
    assert {one.name for one in home.folder.iterdir()} == {*names, MANIFEST}
    assert dict(read_entries(home.folder / "ledger.entries")) == dict(home.ledger.iterate(b""))
    assert all((home.folder / name).stat().st_mode & 0o077 == 0 for name in names)
    assert home.folder.stat().st_mode & 0o077 == 0
    assert find_backups(home.folder.parent) == [home.folder] == find_backups(home.folder)


async def test_ciphertext_is_in_it_where_that_was_asked_for(home: Home) -> None:
    await home.back_up(blobs=True)
    verify_backup(home.folder)
    assert dict(read_entries(home.folder / "blobs.entries")) == dict(home.blobs.iterate(b""))


async def test_a_folder_that_holds_something_is_not_written_to(home: Home) -> None:
    await home.back_up()
    before = sorted(home.folder.iterdir())
    assert await home.daemon.refuse(control.BackupCreate(path=str(home.folder))) == Code.ALREADY_INITIALISED
    assert sorted(home.folder.iterdir()) == before
    assert await home.daemon.refuse(control.BackupCreate(path="/proc/none")) == Code.CONFIG


async def test_a_backup_that_fails_leaves_nothing(home: Home) -> None:
    home.audit.fail_at(1)
    assert await home.daemon.refuse(control.BackupCreate(path=str(home.folder))) == Code.STORE_FAILED
    assert not home.folder.exists()


async def test_no_byte_of_a_backup_can_change_unnoticed(home: Home) -> None:
    print(f"BACKUP_SEED={SEED}")
    dice = random.Random(SEED)
    await home.back_up()
    for path in sorted(home.folder.iterdir()):
        whole = path.read_bytes()
        for offset in {0, len(whole) - 1, *dice.choices(range(len(whole)), k=30)}:
            rotten = bytearray(whole)
            rotten[offset] ^= 1 << dice.randrange(8)
            path.write_bytes(rotten)
            with pytest.raises(ChartmeshError):
                verify_backup(home.folder)
        path.write_bytes(whole[:-1])
        with pytest.raises(ChartmeshError):
            verify_backup(home.folder)
        path.unlink()
        assert refused(verify_backup, home.folder) in (Code.STORE_DAMAGED, Code.USAGE)
        path.write_bytes(whole)
    verify_backup(home.folder)


@pytest.mark.parametrize("left_out", [layout.STATE, layout.HEAD])
async def test_hashes_alone_do_not_make_a_backup_whole(home: Home, left_out: bytes) -> None:
    """A scan that silently ended early would give right hashes over too few entries."""
    await home.back_up()
    ledger = home.folder / "ledger.entries"
    entries = list(read_entries(ledger))
    entries.remove(next(entry for entry in entries if entry[0].startswith(left_out)))
    ledger.unlink()
    writer = EntryWriter(ledger)
    for entry in entries:
        writer.add(*entry)
    manifest = load_manifest(home.folder)
    files = (writer.finish(), *(one for one in manifest.files if one.name != ledger.name))
    (home.folder / MANIFEST).write_bytes(encode_manifest(replace(manifest, files=files).sealed()))
    assert refused(verify_backup, home.folder) == Code.STORE_DAMAGED


@pytest.mark.parametrize(("step", "code"), [(1, Code.STORE_NEWER), (-1, Code.STORE_OLDER)])
async def test_one_of_another_version_is_not_read(home: Home, step: int, code: Code) -> None:
    await home.back_up()
    other = replace(load_manifest(home.folder), schema=layout.SCHEMA + step).sealed()
    (home.folder / MANIFEST).write_bytes(encode_manifest(other))
    assert refused(verify_backup, home.folder) == code


async def test_what_is_restored_is_what_was_backed_up_without_a_vote_file(
    home: Home, tmp_path: Path
) -> None:
    await home.back_up(blobs=True)
    data_dir = tmp_path / "restored"
    config = load_config(None, {}, {"node.data_dir": str(data_dir)})
    restore_backup(config, home.folder)
    for path, store in (
        (paths.ledger_db(data_dir), home.ledger),
        (paths.audit_db(data_dir), home.audit),
        (paths.blob_db(data_dir), home.blobs),
    ):
        restored = open_leveldb(path, tuning=LEDGER_TUNING, network=NETWORK)
        assert dict(restored.iterate(b"")) == dict(store.iterate(b""))
        restored.close()
    for name, content in SMALL_FILES.items():
        assert (data_dir / name).read_bytes() == content
    assert not paths.votes(data_dir).exists()


@pytest.mark.parametrize("name", ["keys", "votes", "card", "genesis", "ledger", "audit", "blobs"])
async def test_nothing_is_restored_over_what_is_there(home: Home, tmp_path: Path, name: str) -> None:
    await home.back_up()
    data_dir = tmp_path / "restored"
    data_dir.mkdir()
    (data_dir / name).write_bytes(b"mine")
    config = load_config(None, {}, {"node.data_dir": str(data_dir)})
    assert refused(restore_backup, config, home.folder) == Code.ALREADY_INITIALISED
    assert [one.name for one in data_dir.iterdir()] == [name]


async def test_a_damaged_backup_restores_nothing(home: Home, tmp_path: Path) -> None:
    await home.back_up()
    (home.folder / "audit.entries").write_bytes(b"")
    data_dir = tmp_path / "restored"
    config = load_config(None, {}, {"node.data_dir": str(data_dir)})
    assert refused(restore_backup, config, home.folder) == Code.STORE_DAMAGED
    assert not data_dir.exists()
    shutil.rmtree(home.folder)
    assert refused(restore_backup, config, home.folder) == Code.USAGE


async def test_each_database_is_compacted_and_told(home: Home) -> None:
    freed = await home.daemon.ask(control.StoreGc())
    assert [one.name for one in freed.databases] == ["ledger", "audit", "blobs"]
    assert freed.databases[2].before_bytes == home.blobs.disk_bytes() > 0


async def test_the_databases_are_read_in_full_and_damage_is_named(home: Home) -> None:
    stat = await home.daemon.ask(control.StoreStat())
    assert [one.name for one in stat.databases] == ["ledger", "audit", "blobs"]
    assert (stat.used_bytes, stat.quota_bytes) == (1, 2)
    verdict = await home.daemon.ask(control.StoreVerify())
    assert verdict.ok
    assert verdict.databases[2].entries == 1
    home.ledger.write([(layout.denied(b"t" * 32, b"g" * 32), b"\x01")])
    verdict = await home.daemon.ask(control.StoreVerify())
    assert not verdict.ok
    assert [bool(one.problem) for one in verdict.databases] == [True, False, False]
    home.blobs.fail_at(1)
    assert await home.daemon.refuse(control.StoreVerify()) == Code.STORE_FAILED
