"""The container of a study gives back what was put in, and refuses whatever would not be that."""

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol import limits
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.study import (
    MAGIC,
    START_BYTES,
    StudyFile,
    StudyIndex,
    Unpacker,
    decode_head,
    encode_head,
    head_length,
)

FILES = {"IM/0001": b"first" * 70, "IM/0002": b"", "DICOMDIR": b"\x00\x01", "notes.txt": b"n" * 900}


def described(path: str, content: bytes) -> StudyFile:
    return StudyFile(path, len(content), hashlib.sha256(content).digest())


def packed(files: dict[str, bytes]) -> bytes:
    head = encode_head([described(*item) for item in files.items()])
    return head + b"".join(files[path] for path in sorted(files))


def unpacked(pieces: Iterable[bytes]) -> dict[str, bytes]:
    """The files of a record that comes in pieces. Each must be told to be whole once, at its end."""
    unpacker, found, whole = Unpacker(), dict[str, bytes](), list[str]()
    for piece in pieces:
        for file, some, is_last in unpacker.feed(piece):
            found[file.path] = found.get(file.path, b"") + some
            whole += [file.path] * is_last
    assert [one.path for one in unpacker.finish().files] == whole == sorted(found)
    return found


def forged(*files: StudyFile, version: int = 1) -> bytes:
    """A head that nobody checked."""
    raw = encode(StudyIndex(version, files))
    return MAGIC + len(raw).to_bytes(4, "big") + raw


NAMES = st.text("abcXYZ019._-é", min_size=1, max_size=8).filter(lambda one: not one.endswith("."))


@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=700), min_size=1
    ),
    st.integers(1, 400),
)
def test_what_was_packed_comes_out_in_pieces_of_any_size(files: dict[str, bytes], step: int) -> None:
    try:
        record = packed(files)
    except Malformed:
        folded = [path.casefold() for path in files]
        folders = {"/".join(path.split("/")[:count]) for path in folded for count in range(1, 4)}
        assert len(set(folded)) < len(folded) or folders.intersection(folded) or mixed_case(files)
        return
    assert unpacked(record[at : at + step] for at in range(0, len(record), step)) == files
    study = decode_head(record[: head_length(record)])
    assert study.length == len(record)
    for path, content in files.items():
        file, start = study.find(path)
        assert record[start : start + file.length] == content


def mixed_case(files: Iterable[str]) -> bool:
    """Whether two folders among the paths differ in case alone."""
    folders = {"/".join(path.split("/")[:count]) for path in files for count in range(1, 4)}
    return len({one.casefold() for one in folders}) < len(folders)


def test_equal_files_make_equal_bytes_in_whatever_order_they_are_found() -> None:
    assert packed(FILES) == packed(dict(reversed(FILES.items())))


@given(st.data())
def test_no_byte_of_a_record_can_be_another(data: st.DataObject) -> None:
    record = bytearray(packed(FILES))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    # A path or a word of DICOM may have become another: what binds them is the record's own root.
    try:
        found = unpacked([bytes(record)])
    except Malformed:
        return
    assert at < head_length(packed(FILES))
    assert sorted(found.values()) == sorted(FILES.values())


@pytest.mark.parametrize("cut", [0, 5, START_BYTES, START_BYTES + 9, -900, -1])
def test_a_record_that_was_cut_is_told_from_a_whole_one(cut: int) -> None:
    with pytest.raises(Malformed):
        unpacked([packed(FILES)[:cut]])


def test_bytes_after_the_last_file_are_refused() -> None:
    with pytest.raises(Malformed, match="longer"):
        unpacked([packed(FILES), b"x"])


def test_a_file_that_is_not_the_indexed_one_is_not_called_whole() -> None:
    record = packed({"a": b"one", "b": b"two"}).replace(b"one", b"0ne")
    seen = []
    with pytest.raises(Malformed, match="the file a"):
        seen += list(Unpacker().feed(record))
    assert seen == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a/./b",
        "a//b",
        "a/",
        "C:\\x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
        "aux:stream",
        "ends.",
        "ends ",
        " begins",
        "e\N{COMBINING ACUTE ACCENT}",
        "x" * (limits.STUDY_PATH_CHARS_MAX + 1),
        "a/" * limits.STUDY_DEPTH_MAX + "b",
    ],
)
def test_a_path_that_leads_astray_is_refused_on_both_ways(path: str) -> None:
    with pytest.raises(Malformed):
        encode_head([described(path, b"x")])
    with pytest.raises(Malformed):
        decode_head(forged(described(path, b"x")))


@pytest.mark.parametrize(
    "paths",
    [("a", "a"), ("b", "a"), ("A", "a"), ("A/x", "a/y"), ("a", "a/b"), ("STRASSE", "straße")],
)
def test_paths_that_are_one_on_some_disks_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        decode_head(forged(*(described(path, b"x") for path in paths)))


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": b"short"},
        {"length": -1},
        {"length": limits.RECORD_BYTES_MAX + 1},
        {"length": limits.RECORD_BYTES_MAX},  # fits by itself, and not with the head
        {"series": "1" * 65},
        {"modality": "C\nT"},
    ],
)
def test_a_file_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decode_head(forged(replace(described("a", b"x"), **changed)))


def test_heads_beyond_the_limits_are_refused_before_they_are_read() -> None:
    with pytest.raises(Malformed, match="limit"):
        head_length(MAGIC + (limits.STUDY_INDEX_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(Malformed, match="version"):
        decode_head(forged(described("a", b"x"), version=2))
    many = [described(f"{number:05}", b"") for number in range(limits.STUDY_FILES_MAX + 1)]
    with pytest.raises(Malformed, match="files"):
        encode_head(many)
    words = dict.fromkeys(("series", "instance", "modality"), "1" * 64)
    long = [replace(one, path=f"{one.path}/{'x' * 240}", **words) for one in many]
    with pytest.raises(Malformed, match="index"):
        encode_head(long[:-1])
    assert decode_head(encode_head(many[:-1])).files == tuple(many[:-1])


def test_a_path_that_is_not_there_is_not_found() -> None:
    record = packed(FILES)
    study = decode_head(record[: head_length(record)])
    for path in ("IM", "IM/0003", "zzz", ""):
        with pytest.raises(Malformed, match="no file"):
            study.find(path)
