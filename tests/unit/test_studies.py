"""A folder as one record: read without being held, and never as something that it was not."""

import tracemalloc
from pathlib import Path

import pytest

from cli.studies import StudyFolder, unpack
from protocol import limits
from protocol.errors import ChartmeshError, Code
from protocol.examined import Examined
from tests.unit.test_study import packed

SIZE = 8 * limits.MIB


def ready(path: Path) -> StudyFolder:
    folder = StudyFolder(path)
    folder.describe([Examined("dicom", "sound")] * len(folder.files))
    return folder


def test_a_folder_is_read_in_pieces_and_is_what_packing_makes_of_it(tmp_path: Path) -> None:
    files = {"b/2": b"two" * 40_000, "b/1": b"", "a": b"one"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    folder = ready(tmp_path)
    pieces = list(folder.pieces())
    assert b"".join(pieces) == packed(files)
    assert folder.size == len(packed(files))
    assert max(map(len, pieces)) <= limits.CONTROL_FRAME_BYTES_MAX


@pytest.mark.parametrize("changed", [b"2wo", b"two and more", b""])
def test_a_file_that_changes_after_it_was_looked_at_is_noticed(tmp_path: Path, changed: bytes) -> None:
    for name, content in (("1", b"one"), ("2", b"two")):
        (tmp_path / name).write_bytes(content)
    pieces = ready(tmp_path).pieces()
    next(pieces)
    (tmp_path / "2").write_bytes(changed)
    with pytest.raises(ChartmeshError, match="changed") as caught:
        list(pieces)
    assert caught.value.code is Code.RECORD_FILE


def test_the_memory_for_a_study_is_flat_on_both_ends(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("1", "2"):
        (tmp_path / "out" / name).write_bytes(bytes(SIZE))
    tracemalloc.start()
    try:
        folder = ready(tmp_path / "out")
        with (tmp_path / "in").open("wb") as file:
            for piece in folder.pieces():
                file.write(piece)
        unpack(tmp_path / "in")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < SIZE // 4
    assert (tmp_path / "in" / "2").stat().st_size == SIZE


@pytest.mark.parametrize("name", ["CON:", "a*b", "ends.", "new\nline"])
def test_a_name_that_not_every_disk_keeps_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ChartmeshError) as caught:
        StudyFolder(tmp_path)
    assert (caught.value.code, caught.value.hint) == (Code.RECORD_FILE, "rename it")
