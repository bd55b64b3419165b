"""The ciphertext on this node: blobs in the blob database, found by issuer and content root.

A blob belongs to the clinic that issued it: a token that another issuer mints with the same content
finds nothing here, so nobody can mint a way to ciphertext that someone else's patient owns. Chunks lie
under a random local id, because an issuer knows the root only when the last is sealed, and on the disk each
is sealed once more, under a key of this node's own.
"""

from collections import OrderedDict
from collections.abc import Iterator

import trio

from node.ports import Entropy, Offload, Put, Store, TaskStatus
from node.records.vault_import import BlobEntry, Import, blob_bytes
from node.store import layout
from protocol import limits
from protocol.at_rest import AtRest
from protocol.codec import HASH_BYTES, decode, encode
from protocol.errors import Code, Malformed, StorageError, UserError
from protocol.keys import KEY_BYTES, PublicKey
from protocol.merkle import Tree
from protocol.messages.blob import ChunkFrame
from protocol.transactions import Content

ID_BYTES = 32
DELETE_KEYS = 1024
_INDEX_BYTES = 4


class BlobReader:
    """One whole blob. Its methods read the disk: call them through Offload, some chunks at a time."""

    def __init__(self, store: Store, at_rest: AtRest, entry: BlobEntry, tree: Tree) -> None:
        self.content = entry.content
        self._at_rest = at_rest.blob(entry.blob_id)
        self._store, self._blob_id, self._tree = store, entry.blob_id, tree

    def chunk(self, index: int) -> bytes:
        """The ciphertext of one chunk. Raises StorageError where it is gone or damaged."""
        kept = self._store.get(layout.chunk(self._blob_id, index))
        if kept is None:
            raise _damaged("a chunk is missing")
        try:
            return self._at_rest.open(index, kept)
        except Malformed as error:
            raise _damaged("a chunk is not the one that was kept there") from error

    def frame(self, index: int) -> ChunkFrame:
        """One chunk with its path to the root."""
        return ChunkFrame(index, self._tree.path(index), self.chunk(index))

    def frames(self, first: int, count: int) -> list[bytes]:
        """Consecutive chunks as they go on a stream."""
        return [encode(self.frame(index)) for index in range(first, first + count)]


