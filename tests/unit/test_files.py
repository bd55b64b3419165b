"""Record files in and out: clear errors before anything is sent, nothing half-written."""

import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.files import Incoming, RecordFile
from protocol import limits
from protocol.errors import ChartmeshError, Code
from protocol.records import safe_name

TOKEN = "ab" * 32


def error_of(path: Path) -> ChartmeshError:
    with pytest.raises(ChartmeshError) as caught:
        RecordFile(path)
    assert caught.value.code is Code.RECORD_FILE
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_file_is_read_whole_in_pieces_within_the_limit(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    path = tmp_path / "bundle.json"
    path.write_bytes(content)
    with RecordFile(path) as record:
        assert (record.name, record.size) == ("bundle.json", len(content))
        pieces = list(record.pieces())
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= limits.CONTROL_FRAME_BYTES_MAX


def test_a_missing_an_empty_and_a_wrong_kind_of_file_are_told_apart(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "not there" in error_of(tmp_path / "missing").message
    assert "empty" in error_of(empty).message
    assert "a directory" in error_of(tmp_path).message
    assert "not a file" in error_of(fifo).message


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(limits.RECORD_BYTES_MAX + 1)
    assert "larger than" in error_of(path).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "closed"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "cannot read" in error_of(path).message


@pytest.mark.parametrize("now", [b"short", b"longer than before"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "moving"
    path.write_bytes(b"ten bytes!")
    with RecordFile(path) as record:
        path.write_bytes(now)
        with pytest.raises(ChartmeshError, match="changed") as caught:
            list(record.pieces())
    assert caught.value.code is Code.RECORD_FILE


def test_what_comes_in_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "record"
    target.write_bytes(b"before")
    with Incoming(tmp_path) as incoming:
        incoming.write(b"af")
        incoming.write(b"ter")
        assert target.read_bytes() == b"before"
        incoming.keep(target)
    assert target.read_bytes() == b"after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["record"]
    assert incoming.bytes == 5


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), Incoming(tmp_path) as incoming:
        incoming.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ChartmeshError) as caught:
        Incoming(tmp_path / "nowhere")
    assert caught.value.code is Code.RECORD_FILE


def test_a_disk_that_takes_no_more_is_a_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with Incoming(tmp_path) as incoming, pytest.raises(ChartmeshError) as caught:
            incoming.write(bytes(limits.CONTROL_FRAME_BYTES_MAX))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code is Code.RECORD_FILE
    assert str(tmp_path) in caught.value.message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("suggested", "name"),
    [
        ("bundle.json", "abababababab-bundle.json"),
        ("/etc/passwd", "abababababab-passwd"),
        ("..\\..\\evil.exe", "abababababab-evil.exe"),
        ("../..", "abababababab"),
        ("", "abababababab"),
        (".bashrc", "abababababab-bashrc"),
        ("a\x1b[31mb\nc.pdf", "abababababab-a_31mb_c.pdf"),
        ("Röntgen Hüfte.dcm", "abababababab-Röntgen_Hüfte.dcm"),
    ],
)
def test_a_name_from_a_stranger_becomes_a_harmless_one(suggested: str, name: str) -> None:
    assert safe_name(TOKEN, suggested) == name


@given(st.text())
def test_no_suggested_name_leaves_its_folder(suggested: str) -> None:
    name = safe_name(TOKEN, suggested)
    assert Path(name).name == name
    assert name.startswith(TOKEN[:12])
    assert len(name) <= 120
    assert name.isprintable()
