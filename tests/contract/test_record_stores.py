"""The vault and the audit log over the store in memory and the one on disk, with threads as in a daemon."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.adapters import SystemClock, SystemEntropy, ThreadOffload
from node.ports import Store
from node.records.audit_chain import AuditChain
from node.records.audit_log import Asked, AuditLog
from node.records.vault import Vault
from node.store import layout
from node.store.leveldb import LevelDbTuning, open_leveldb
from node.store.memory import MemoryStore
from node.store.room import LowWater
from protocol import limits, merkle
from protocol.access import DenyReason, FetchRequest, sign_fetch, verify_fetch
from protocol.at_rest import AtRest
from protocol.blobs import Sealer, verify_chunk
from protocol.errors import StorageError
from protocol.transactions import Content, TokenId
from tests.clinic_world import IDS, plaintext
from tests.ledger_world import CLINICS, NETWORK

SMALL = LevelDbTuning(write_buffer_bytes=256 * 1024, file_bytes_max=1024 * 1024, low_water=LowWater(0))
SIZE = 40 * limits.CHUNK_BYTES
TOKEN = TokenId(b"t" * 32)
Reopen = Callable[[], Store]


@pytest.fixture(params=["memory", "leveldb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store, after closing it where it was open."""
    opened: list[Store] = []

    def open_again() -> Store:
        if request.param == "memory":
            last = opened[-1] if opened else MemoryStore()
            assert isinstance(last, MemoryStore)
            opened.append(last.crash(last.unsynced))
        else:
            for store in opened:
                store.close()
            opened.append(open_leveldb(tmp_path / "db", tuning=SMALL, network=NETWORK))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@asynccontextmanager
async def open_vault(store: Store) -> AsyncIterator[Vault]:
    vault = Vault(
        store=store,
        at_rest=AtRest(bytes(32)),
        entropy=SystemEntropy(),
        offload=ThreadOffload(),
        quota_bytes=limits.GIB,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(vault.run)
        yield vault


@asynccontextmanager
async def open_log(store: Store) -> AsyncIterator[AuditLog]:
    log = AuditLog(store=store, clock=SystemClock(), offload=ThreadOffload())
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield log
        nursery.cancel_scope.cancel()


def sealed() -> tuple[Content, list[bytes]]:
    sealer = Sealer(bytes(32), bytes(32), SIZE)
    chunks = list(sealer.seal(plaintext(SIZE)))
    return sealer.finish(), chunks


async def test_a_blob_comes_in_in_two_halves_with_a_restart_between_and_is_read_and_deleted(
    reopen: Reopen,
) -> None:
    content, chunks = sealed()
    half = content.chunks // 2
    for part in (chunks[:half], chunks[half:]):
        async with open_vault(reopen()) as vault:
            arriving = await vault.resume(IDS[0], content)
            assert arriving.next_chunk in (0, half)
            for start in range(0, len(part), limits.RUN_CHUNKS):
                run = part[start : start + limits.RUN_CHUNKS]
                arriving.write(run, b"".join(map(merkle.leaf_hash, run)))
            if arriving.next_chunk == content.chunks:
                arriving.finish(content)
            await vault.close(arriving)
    store = reopen()
    async with open_vault(store) as vault:
        reader = await vault.open(IDS[0], content.root)
        assert reader is not None
        for index in range(content.chunks):
            frame = reader.frame(index)
            assert verify_chunk(content, index, frame.ciphertext, frame.path)
        await vault.delete(IDS[0], content.root)
        assert vault.used_bytes == 0
    assert list(store.iterate(b"")) == []


def asked(number: int) -> Asked:
    request = FetchRequest(TOKEN, b"", IDS[1], IDS[0], bytes(32), "TREAT", f"dr {number}", 0, 1, 1)
    return Asked(IDS[1], verify_fetch(sign_fetch(request, CLINICS[1], NETWORK), NETWORK), 1, 1)


async def test_an_audit_log_keeps_its_chain_under_many_askers_and_over_restarts(reopen: Reopen) -> None:
    for _ in range(2):
        async with open_log(reopen()) as log:
            before = log.sequence

            async def ask(number: int, log: AuditLog = log) -> None:
                if number % 3:
                    log.outcome(await log.intend(asked(number)), sent_bytes=number)
                else:
                    await log.deny(asked(number), DenyReason.PURPOSE, is_member=True, is_token=True)

            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(ask, number)
        assert log.sequence == before + 20 + 2 * 40
    store = reopen()
    async with open_log(store) as log:
        assert log.sequence == 200
        assert (await log.verify()).bad is None
        found, more = log.chain.for_tokens([TOKEN], after=0, through=200, bytes_max=limits.MIB)
        assert ([record.sequence for record in found], more) == (list(range(1, 201)), False)
    key, value = next(store.iterate(layout.AUDIT))
    store.write([(key, value[:-1] + bytes((value[-1] ^ 1,)))])
    with pytest.raises(StorageError):
        AuditChain(store).load()
