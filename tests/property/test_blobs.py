"""Blobs of any size, fed in any pieces, open to the same bytes; blobs changed in any way do not open."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import blobs, limits, merkle
from protocol.blobs import PIECE_BYTES, Opener, Sealer
from protocol.errors import Malformed
from protocol.transactions import Content

KEY, SALT = b"k" * 32, b"s" * 32
LENGTHS = st.integers(1, 2000) | st.builds(
    lambda pieces, more: pieces * PIECE_BYTES + more, st.integers(1, 4), st.integers(-20, 20)
)


def record(length: int) -> bytes:
    """Bytes in which no two pieces are equal."""
    return b"".join(b"%015d\n" % number for number in range(length // 16 + 1))[:length]


def seal(plaintext: bytes, cuts: list[int]) -> tuple[Content, list[bytes], merkle.Tree]:
    sealer = Sealer(KEY, SALT, len(plaintext))
    chunks: list[bytes] = []
    for start, end in pairwise([0, *sorted(cut % len(plaintext) for cut in cuts), len(plaintext)]):
        chunks += sealer.seal(plaintext[start:end])
    return sealer.finish(), chunks, merkle.Tree(bytes(sealer.leaf_hashes))


LONG = record(3 * PIECE_BYTES + 100)
CONTENT, CHUNKS, TREE = seal(LONG, [])


@settings(max_examples=40)
@given(LENGTHS, st.lists(st.integers(0, 2**40), max_size=6))
def test_what_was_sealed_opens_and_the_cuts_do_not_matter(length: int, cuts: list[int]) -> None:
    plaintext = record(length)
    content, chunks, tree = seal(plaintext, cuts)
    assert seal(plaintext, [])[0] == content
    assert sum(map(len, chunks)) == blobs.padded_length(length) + 16 * content.chunks
    opener = Opener(content, KEY)
    opened = b"".join(opener.open(chunk, tree.path(index)) for index, chunk in enumerate(chunks))
    opener.finish()
    assert opened == plaintext


@settings(max_examples=60)
@given(st.integers(0, CONTENT.chunks - 1), st.integers(0, 2**20), st.integers(1, 255), st.booleans())
def test_a_chunk_with_one_byte_changed_does_not_open(
    index: int, place: int, flip: int, rooted: bool
) -> None:
    changed = bytearray(CHUNKS[index])
    changed[place % len(changed)] ^= flip
    refused(index, bytes(changed), rooted)


@settings(max_examples=60)
@given(
    st.integers(0, CONTENT.chunks - 1),
    st.integers(0, limits.CHUNK_BYTES),
    st.binary(max_size=40),
    st.booleans(),
)
def test_a_chunk_cut_or_lengthened_does_not_open(index: int, keep: int, more: bytes, rooted: bool) -> None:
    changed = CHUNKS[index][: keep % len(CHUNKS[index])] + more
    if changed != CHUNKS[index]:
        refused(index, changed, rooted)
    refused(index, CHUNKS[index] + b"\x00" + more, rooted)


@settings(max_examples=40)
@given(st.lists(st.integers(0, CONTENT.chunks - 1), max_size=CONTENT.chunks + 2), st.booleans())
def test_chunks_left_out_repeated_or_in_another_order_make_no_record(
    order: list[int], rooted: bool
) -> None:
    if order == list(range(CONTENT.chunks)):
        return
    chunks = [CHUNKS[index] for index in order]
    content, tree = CONTENT, TREE
    if rooted:
        tree = merkle.Tree(b"".join(map(merkle.leaf_hash, chunks)))
        content = msgspec.structs.replace(CONTENT, root=tree.root)
    places = range(len(order)) if rooted else order
    opened: list[bytes] = []
    with pytest.raises(Malformed):
        open_into(opened, content, chunks, [tree.path(place) for place in places])
    assert LONG.startswith(b"".join(opened))


@given(st.integers(1, limits.RECORD_BYTES_MAX), st.integers(0, 1000))
def test_padding_costs_at_most_an_eighth_and_keeps_order(length: int, more: int) -> None:
    padded = blobs.padded_length(length)
    assert length <= padded <= length + length // 8
    assert blobs.padded_length(padded) == padded <= blobs.padded_length(length + more)


@given(
    st.builds(Content, *[st.integers()] * 4, *[st.binary(max_size=33)] * 4),
    st.integers(),
    st.binary(max_size=40),
    st.lists(st.binary(max_size=33), max_size=4),
    st.binary(max_size=33),
)
def test_nothing_made_up_verifies_opens_or_raises_anything_else(
    content: Content, index: int, ciphertext: bytes, path: list[bytes], key: bytes
) -> None:
    assert not blobs.verify_chunk(content, index, ciphertext, path)
    for attempt in (
        lambda: Opener(content, key),
        lambda: blobs.open_chunk(content, key, index, ciphertext),
        lambda: blobs.open_verified(content, key, index, ciphertext, path),
    ):
        with pytest.raises(Malformed):
            attempt()


def open_into(
    opened: list[bytes], content: Content, chunks: list[bytes], paths: list[tuple[bytes, ...]]
) -> None:
    opener = Opener(content, KEY)
    for chunk, path in zip(chunks, paths, strict=True):
        opened.append(opener.open(chunk, path))
    opener.finish()


def refused(index: int, changed: bytes, rooted: bool) -> None:
    """Asserts that `changed` does not pass for chunk `index`, even with a root over it."""
    content, path = CONTENT, TREE.path(index)
    if rooted:
        chunks = [*CHUNKS[:index], changed, *CHUNKS[index + 1 :]]
        tree = merkle.Tree(b"".join(map(merkle.leaf_hash, chunks)))
        content, path = msgspec.structs.replace(CONTENT, root=tree.root), tree.path(index)
    else:
        assert not blobs.verify_chunk(content, index, changed, path)
    with pytest.raises(Malformed):
        blobs.open_verified(content, KEY, index, changed, path)
    with pytest.raises(Malformed):
        blobs.open_chunk(content, KEY, index, changed)
