"""Blobs: the committed format, sizes around chunk boundaries, and what must not open."""

import hmac
from hashlib import sha256
from itertools import pairwise

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol import blobs, limits, merkle
from protocol.blobs import PIECE_BYTES, Opener, RangeOpener, Sealer
from protocol.errors import LocalProtocolError, Malformed
from protocol.keys import hkdf
from protocol.transactions import Content

KEY = bytes(range(32))
SALT = bytes(range(32, 64))
Chunks = list[bytes]
Paths = list[tuple[bytes, ...]]


def record(length: int) -> bytes:
    return (sha256(b"record").digest() * (length // 32 + 1))[:length]


TWO_CHUNKS = record(2 * PIECE_BYTES - 20_000)


def seal(plaintext: bytes, key: bytes = KEY, salt: bytes = SALT) -> tuple[Content, Chunks, Paths]:
    sealer = Sealer(key, salt, len(plaintext))
    chunks = list(sealer.seal(plaintext))
    content = sealer.finish()
    tree = merkle.Tree(bytes(sealer.leaf_hashes))
    assert (tree.size, tree.root) == (content.chunks, content.root)
    return content, chunks, [tree.path(index) for index in range(content.chunks)]


def open_all(content: Content, key: bytes, chunks: Chunks, paths: Paths) -> bytes:
    opener = Opener(content, key)
    plaintext = b"".join(opener.open(chunk, path) for chunk, path in zip(chunks, paths, strict=True))
    opener.finish()
    return plaintext


def rooted(content: Content, chunks: Chunks, **changes: int) -> tuple[Content, Paths]:
    """`content` changed and its root made anew: what a lying issuer could sign."""
    tree = merkle.Tree(b"".join(map(merkle.leaf_hash, chunks)))
    forged = msgspec.structs.replace(content, root=tree.root, chunks=len(chunks), **changes)
    return forged, [tree.path(index) for index in range(len(chunks))]


def forged_chunk(padded: bytes) -> bytes:
    """The only chunk of a record of 100 bytes, with anything for its padded plaintext."""
    cipher = AESGCM(hkdf(KEY, "chartmesh/1 blob encryption", salt=SALT))
    associated = b"\x01" + (256 * 1024).to_bytes(4, "big") + (100).to_bytes(8, "big")
    return cipher.encrypt(bytes(11) + b"\x01", padded, associated)


def test_the_format_of_a_known_record_never_changes() -> None:
    content, chunks, _ = seal(record(PIECE_BYTES + 1000))
    assert [len(chunk) for chunk in chunks] == [limits.CHUNK_BYTES, 8224]
    assert content.root.hex() == "552ef5c146e28e4105127e72d79ca481e55ecd7aab6175ce9849c959b4cfb68a"
    assert (
        content.key_commitment.hex() == "6686a47cab922d4466871f8dce55592c119ea6f286ac2495813aa04d78d424a0"
    )
    assert (
        content.plaintext_commitment.hex()
        == "0650fefacb2acfd2a300f860e2e7af3375bd9ec3ff34b0c3233db62aa37e1fad"
    )


def test_a_chunk_is_aes_gcm_under_its_number_and_the_last_flag() -> None:
    plaintext = record(PIECE_BYTES + 1000)
    content, chunks, _ = seal(plaintext)
    cipher = AESGCM(hkdf(KEY, "chartmesh/1 blob encryption", salt=SALT))
    associated = b"\x01" + (256 * 1024).to_bytes(4, "big") + content.length.to_bytes(8, "big")
    first = cipher.decrypt(bytes(11) + b"\x00", chunks[0], associated)
    last = cipher.decrypt(bytes(10) + b"\x01\x01", chunks[1], associated)
    assert first == plaintext[:PIECE_BYTES]
    assert last == plaintext[PIECE_BYTES:] + bytes(blobs.padded_length(len(plaintext)) - len(plaintext))


def test_the_plaintext_commitment_is_a_keyed_hash_of_length_and_root() -> None:
    plaintext = record(PIECE_BYTES + 5)
    root = merkle.root([plaintext[:PIECE_BYTES], plaintext[PIECE_BYTES:]])
    key = hkdf(KEY, "chartmesh/1 blob plaintext commitment", salt=SALT)
    expected = hmac.digest(key, len(plaintext).to_bytes(8, "big") + root, "sha256")
    assert seal(plaintext)[0].plaintext_commitment == expected


def test_equal_records_share_nothing_under_other_keys_or_salts() -> None:
    same = [seal(record(1000), *secret)[0] for secret in ((KEY, SALT), (SALT, SALT), (KEY, KEY))]
    for field in ("root", "key_commitment", "plaintext_commitment"):
        assert len({getattr(content, field) for content in same}) == 3


@pytest.mark.parametrize(
    ("length", "padded"),
    [(1, 1), (2, 2), (3, 3), (8, 8), (9, 10), (100, 104), (1000, 1024), (1025, 1088), (10**6, 1015808)],
)
def test_padding_is_padme(length: int, padded: int) -> None:
    assert blobs.padded_length(length) == padded


def test_the_greatest_record_stays_within_the_limits_of_its_content() -> None:
    assert blobs.padded_length(limits.RECORD_BYTES_MAX) == limits.RECORD_BYTES_MAX
    assert blobs.chunk_count(limits.RECORD_BYTES_MAX) < 2 * limits.RECORD_BYTES_MAX // limits.CHUNK_BYTES


@pytest.mark.parametrize(
    "length", [1, 2, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 7]
)
def test_ranges_of_the_chunks_make_up_the_record(length: int) -> None:
    plaintext = record(length)
    content, chunks, paths = seal(plaintext)
    ranges = [blobs.plaintext_range(content, index) for index in range(content.chunks)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == length
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    for index in reversed(range(content.chunks)):
        start, end = ranges[index]
        assert len(chunks[index]) == blobs.ciphertext_length(content, index)
        piece = blobs.open_verified(content, KEY, index, chunks[index], paths[index])
        assert piece == blobs.open_chunk(content, KEY, index, chunks[index]) == plaintext[start:end]


def test_chunks_of_padding_alone_hold_nothing() -> None:
    length = 65 * PIECE_BYTES
    content, chunks, paths = seal(bytes(length))
    assert content.chunks == 67
    for index in (65, 66):
        assert blobs.plaintext_range(content, index) == (length, length)
        assert blobs.open_verified(content, KEY, index, chunks[index], paths[index]) == b""
    assert open_all(content, KEY, chunks, paths) == bytes(length)


def test_an_empty_or_too_long_record_is_not_sealed() -> None:
    for length in (0, -1, limits.RECORD_BYTES_MAX + 1):
        with pytest.raises(Malformed):
            Sealer(KEY, SALT, length)


def test_keys_and_salts_of_another_length_are_our_own_bug() -> None:
    for key, salt in ((KEY[1:], SALT), (KEY, SALT[1:])):
        with pytest.raises(LocalProtocolError):
            Sealer(key, salt, 1)


def test_a_record_that_changed_its_length_while_it_was_read_is_refused() -> None:
    shrunk = Sealer(KEY, SALT, 10)
    assert list(shrunk.seal(bytes(9))) == []
    with pytest.raises(Malformed):
        shrunk.finish()
    with pytest.raises(Malformed):
        Sealer(KEY, SALT, 10).seal(bytes(11))


def test_chunks_that_nobody_took_are_noticed() -> None:
    sealer = Sealer(KEY, SALT, 10)
    sealer.seal(bytes(10))
    with pytest.raises(Malformed):
        sealer.finish()


def test_a_wrong_key_is_refused_before_any_chunk() -> None:
    content, chunks, paths = seal(record(10))
    for key in (SALT, KEY[:31], KEY + b"\x00", b""):
        with pytest.raises(Malformed):
            Opener(content, key)
        with pytest.raises(Malformed):
            blobs.open_verified(content, key, 0, chunks[0], paths[0])
        with pytest.raises(Malformed):
            blobs.open_chunk(content, key, 0, chunks[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": 2},
        {"chunk": limits.CHUNK_BYTES // 2},
        {"length": 0},
        {"length": -1},
        {"length": 2**80},
        {"length": 1001},
        {"length": 999},
        {"length": PIECE_BYTES + 1},
        {"chunks": 0},
        {"chunks": 2},
        {"root": bytes(31)},
        {"root": bytes(32)},
        {"salt": bytes(32)},
        {"salt": b""},
        {"key_commitment": bytes(32)},
        {"key_commitment": b""},
        {"plaintext_commitment": bytes(32)},
        {"plaintext_commitment": b""},
    ],
)
def test_a_content_with_any_field_changed_does_not_open(changes: dict[str, int | bytes]) -> None:
    content, chunks, paths = seal(record(1000))
    with pytest.raises(Malformed):
        open_all(msgspec.structs.replace(content, **changes), KEY, chunks, paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunks": 1},
        {"chunks": 3},
        {"root": bytes(31)},
        {"salt": bytes(33)},
        {"key_commitment": b""},
        {"plaintext_commitment": bytes(31)},
    ],
)
def test_a_content_that_sealing_could_not_have_made_is_refused_at_sight(
    changes: dict[str, int | bytes],
) -> None:
    content, _, _ = seal(TWO_CHUNKS)
    blobs.check_content(content)
    with pytest.raises(Malformed):
        blobs.check_content(msgspec.structs.replace(content, **changes))


def test_a_chunk_of_another_length_is_refused_even_where_the_issuer_sealed_it_so() -> None:
    content, _, _ = seal(record(100))
    for padded in (record(50), record(100), record(100) + bytes(5)):
        chunks = [forged_chunk(padded)]
        forged, paths = rooted(content, chunks)
        assert not blobs.verify_chunk(forged, 0, chunks[0], paths[0])
        with pytest.raises(Malformed):
            blobs.open_chunk(forged, KEY, 0, chunks[0])
    forged, paths = rooted(content, [forged_chunk(record(100) + bytes(4))])
    assert blobs.open_verified(forged, KEY, 0, forged_chunk(record(100) + bytes(4)), paths[0]) == record(
        100
    )


@pytest.mark.parametrize("length", [0, -1, -5, -(2**70), 2**70])
def test_a_chunk_of_a_made_up_length_is_false_and_never_raises(length: int) -> None:
    content, chunks, paths = seal(record(100))
    assert not blobs.verify_chunk(msgspec.structs.replace(content, length=length), 0, chunks[0], paths[0])


def test_another_length_with_the_same_padding_does_not_open_even_one_chunk() -> None:
    content, chunks, _ = seal(record(1000))
    longer = msgspec.structs.replace(content, length=1001)
    assert blobs.padded_length(1001) == blobs.padded_length(1000)
    with pytest.raises(Malformed):
        blobs.open_chunk(longer, KEY, 0, chunks[0])


def test_truncation_and_reordering_fail_even_where_the_issuer_made_a_root_over_them() -> None:
    content, chunks, _ = seal(record(3 * PIECE_BYTES))
    for kept in (chunks[:2], chunks[1:], [chunks[1], chunks[0], chunks[2]], [chunks[0]] * 3):
        for length in (content.length, len(kept) * PIECE_BYTES):
            forged, paths = rooted(content, kept, length=length)
            with pytest.raises(Malformed):
                open_all(forged, KEY, kept, paths)


def test_bytes_are_verified_against_the_root_before_they_are_decrypted() -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    forged, _ = rooted(content, chunks[::-1])
    for index, chunk in enumerate(chunks):
        assert blobs.open_chunk(forged, KEY, index, chunk)
        with pytest.raises(Malformed):
            blobs.open_verified(forged, KEY, index, chunk, paths[index])
        with pytest.raises(Malformed):
            Opener(forged, KEY).open(chunk, paths[index])


@pytest.mark.parametrize("index", [-1, 2, 2**90])
def test_a_chunk_of_no_such_number_is_refused(index: int) -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    assert not blobs.verify_chunk(content, index, chunks[0], paths[0])
    with pytest.raises(Malformed):
        blobs.open_chunk(content, KEY, index, chunks[0])


def test_padding_other_than_zeros_is_refused() -> None:
    content, _, _ = seal(record(100))
    chunks = [forged_chunk(record(100) + b"\x00\x00\x01\x00")]
    forged, paths = rooted(content, chunks)
    with pytest.raises(Malformed, match="padded"):
        open_all(forged, KEY, chunks, paths)


def test_a_record_other_than_the_one_committed_to_is_refused_at_the_end() -> None:
    content, chunks, paths = seal(record(100))
    other = msgspec.structs.replace(content, plaintext_commitment=SALT)
    opener = Opener(other, KEY)
    opener.open(chunks[0], paths[0])
    with pytest.raises(Malformed):
        opener.finish()


def test_a_record_cut_short_is_refused_at_the_end() -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    opener = Opener(content, KEY)
    opener.open(chunks[0], paths[0])
    with pytest.raises(Malformed, match="cut short"):
        opener.finish()


def test_an_opener_asks_again_for_the_chunk_it_refused() -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    opener = Opener(content, KEY)
    with pytest.raises(Malformed):
        opener.open(chunks[1], paths[1])
    assert opener.index == 0
    assert opener.open(chunks[0], paths[0]) + opener.open(chunks[1], paths[1]) == TWO_CHUNKS
    with pytest.raises(Malformed):
        opener.open(chunks[1], paths[1])
    opener.finish()


def test_an_interrupted_record_is_resumed_from_what_was_written() -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    opener = Opener(content, KEY)
    opener.recall(TWO_CHUNKS[:PIECE_BYTES])
    opener.open(chunks[1], paths[1])
    opener.finish()


def test_a_resumed_record_whose_first_part_was_altered_is_refused() -> None:
    content, chunks, paths = seal(TWO_CHUNKS)
    opener = Opener(content, KEY)
    for wrong in (b"", bytes(PIECE_BYTES - 1), bytes(PIECE_BYTES + 1)):
        with pytest.raises(Malformed):
            opener.recall(wrong)
    opener.recall(bytes(PIECE_BYTES))
    opener.open(chunks[1], paths[1])
    with pytest.raises(Malformed):
        opener.finish()
    with pytest.raises(Malformed):
        opener.recall(b"")


END = 3 * PIECE_BYTES + 100
"""The length of a record of four chunks, the last with padding."""


@pytest.mark.parametrize(
    ("start", "end", "indexes"),
    [
        (0, 1, range(1)),
        (PIECE_BYTES - 1, PIECE_BYTES, range(1)),
        (PIECE_BYTES - 1, PIECE_BYTES + 1, range(2)),
        (PIECE_BYTES, 2 * PIECE_BYTES, range(1, 2)),
        (PIECE_BYTES + 5, 3 * PIECE_BYTES + 7, range(1, 4)),
        (END - 1, END, range(3, 4)),
        (0, END, range(4)),
    ],
)
def test_a_range_is_opened_from_the_chunks_that_it_lies_in(start: int, end: int, indexes: range) -> None:
    whole = record(END)
    content, chunks, paths = seal(whole)
    opener = RangeOpener(content, KEY, start, end)
    assert range(opener.index, opener.stop) == indexes
    assert b"".join(opener.open(chunks[index], paths[index]) for index in indexes) == whole[start:end]
    opener.finish()


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5), (0, END + 1), (END, END + 1)])
def test_a_range_that_the_record_does_not_have_is_refused(start: int, end: int) -> None:
    content, _, _ = seal(record(END))
    with pytest.raises(Malformed, match="range"):
        RangeOpener(content, KEY, start, end)


def test_a_range_is_no_way_around_the_root_the_key_or_the_order() -> None:
    content, chunks, paths = seal(record(END))
    with pytest.raises(Malformed):
        RangeOpener(content, bytes(32), 0, END)
    opener = RangeOpener(content, KEY, PIECE_BYTES, END)
    for chunk, path in ((chunks[0], paths[0]), (chunks[2], paths[2]), (chunks[1], paths[2])):
        with pytest.raises(Malformed):
            opener.open(chunk, path)
    opener.open(chunks[1], paths[1])
    with pytest.raises(Malformed, match="cut short"):
        opener.finish()
