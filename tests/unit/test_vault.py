"""The vault: blobs come in in order, whole or resumable, and nothing is left of those nobody can finish."""

import pytest
import trio
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.records.vault import Vault
from node.records.vault_import import Import, blob_bytes
from node.store import layout
from node.store.memory import MemoryStore
from protocol import limits, merkle
from protocol.at_rest import AtRest
from protocol.blobs import Sealer, verify_chunk
from protocol.errors import Code, LocalProtocolError, Malformed, StorageError, UserError
from protocol.transactions import Content
from tests.clinic_world import IDS, QUOTA_BYTES, plaintext
from tests.sim.entropy import SimEntropy

ISSUER, OTHER = IDS[0], IDS[1]
KEY = bytes(range(32))
SIZE = 3 * limits.CHUNK_BYTES


def sealed(size: int = SIZE, salt: bytes = bytes(32)) -> tuple[Content, list[bytes], list[bytes]]:
    """The content of a record, its chunks and their leaf hashes."""
    sealer = Sealer(KEY, salt, size)
    chunks = list(sealer.seal(plaintext(size)))
    return sealer.finish(), chunks, [merkle.leaf_hash(chunk) for chunk in chunks]


def new_vault(store: MemoryStore, quota_bytes: int = QUOTA_BYTES, secret: bytes = bytes(32)) -> Vault:
    return Vault(
        store=store,
        at_rest=AtRest(secret),
        entropy=SimEntropy("vault"),
        offload=InlineOffload(),
        quota_bytes=quota_bytes,
    )


async def opened(store: MemoryStore, quota_bytes: int = QUOTA_BYTES, secret: bytes = bytes(32)) -> Vault:
    vault = new_vault(store, quota_bytes, secret)
    async with trio.open_nursery() as nursery:
        await nursery.start(vault.run)
    return vault


def put(arriving: Import, chunks: list[bytes]) -> None:
    arriving.write(chunks, b"".join(map(merkle.leaf_hash, chunks)))


async def hold(vault: Vault, size: int = SIZE) -> Content:
    content, chunks, _ = sealed(size)
    arriving = vault.create(ISSUER, size)
    put(arriving, chunks)
    arriving.finish(content)
    await vault.close(arriving)
    return content


async def read_all(vault: Vault, content: Content) -> list[bytes]:
    reader = await vault.open(ISSUER, content.root)
    assert reader is not None
    return [reader.chunk(index) for index in range(content.chunks)]


def keys_under(store: MemoryStore, prefix: bytes) -> int:
    return len(list(store.iterate(prefix)))


async def test_a_blob_that_was_sealed_here_is_read_back_with_paths_to_its_root() -> None:
    vault = await opened(MemoryStore())
    content = await hold(vault)
    assert vault.holds(ISSUER, content.root)
    reader = await vault.open(ISSUER, content.root)
    assert reader is not None
    assert reader.content == content
    for index in range(content.chunks):
        frame = reader.frame(index)
        assert frame.index == index
        assert verify_chunk(content, index, frame.ciphertext, frame.path)


async def test_a_blob_is_not_found_under_another_issuer() -> None:
    vault = await opened(MemoryStore())
    content = await hold(vault)
    assert not vault.holds(OTHER, content.root)
    assert await vault.open(OTHER, content.root) is None


async def test_a_blob_that_is_not_whole_is_not_held() -> None:
    vault = await opened(MemoryStore())
    content, chunks, _ = sealed()
    arriving = await vault.resume(ISSUER, content)
    put(arriving, chunks[:2])
    assert not vault.holds(ISSUER, content.root)
    assert await vault.open(ISSUER, content.root) is None


async def test_an_offered_blob_is_resumed_after_a_power_cut_at_the_first_chunk_that_was_lost() -> None:
    store = MemoryStore()
    vault = await opened(store)
    content, chunks, _ = sealed()
    arriving = await vault.resume(ISSUER, content)
    put(arriving, chunks[:1])
    put(arriving, chunks[1:2])
    after = store.crash(1)
    vault = await opened(after)
    arriving = await vault.resume(ISSUER, content)
    assert arriving.next_chunk == 1
    put(arriving, chunks[1:])
    arriving.finish(content)
    await vault.close(arriving)
    assert await read_all(vault, content) == chunks


async def test_an_unfinished_import_whose_root_nobody_knows_is_dropped_at_the_next_start() -> None:
    store = MemoryStore()
    vault = await opened(store)
    put(vault.create(ISSUER, SIZE), sealed()[1][:2])
    after = store.crash(store.unsynced)
    assert keys_under(after, layout.CHUNK) == 2
    vault = await opened(after)
    assert vault.used_bytes == 0
    assert after.disk_bytes() == 0


async def test_an_import_that_is_given_up_leaves_nothing() -> None:
    store = MemoryStore()
    vault = await opened(store)
    arriving = vault.create(ISSUER, SIZE)
    put(arriving, sealed()[1][:2])
    await vault.close(arriving)
    assert (vault.used_bytes, store.disk_bytes()) == (0, 0)


