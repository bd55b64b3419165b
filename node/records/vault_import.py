"""One blob on its way into the vault: chunks in order, in runs, synced about every 16 MiB and at the end.

The methods write the disk: call them through Offload.
"""

from collections.abc import Sequence

from node.ports import Put, Store
from node.store import layout
from protocol import limits, merkle
from protocol.at_rest import AtRest
from protocol.blobs import TAG_BYTES, chunk_count, ciphertext_length, padded_length
from protocol.codec import HASH_BYTES, Wire, encode
from protocol.errors import LocalProtocolError, Malformed
from protocol.keys import PublicKey
from protocol.merkle import Tree
from protocol.messages.blob import decode_chunk_frame
from protocol.transactions import Content

_COUNT_BYTES = 4


class BlobEntry(Wire, frozen=True):
    """What the vault knows of a blob; until it `is_whole`, chunks at its end are missing."""

    blob_id: bytes
    content: Content
    is_whole: bool


class Import:
    """`content` is None while the root is not known, as at the issuer; `next_chunk` is the first missing.

    `is_written` says whether the vault will know the blob again: it has an entry there.
    """

    def __init__(
        self,
        store: Store,
        at_rest: AtRest,
        issuer: PublicKey,
        blob_id: bytes,
        length: int,
        content: Content | None = None,
        leaf_hashes: bytes | None = None,
    ) -> None:
        """`leaf_hashes` are those of the chunks here already, None where the vault has no entry yet."""
        self.issuer, self.blob_id, self.length, self.content = issuer, blob_id, length, content
        self.is_written = leaf_hashes is not None
        self._store, self._at_rest = store, at_rest.blob(blob_id)
        self._leaf_hashes = bytearray(leaf_hashes or b"")
        self._is_marked = self.is_written
        self._unsynced_bytes = 0

    @property
    def next_chunk(self) -> int:
        return len(self._leaf_hashes) // HASH_BYTES

    def write(self, chunks: Sequence[bytes], leaf_hashes: bytes) -> None:
        """Adds a run of chunks with their leaf hashes, one after the other."""
        if len(leaf_hashes) != HASH_BYTES * len(chunks):
            raise LocalProtocolError("a run of chunks came with another number of leaf hashes")
        puts: list[Put] = [] if self._is_marked else [self._mark()]
        for offset, chunk in enumerate(chunks):
            index = self.next_chunk + offset
            leaf_hash = leaf_hashes[HASH_BYTES * offset : HASH_BYTES * (offset + 1)]
            puts += (
                (layout.chunk(self.blob_id, index), self._at_rest.keep(index, chunk)),
                (layout.leaf(self.blob_id, index), leaf_hash),
            )
        self._unsynced_bytes += sum(map(len, chunks))
        is_synced = self._unsynced_bytes >= limits.SYNC_BYTES
        self._store.write(puts, sync=is_synced)
        self._is_marked = True
        self.is_written = self.content is not None
        self._leaf_hashes += leaf_hashes
        if is_synced:
            self._unsynced_bytes = 0

    def finish(self, content: Content) -> None:
        """Makes the blob whole and known by its root; durable when it returns.

        Raises:
            LocalProtocolError: the chunks written are not those of `content`.
        """
        if self.next_chunk != content.chunks or Tree(bytes(self._leaf_hashes)).root != content.root:
            raise LocalProtocolError("the chunks written are not those of the content")
        entry = (layout.blob(self.issuer, content.root), encode(BlobEntry(self.blob_id, content, True)))
        self._store.write([entry], [layout.importing(self.blob_id)], sync=True)
        self.is_written = True

    def _mark(self) -> Put:
        """What tells the next start of the chunks: an entry to go on from, or a note to drop them."""
        if self.content is not None:
            name = layout.blob(self.issuer, self.content.root)
            return name, encode(BlobEntry(self.blob_id, self.content, False))
        return layout.importing(self.blob_id), chunk_count(self.length).to_bytes(_COUNT_BYTES, "big")


def take_frames(arriving: Import, content: Content, frames: Sequence[bytes]) -> None:
    """Keeps those of `frames` that come before the first wrong one. Raises Malformed for that one."""
    chunks: list[bytes] = []
    leaf_hashes = bytearray()
    try:
        for frame in frames:
            chunk = decode_chunk_frame(frame)
            index, leaf_hash = arriving.next_chunk + len(chunks), merkle.leaf_hash(chunk.ciphertext)
            is_next = chunk.index == index < content.chunks
            if not is_next or len(chunk.ciphertext) != ciphertext_length(content, index):
                raise Malformed("a chunk is not the next one")
            if not merkle.verify_hash(leaf_hash, index, content.chunks, chunk.path, content.root):
                raise Malformed("a chunk is not the blob's")
            chunks.append(chunk.ciphertext)
            leaf_hashes += leaf_hash
    finally:
        if chunks:
            arriving.write(chunks, bytes(leaf_hashes))


def blob_bytes(length: int) -> int:
    """The ciphertext of a record of `length` bytes, in bytes."""
    return padded_length(length) + TAG_BYTES * chunk_count(length)
