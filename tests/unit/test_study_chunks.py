"""One image of a sealed study is opened from a few chunks, without the rest."""

import hashlib

import pytest

from protocol.blobs import PIECE_BYTES, Sealer, open_verified
from protocol.errors import Malformed
from protocol.merkle import Tree
from protocol.study import START_BYTES, StudyFile, decode_head, encode_head, head_length
from protocol.transactions import Content

KEY, SALT = b"k" * 32, b"s" * 32
COUNT = 200
FILES = {f"IM{number:04}": bytes((number,)) * (20_000 + number) for number in range(COUNT)}


class Holder:
    """Serves chunks of a sealed record, and counts them."""

    def __init__(self, record: bytes) -> None:
        sealer = Sealer(KEY, SALT, len(record))
        self.chunks = list(sealer.seal(record))
        self.content: Content = sealer.finish()
        self.served: set[int] = set()
        self._tree = Tree(bytes(sealer.leaf_hashes))

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the record, from the chunks that cover them and from no others, each verified."""
        pieces = b""
        for index in range(start // PIECE_BYTES, -(-end // PIECE_BYTES)):
            self.served.add(index)
            pieces += open_verified(self.content, KEY, index, self.chunks[index], self._tree.path(index))
        skipped = start // PIECE_BYTES * PIECE_BYTES
        return pieces[start - skipped : end - skipped]


@pytest.fixture(scope="module")
def record() -> bytes:
    described = [
        StudyFile(path, len(raw), hashlib.sha256(raw).digest(), "1.2.3", f"1.2.3.{path}", "CT")
        for path, raw in FILES.items()
    ]
    return encode_head(described) + b"".join(FILES.values())


@pytest.mark.parametrize("path", ["IM0000", "IM0100", f"IM{COUNT - 1:04}"])
def test_one_image_of_two_hundred_needs_the_index_and_the_chunks_it_lies_in(
    record: bytes, path: str
) -> None:
    holder = Holder(record)
    head = holder.read(0, head_length(holder.read(0, START_BYTES)))
    file, start = decode_head(head).find(path)
    image = holder.read(start, start + file.length)
    assert image == FILES[path]
    assert hashlib.sha256(image).digest() == file.sha256
    assert len(holder.served) <= 3
    assert len(holder.chunks) > 10


def test_a_holder_that_gives_another_chunk_is_not_believed(record: bytes) -> None:
    holder = Holder(record)
    holder.chunks[0] = holder.chunks[1]
    with pytest.raises(Malformed):
        holder.read(0, START_BYTES)