async def test_a_whole_blob_survives_a_power_cut() -> None:
    store = MemoryStore()
    content = await hold(await opened(store))
    vault = await opened(store.crash(0))
    assert vault.holds(ISSUER, content.root)
    assert vault.used_bytes == blob_bytes(SIZE)


async def test_a_deleted_blob_is_gone_and_a_cut_in_between_is_made_up_for() -> None:
    store = MemoryStore()
    vault = await opened(store)
    content = await hold(vault)
    # The power fails once the blob is unknown and before its chunks are deleted.
    store.fail_at(3)
    with pytest.raises(StorageError):
        await vault.delete(ISSUER, content.root)
    after = store.crash(0)
    assert keys_under(after, layout.CHUNK) == content.chunks
    vault = await opened(after)
    assert (vault.used_bytes, after.disk_bytes()) == (0, 0)
    assert not vault.holds(ISSUER, content.root)


async def test_the_quota_bounds_what_is_here_and_what_is_coming_in() -> None:
    content, _, _ = sealed()
    vault = await opened(MemoryStore(), 2 * blob_bytes(SIZE))
    await hold(vault)
    arriving = await vault.resume(OTHER, content)
    with pytest.raises(UserError) as caught:
        vault.create(ISSUER, SIZE)
    assert caught.value.code is Code.LIMIT
    await vault.close(arriving)
    vault.create(ISSUER, SIZE)


async def test_two_streams_cannot_bring_the_same_blob() -> None:
    content, _, _ = sealed()
    vault = await opened(MemoryStore())
    arriving = await vault.resume(ISSUER, content)
    with pytest.raises(UserError):
        await vault.resume(ISSUER, content)
    await vault.close(arriving)
    await vault.close(await vault.resume(ISSUER, content))


async def test_other_content_with_a_known_root_is_refused() -> None:
    vault = await opened(MemoryStore())
    await hold(vault)
    content = sealed()[0]
    with pytest.raises(Malformed):
        await vault.resume(ISSUER, replace(content, plaintext_commitment=bytes(32)))


async def test_chunks_that_are_not_the_contents_never_become_whole() -> None:
    vault = await opened(MemoryStore())
    content, chunks, _ = sealed()
    arriving = vault.create(ISSUER, SIZE)
    put(arriving, [*chunks[:-1], bytes(len(chunks[-1]))])
    with pytest.raises(LocalProtocolError):
        arriving.finish(content)


@pytest.mark.parametrize("key", [layout.chunk, layout.leaf])
async def test_a_blob_with_something_missing_is_an_error_and_never_other_bytes(key: object) -> None:
    store = MemoryStore()
    vault = await opened(store)
    content = await hold(vault)
    prefix = layout.CHUNK if key is layout.chunk else layout.LEAF
    store.write((), [next(store.iterate(prefix))[0]])
    vault = await opened(store)
    with pytest.raises(StorageError):
        await read_all(vault, content)


async def test_a_long_import_is_synced_as_it_goes() -> None:
    store = MemoryStore()
    vault = await opened(store)
    run = [bytes(limits.CHUNK_BYTES)] * limits.RUN_CHUNKS
    arriving = vault.create(ISSUER, limits.GIB // 2)
    for _ in range(limits.SYNC_BYTES // (limits.CHUNK_BYTES * limits.RUN_CHUNKS)):
        assert store.unsynced == arriving.next_chunk // limits.RUN_CHUNKS
        put(arriving, run)
    assert store.unsynced == 0


async def test_not_even_ciphertext_is_on_the_disk_of_a_holder() -> None:
    store = MemoryStore()
    vault = await opened(store)
    content = await hold(vault)
    kept = [value for _, value in store.iterate(b"")]
    _, chunks, _ = sealed()
    assert await read_all(vault, content) == chunks
    assert not [value for value in kept for chunk in chunks if chunk[:32] in value]


async def test_one_blob_is_kept_in_other_bytes_each_time() -> None:
    stores = [MemoryStore(), MemoryStore()]
    for store, seed in zip(stores, "ab", strict=True):
        vault = await opened(store)
        vault._entropy = SimEntropy(seed)
        await hold(vault)
    first, second = ({value for _, value in store.iterate(layout.CHUNK)} for store in stores)
    assert not first & second


async def test_what_another_key_kept_or_what_lies_elsewhere_is_an_error_and_never_other_bytes() -> None:
    store = MemoryStore()
    content = await hold(await opened(store))
    stolen = await opened(store, secret=b"\1" + bytes(31))
    with pytest.raises(StorageError, match="not the one that was kept"):
        await read_all(stolen, content)
    (first, one), (second, other), *_ = store.iterate(layout.CHUNK)
    store.write([(first, other), (second, one)])
    with pytest.raises(StorageError, match="not the one that was kept"):
        await read_all(await opened(store), content)
