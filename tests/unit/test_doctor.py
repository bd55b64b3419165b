"""`doctor`: each thing that can be wrong with a node's files is found, named, and nothing else with it."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from node import doctor, paths
from node.__main__ import main
from node.adapters import SystemClock
from node.config import load_config
from node.demo.stage import free_ports
from node.doctor import Finding


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A clinic's data directory, under a short path."""
    for name in [name for name in os.environ if name.startswith("CHARTMESH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    data_dir = tmp_path / "n"
    listen = f"/ip4/127.0.0.1/tcp/{free_ports(1)[0]}"
    flags = ["--listen", listen, "--role", "clinic", "--name", "a", "--insecure-no-passphrase"]
    with pytest.raises(SystemExit) as ended:
        main(["init", "--data-dir", str(data_dir), *flags])
    assert ended.value.code == 0, capsys.readouterr()
    capsys.readouterr()
    return data_dir


def examined(home: Path, *, is_mending: bool = False) -> list[Finding]:
    config = load_config(None, {}, {"node.data_dir": home})
    return list(doctor.examine(config, flags=" --data-dir n", is_mending=is_mending))


def wrong(found: list[Finding]) -> set[str]:
    named = [one for one in found if one.state == "wrong"]
    assert all(one.text and one.fix for one in named)
    return {one.check for one in named}


def told(capsys: pytest.CaptureFixture[str], home: Path) -> list[dict[str, str]]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--data-dir", str(home)])
    document = json.loads(capsys.readouterr().out)
    assert (ended.value.code, document["v"]) == (0, 1)
    checks: list[dict[str, str]] = document["checks"]
    return checks


def test_with_a_new_node_nothing_is_wrong_and_what_comes_next_is_named(home: Path) -> None:
    before = sorted(home.iterdir())
    found = examined(home)
    assert wrong(found) == set()
    warnings = {one.check: one.fix for one in found if one.state == "warning"}
    assert warnings["network"] == "chartmesh network join --data-dir n GENESIS|CODE"
    assert warnings["daemon"] == "chartmesh start --data-dir n"
    assert "keys" in warnings
    assert sorted(home.iterdir()) == before


def set_ahead(home: Path) -> None:
    later_s = SystemClock().wall_ms() / 1000 + 3600
    os.utime(paths.card(home), (later_s, later_s))


@pytest.mark.parametrize(
    ("spoil", "checks"),
    [
        pytest.param(lambda home: paths.keyfile(home).chmod(0o640), {"modes", "keys"}, id="open keys"),
        pytest.param(lambda home: home.chmod(0o755), {"modes"}, id="open folder"),
        pytest.param(lambda home: paths.keyfile(home).unlink(), {"keys"}, id="no keys"),
        pytest.param(lambda home: paths.keyfile(home).write_bytes(b"x" * 99), {"keys"}, id="other keys"),
        pytest.param(lambda home: paths.votes(home).unlink(), {"votes"}, id="no votes"),
        pytest.param(lambda home: paths.votes(home).write_bytes(b""), {"votes"}, id="empty votes"),
        pytest.param(lambda home: paths.genesis(home).write_text("none"), {"network"}, id="genesis"),
        pytest.param(set_ahead, {"clock"}, id="clock"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_else(
    home: Path, spoil: Callable[[Path], object], checks: set[str]
) -> None:
    spoil(home)
    assert wrong(examined(home)) == checks


def test_modes_are_mended_where_that_is_asked_for(home: Path) -> None:
    paths.keyfile(home).chmod(0o644)
    home.chmod(0o750)
    assert wrong(examined(home, is_mending=True)) == set()
    assert paths.keyfile(home).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_port_that_another_process_has_is_named(home: Path) -> None:
    [address] = load_config(None, {}, {"node.data_dir": home}).network.listen
    with socket.create_server(("127.0.0.1", int(address.rpartition("/")[2]))):
        assert wrong(examined(home)) == {"port"}


def test_a_daemon_that_does_not_listen_is_named(home: Path) -> None:
    paths.genesis(home).write_text("none")
    with socket.socket(socket.AF_UNIX) as control:
        control.bind("n/control.sock")
        control.listen()
        found = examined(home)
    assert Finding("daemon", "ok", "it runs") in found
    assert wrong(found) == {"network", "port"}


def test_mistakes_of_the_configuration_and_a_missing_node_are_findings_too(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one["check"] for one in told(capsys, tmp_path / "nowhere") if one["state"] == "wrong"] == [
        "folder"
    ]
    paths.config(home).write_text("[log]\nlevel = 3\n[colour]\n")
    assert [one["check"] for one in told(capsys, home)] == ["config", "config"]
