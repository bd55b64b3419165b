"""Sealing a record into a blob and opening it again, chunk by chunk in bounded memory.

The plaintext, zero-padded to a Padmé length, is cut into pieces of `PIECE_BYTES`; each is sealed with
AES-256-GCM into one ciphertext chunk, 16 bytes longer. An RFC 9162 tree over the chunks gives the
blob's root, so each chunk is verified before it is opened and chunks may come from anywhere.

From the content key K and the public salt, HKDF-SHA256 derives the encryption key, the key commitment
(AES-GCM alone would let one ciphertext open under two keys) and the key of the plaintext commitment,
an HMAC of the length and of the RFC 9162 root over the unpadded pieces: equal records are not
linkable. The nonce is the chunk's number in 88 bits and a byte that is 1 for the last chunk; the
associated bytes name suite, chunk size and length, so no chunk opens under another length.

K and salt are for one record version, sealed once: sealing other bytes under them would reuse nonces.
With `protocol.at_rest` the only importer of AESGCM.
"""

import hmac
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol import limits, merkle
from protocol.codec import HASH_BYTES
from protocol.errors import LocalProtocolError, Malformed
from protocol.keys import hkdf
from protocol.transactions import Content

SUITE = 1
KEY_BYTES = 32
SALT_BYTES = 32
TAG_BYTES = 16
PIECE_BYTES = limits.PIECE_BYTES
_COUNTER_BYTES = 11