class Vault:
    """All blobs of this node. `used_bytes` is what they, and those on their way in, take or will take."""

    def __init__(
        self, *, store: Store, at_rest: AtRest, entropy: Entropy, offload: Offload, quota_bytes: int
    ) -> None:
        self._store, self._at_rest, self._entropy, self._offload = store, at_rest, entropy, offload
        self._quota_bytes = quota_bytes
        self._trees: OrderedDict[bytes, Tree] = OrderedDict()
        self._arriving: set[bytes] = set()
        self.used_bytes = 0

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drops what a crash left without a root, counts the rest, and returns."""
        for blob_id, count in await self._offload.run(self._orphans):
            await self._drop(blob_id, count)
        self.used_bytes = await self._offload.run(lambda: sum(map(_entry_bytes, self._entries())))
        task_status.started()

    def holds(self, issuer: PublicKey, root: bytes) -> bool:
        """Whether every chunk of the blob is here."""
        entry = self._entry(issuer, root)
        return entry is not None and entry.is_whole

    async def open(self, issuer: PublicKey, root: bytes) -> BlobReader | None:
        """The blob, or None where it is not here whole. Raises StorageError where it is damaged."""
        entry = self._entry(issuer, root)
        if entry is None or not entry.is_whole:
            return None
        found = entry
        tree = self._trees.get(found.blob_id)
        if tree is None:
            tree = await self._offload.run(lambda: self._load_tree(found))
        self._trees[found.blob_id] = tree
        self._trees.move_to_end(found.blob_id)
        while len(self._trees) > limits.TREES_MAX:
            self._trees.popitem(last=False)
        return BlobReader(self._store, self._at_rest, found, tree)

    def create(self, issuer: PublicKey, length: int) -> Import:
        """A new blob for a record of `length` bytes, whose root is not known yet.

        Raises:
            UserError: LIMIT, the quota does not allow it.
        """
        self._reserve(length)
        return Import(self._store, self._at_rest, issuer, self._entropy.bytes(ID_BYTES), length)

    async def resume(self, issuer: PublicKey, content: Content) -> Import:
        """The blob of `content`, on from the first chunk that is not here; close it when done.

        Raises:
            UserError: LIMIT, the quota does not allow it, or it is coming in on another stream.
            Malformed: other content of this root is here.
        """
        entry = self._entry(issuer, content.root)
        leaf_hashes = None
        if entry is not None:
            known = entry
            if known.content != content:
                raise Malformed("the same root was offered with other content")
            leaf_hashes = await self._offload.run(lambda: b"".join(self._leaves(known)))
        name = layout.blob(issuer, content.root)
        if name in self._arriving:
            raise UserError("this blob is coming in already", "wait for it", code=Code.LIMIT)
        if entry is None:
            self._reserve(content.length)
        self._arriving.add(name)
        blob_id = self._entropy.bytes(ID_BYTES) if entry is None else entry.blob_id
        return Import(self._store, self._at_rest, issuer, blob_id, content.length, content, leaf_hashes)

    async def close(self, arriving: Import) -> None:
        """Ends an import. One that is not whole stays for a later `resume`, or is dropped where nobody
        can resume it."""
        content = arriving.content
        if content is not None:
            self._arriving.discard(layout.blob(arriving.issuer, content.root))
        if arriving.is_written:
            return
        self.used_bytes -= blob_bytes(arriving.length)
        if content is None:
            with trio.CancelScope(shield=True):
                await self._drop(arriving.blob_id, arriving.next_chunk)

    def is_arriving(self, issuer: PublicKey, root: bytes) -> bool:
        """Whether the blob is coming in on some stream now."""
        return layout.blob(issuer, root) in self._arriving

    def names(self) -> list[tuple[PublicKey, bytes]]:
        """Issuer and root of every blob here, whole or not. Reads the disk: call it through Offload."""
        keys = [key[len(layout.BLOB) :] for key, _ in self._store.iterate(layout.BLOB)]
        return [(PublicKey(key[:KEY_BYTES]), key[KEY_BYTES:]) for key in keys]

    async def delete(self, issuer: PublicKey, root: bytes) -> bool:
        """Removes a blob, whole or not, and says whether there was one; a crash in between is made up for
        at the next start. One that is coming in is left alone.
        """
        entry = self._entry(issuer, root)
        if entry is None or self.is_arriving(issuer, root):
            return False
        self._trees.pop(entry.blob_id, None)
        count = entry.content.chunks
        mark = (layout.importing(entry.blob_id), count.to_bytes(_INDEX_BYTES, "big"))
        name = layout.blob(issuer, root)
        await self._offload.run(lambda: self._store.write([mark], [name], sync=True))
        self.used_bytes -= _entry_bytes(entry)
        await self._drop(entry.blob_id, count)
        return True

    # Inside.

    def _reserve(self, length: int) -> None:
        wanted = blob_bytes(length)
        if self.used_bytes + wanted > self._quota_bytes:
            raise UserError(
                f"the store for ciphertext has no room for {wanted} bytes more",
                "raise storage.quota_bytes in the configuration, or delete records",
                code=Code.LIMIT,
            )
        self.used_bytes += wanted

    def _entry(self, issuer: PublicKey, root: bytes) -> BlobEntry | None:
        raw = self._store.get(layout.blob(issuer, root))
        return None if raw is None else decode(BlobEntry, raw, limit=limits.KIB)

    def _entries(self) -> Iterator[BlobEntry]:
        for _, raw in self._store.iterate(layout.BLOB):
            yield decode(BlobEntry, raw, limit=limits.KIB)

    def _orphans(self) -> list[tuple[bytes, int]]:
        prefix = len(layout.IMPORT)
        marks = self._store.iterate(layout.IMPORT)
        return [(key[prefix:], int.from_bytes(value, "big")) for key, value in marks]

    def _leaves(self, entry: BlobEntry) -> Iterator[bytes]:
        """Leaf hashes from the first on, without a gap."""
        for index, (key, value) in enumerate(self._store.iterate(layout.leaves(entry.blob_id))):
            if key != layout.leaf(entry.blob_id, index) or len(value) != HASH_BYTES:
                return
            yield value

    def _load_tree(self, entry: BlobEntry) -> Tree:
        tree = Tree(b"".join(self._leaves(entry)))
        if tree.root != entry.content.root:
            raise _damaged("its leaf hashes do not make its root")
        return tree

    async def _drop(self, blob_id: bytes, count: int) -> None:
        """Deletes chunks and leaf hashes, and last the mark that they belong to nothing."""
        for start in range(0, count, DELETE_KEYS):
            indices = range(start, min(start + DELETE_KEYS, count))
            keys = [key(blob_id, index) for index in indices for key in (layout.chunk, layout.leaf)]
            await self._offload.run(lambda keys=keys: self._delete(keys))  # type: ignore[misc]
        await self._offload.run(lambda: self._delete([layout.importing(blob_id)]))

    def _delete(self, keys: list[bytes]) -> None:
        nothing: list[Put] = []
        self._store.write(nothing, keys)


def _entry_bytes(entry: BlobEntry) -> int:
    return blob_bytes(entry.content.length)


def _damaged(what: str) -> StorageError:
    return StorageError(
        f"a blob in the store is damaged: {what}", "fetch the record again from another holder"
    )
