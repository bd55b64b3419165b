"""`config show` and `config check`: what is printed can be a file again, and no mistake is left out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import config_jobs
from node.__main__ import main
from node.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.toml"))
WRONG = """\
[node]
rolle = "clinic"
name = "\\u0007"
[network]
listen = ["nowhere", "/ip4/127.0.0.1/tcp/4001"]
[storage]
quota_bytes = 1
blob_write_buffer_bytes = "much"
[colour]
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        yield


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["config", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_shown_is_a_file_with_the_same_settings(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, shown = ran(capsys, "show", "--config", str(path), "--origin")
    again = tmp_path / "again.toml"
    again.write_text(shown)
    before, after = load_config(path, {}), load_config(again, {})
    assert (status, config_jobs.settings_of(after)) == (0, config_jobs.settings_of(before))


def test_the_origin_of_each_setting_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text('[node]\nname = "a"\n[log]\nlevel = "error"\n')
    monkeypatch.setenv("CHARTMESH_CONFIG", str(file))
    monkeypatch.setenv("CHARTMESH_LOG_LEVEL", "debug")
    _, shown = ran(capsys, "show", "--data-dir", str(tmp_path / "here"), "--json")
    told = {row["key"]: (row["value"], row["origin"]) for row in json.loads(shown)["settings"]}
    assert told["node.data_dir"] == (str(tmp_path / "here"), "flag")
    assert told["log.level"] == ("debug", "environment CHARTMESH_LOG_LEVEL")
    assert told["node.name"] == ("a", f"file {file}")
    assert told["network.clinics"] == ([], "default")
    assert "level" not in ran(capsys, "show")[1].replace('level = "debug"\n', "")


def test_every_mistake_is_told_below_its_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A name like a key, and a variable that would mend a mistake: neither may matter.
    file = tmp_path / "log.level"
    file.write_text(WRONG)
    monkeypatch.setenv("CHARTMESH_STORAGE_QUOTA_BYTES", "1000000000")
    status, told = ran(capsys, "check", str(file), "--json")
    found = json.loads(told)
    assert (status, found["ok"]) == (1, False)
    assert sorted(one["section"] for one in found["problems"]) == [
        "colour",
        "network",
        "node",
        "node",
        "storage",
        "storage",
    ]
    status, printed = ran(capsys, "check", str(file))
    sections = [line for line in printed.splitlines() if line.startswith("[")]
    assert (status, sorted(sections)) == (1, ["[colour]", "[network]", "[node]", "[storage]"])
    assert "did you mean node.role?" in printed


def test_without_a_file_all_that_is_in_force_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "check") == (0, "no mistake found\n")
    monkeypatch.setenv("CHARTMESH_LOG_LEVEL", "loud")
    status, printed = ran(capsys, "check")
    assert (status, printed.splitlines()[0]) == (1, "[log]")
    (tmp_path / "none").write_text("")
    assert ran(capsys, "check", str(tmp_path / "none"))[0] == 0
    assert "No such file" in ran(capsys, "check", str(tmp_path / "nowhere"))[1]