def padded_length(length: int) -> int:
    """The Padmé length for `length` bytes: at most 12 % more, and few distinct values (PURBs, 2019)."""
    exponent = max(length.bit_length() - 1, 0)
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def chunk_count(length: int) -> int:
    """How many chunks a record of `length` bytes makes, padding included."""
    return -(-padded_length(length) // PIECE_BYTES)


def plaintext_range(content: Content, index: int) -> tuple[int, int]:
    """Where in the record chunk `index` lies: start and end in bytes, equal for a chunk of padding."""
    start = index * PIECE_BYTES
    return min(start, content.length), min(start + PIECE_BYTES, content.length)


def ciphertext_length(content: Content, index: int) -> int:
    """The length of chunk `index` in bytes, tag included."""
    return _padded_piece_length(content.length, index) + TAG_BYTES


def check_content(content: Content) -> None:
    """Raises Malformed where `content` is not one that sealing could have made."""
    hashes = (content.root, content.salt, content.key_commitment, content.plaintext_commitment)
    if content.suite != SUITE or content.chunk != limits.CHUNK_BYTES:
        raise Malformed("content is of an unknown suite or chunk size")
    if not 0 < content.length <= limits.RECORD_BYTES_MAX or content.chunks != chunk_count(content.length):
        raise Malformed("content has a length out of its limits or another number of chunks")
    if any(len(item) != HASH_BYTES for item in hashes):
        raise Malformed("content has a field of the wrong length")


class Sealer:
    """Seals one record, fed in order, in pieces of any size (fastest: PIECE_BYTES at a time).

    `leaf_hashes` are the hashes of the chunks so far, one after the other: what a Tree is built from.
    """

    def __init__(self, key: bytes, salt: bytes, length: int) -> None:
        """`key` and `salt` are 32 fresh random bytes each, `length` the record's in bytes.

        Raises:
            Malformed: an empty record, or one over limits.RECORD_BYTES_MAX.
        """
        if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise LocalProtocolError("content key or salt is of the wrong length")
        if not 0 < length <= limits.RECORD_BYTES_MAX:
            raise Malformed(f"record of {length} bytes is empty or over the limit")
        self.leaf_hashes = bytearray()
        self._secrets = _Secrets(key, salt, length)
        self._salt = salt
        self._length = length
        self._chunks = chunk_count(length)
        self._fed = 0
        self._index = 0
        self._pending = bytearray()
        self._pieces = merkle.TreeBuilder()

    def seal(self, piece: bytes | memoryview) -> Iterator[bytes]:
        """The chunks that `piece` completes, in order; with the record's last byte, all that remain.

        The caller consumes the iterator to its end before the next call.

        Raises:
            Malformed: the record is longer than was said at the start.
        """
        self._fed += len(piece)
        if self._fed > self._length:
            raise Malformed("record is longer than it was at the start")
        return self._seal(memoryview(piece))

    def finish(self) -> Content:
        """The content, once all chunks were taken.

        Raises:
            Malformed: the record is shorter than was said at the start, or chunks were not taken.
        """
        if self._index != self._chunks:
            raise Malformed("record is shorter than it was at the start, or not all of it was sealed")
        return Content(
            suite=SUITE,
            chunk=limits.CHUNK_BYTES,
            length=self._length,
            chunks=self._chunks,
            root=merkle.Tree(bytes(self.leaf_hashes)).root,
            salt=self._salt,
            key_commitment=self._secrets.key_commitment,
            plaintext_commitment=self._secrets.plaintext_commitment(self._pieces.root()),
        )

    def _seal(self, piece: memoryview) -> Iterator[bytes]:
        while len(self._pending) + len(piece) >= PIECE_BYTES:
            if not self._pending:
                yield self._chunk(piece[:PIECE_BYTES])
                piece = piece[PIECE_BYTES:]
                continue
            room = PIECE_BYTES - len(self._pending)
            self._pending += piece[:room]
            piece = piece[room:]
            full, self._pending = self._pending, bytearray()
            yield self._chunk(memoryview(full))
        self._pending += piece
        if self._fed == self._length:
            yield from self._seal_end()

    def _seal_end(self) -> Iterator[bytes]:
        """The chunk with the record's end and those of padding alone."""
        while self._index < self._chunks:
            tail, self._pending = self._pending, bytearray()
            yield self._chunk(memoryview(tail))

    def _chunk(self, piece: memoryview) -> bytes:
        index, self._index = self._index, self._index + 1
        if piece:
            self._pieces.append(merkle.leaf_hash(piece))
        short = _padded_piece_length(self._length, index) - len(piece)
        padded = bytes(piece) + bytes(short) if short else piece
        chunk = self._secrets.seal(index, padded)
        self.leaf_hashes += merkle.leaf_hash(chunk)
        return chunk


class Opener:
    """Opens a whole record from its chunks in order. Nothing it returns is final before `finish`."""

    def __init__(self, content: Content, key: bytes) -> None:
        """Raises Malformed where the content is not well formed or `key` is not its key."""
        self._secrets = _secrets(content, key)
        self._content = content
        self._pieces = merkle.TreeBuilder()
        self.index, self.stop = 0, content.chunks

    def open(self, ciphertext: bytes, path: Sequence[bytes]) -> bytes:
        """The plaintext of the next chunk, verified against the root first; b"" for padding.

        Raises:
            Malformed: not chunk number `self.index` of this blob. The next call asks for it again.
        """
        return self.recall(_open_verified(self._content, self._secrets, self.index, ciphertext, path))

    def recall(self, piece: bytes) -> bytes:
        """Counts the next chunk as opened by an earlier run: `piece` is its plaintext, read back."""
        start, end = plaintext_range(self._content, self.index)
        if self.index >= self._content.chunks or len(piece) != end - start:
            raise Malformed("piece of a record is not of its length")
        if piece:
            self._pieces.append(merkle.leaf_hash(piece))
        self.index += 1
        return piece

    def finish(self) -> None:
        """Raises Malformed unless every chunk was opened and the record is the one committed to."""
        if self.index != self._content.chunks:
            raise Malformed("record is cut short")
        commitment = self._secrets.plaintext_commitment(self._pieces.root())
        if not hmac.compare_digest(commitment, self._content.plaintext_commitment):
            raise Malformed("record is not the one its token commits to")


class RangeOpener:
    """Opens the bytes from `start` to `end` of a record, from the chunks `index` to `stop` that cover them.

    Each chunk is verified against the root; only a whole record can be held against the commitment.
    """

    def __init__(self, content: Content, key: bytes, start: int, end: int) -> None:
        """Raises Malformed: not well formed, not its key, or no range of the record."""
        self._secrets = _secrets(content, key)
        if not 0 <= start < end <= content.length:
            raise Malformed("a range that the record does not have")
        self._content, self._start, self._end = content, start, end
        self.index, self.stop = start // PIECE_BYTES, -(-end // PIECE_BYTES)

    def open(self, ciphertext: bytes, path: Sequence[bytes]) -> bytes:
        """What of the range is in the next chunk. Raises Malformed as `Opener.open` does."""
        piece = _open_verified(self._content, self._secrets, self.index, ciphertext, path)
        first = self.index * PIECE_BYTES
        self.index += 1
        return piece[max(0, self._start - first) : self._end - first]

    def finish(self) -> None:
        """Raises Malformed unless every chunk of the range was opened."""
        if self.index != self.stop:
            raise Malformed("a range is cut short")


def verify_chunk(content: Content, index: int, ciphertext: bytes, path: Sequence[bytes]) -> bool:
    """Whether `ciphertext` is chunk `index` of the blob under `content.root`. Never raises."""
    if len(ciphertext) != ciphertext_length(content, index):
        return False
    return merkle.verify(ciphertext, index, content.chunks, path, content.root)


def open_chunk(content: Content, key: bytes, index: int, ciphertext: bytes) -> bytes:
    """The plaintext of one chunk, without its padding; verify the chunk first, or `open_verified`.

    Raises:
        Malformed: not the key of this content, or not chunk `index` under this key.
    """
    return _open(content, _secrets(content, key), index, ciphertext)


def open_verified(
    content: Content, key: bytes, index: int, ciphertext: bytes, path: Sequence[bytes]
) -> bytes:
    """As `open_chunk`, with the chunk verified against the root before it is decrypted.

    Raises:
        Malformed: not the key of this content, or not its chunk `index`.
    """
    return _open_verified(content, _secrets(content, key), index, ciphertext, path)


class _Secrets:
    """What is derived from the content key: the cipher and the two commitments."""

    def __init__(self, key: bytes, salt: bytes, length: int) -> None:
        self.key_commitment = hkdf(key, "chartmesh/1 blob key commitment", salt=salt)
        self._cipher = AESGCM(hkdf(key, "chartmesh/1 blob encryption", salt=salt))
        self._commitment_key = hkdf(key, "chartmesh/1 blob plaintext commitment", salt=salt)
        self._length_bytes = length.to_bytes(8, "big")
        self._associated = bytes((SUITE,)) + limits.CHUNK_BYTES.to_bytes(4, "big") + self._length_bytes
        self._last = chunk_count(length) - 1

    def seal(self, index: int, padded: bytes | memoryview) -> bytes:
        return self._cipher.encrypt(self._nonce(index), padded, self._associated)

    def open(self, index: int, ciphertext: bytes) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(index), ciphertext, self._associated)
        except InvalidTag as error:
            raise Malformed("chunk does not open under the content key") from error

    def plaintext_commitment(self, pieces_root: bytes) -> bytes:
        return hmac.digest(self._commitment_key, self._length_bytes + pieces_root, "sha256")

    def _nonce(self, index: int) -> bytes:
        return index.to_bytes(_COUNTER_BYTES, "big") + bytes((index == self._last,))


def _secrets(content: Content, key: bytes) -> _Secrets:
    check_content(content)
    secrets = _Secrets(key, content.salt, content.length)
    if not hmac.compare_digest(secrets.key_commitment, content.key_commitment):
        raise Malformed("content key is not the one its token commits to")
    return secrets


def _open_verified(
    content: Content, secrets: _Secrets, index: int, ciphertext: bytes, path: Sequence[bytes]
) -> bytes:
    if not verify_chunk(content, index, ciphertext, path):
        raise Malformed("chunk is not the one its token commits to")
    return _open(content, secrets, index, ciphertext)


def _open(content: Content, secrets: _Secrets, index: int, ciphertext: bytes) -> bytes:
    if not 0 <= index < content.chunks or len(ciphertext) != ciphertext_length(content, index):
        raise Malformed("chunk has no such number or is of the wrong length")
    padded = secrets.open(index, ciphertext)
    start, end = plaintext_range(content, index)
    piece_length = end - start
    if not padded.endswith(bytes(len(padded) - piece_length)):
        raise Malformed("record is padded with something else than zeros")
    return padded[:piece_length]


def _padded_piece_length(length: int, index: int) -> int:
    return min(PIECE_BYTES, padded_length(length) - index * PIECE_BYTES)
