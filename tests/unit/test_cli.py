"""The command tree: what it loads, its usage errors, exit statuses and the shape of its errors."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from cli import launch
from cli.main import chartmesh, run
from cli.settings import Settings
from node.config import load_config
from protocol.control import SOCKET_NAME
from protocol.errors import ChartmeshError, Code

TOKEN = "ab" * 32
Words = tuple[str, ...]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("CHARTMESH_")]:
        monkeypatch.delenv(name)


def leaves(command: click.Command, path: Words = ()) -> list[tuple[Words, click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [leaf for name, inner in command.commands.items() for leaf in leaves(inner, (*path, name))]


def error_document(printed: str) -> Any:
    document = json.loads(printed)
    assert {key: document[key] for key in ("v", "type")} == {"v": 1, "type": "error"}
    assert set(document) == {"v", "type", "code", "error", "hint"}
    assert document["error"]
    assert document["hint"]
    return document


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["trio", "libp2p", "nacl", "cryptography", "httpx", "rich", "asyncio", "subprocess", "node"]
    program = f"import sys, cli.main; print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize("words", [[], ["record"]], ids=["program", "group"])
def test_a_command_line_that_ends_too_early_gets_the_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Usage: chartmesh")
    assert len(printed.err.splitlines()) > 5


def test_hints_name_the_same_node_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "a b"
    home.mkdir()
    assert run(["status", "--data-dir", str(home)]) == 6
    assert capsys.readouterr().err.endswith(f"chartmesh start --data-dir '{home}'\n")


def test_every_command_of_the_contract_is_there_and_explains_itself() -> None:
    found = {" ".join(path) for path, _ in leaves(chartmesh)}
    wanted = ["init", "daemon", "start", "stop", "status", "doctor", "peers", "version", "verify", "log"]
    wanted += [
        "verify",
        "completion",
        "open",
        "demo",
        "bench",
        "service unit",
        "config show",
        "config check",
    ]
    wanted += [f"network {name}" for name in ("create", "join", "members", "invite", "evidence")]
    wanted += [f"network {name}" for name in ("approve", "suspend", "remove")]
    wanted += [f"keys {name}" for name in ("show", "rotate", "restore", "refill", "export")]
    wanted += [f"peer {name}" for name in ("block", "unblock")]
    wanted += [f"patient {name}" for name in ("enrol", "list", "show", "export")]
    wanted += [f"my person {name}" for name in ("add", "list", "rename", "assign")]
    wanted += [f"record {name}" for name in ("add", "list", "show", "verify", "get")]
    wanted += [f"access {name}" for name in ("ask", "list", "show")]
    wanted += [f"audit {name}" for name in ("list", "verify", "export")]
    wanted += [f"backup {name}" for name in ("create", "verify", "list", "restore")]
    wanted += [f"store {name}" for name in ("stat", "verify", "gc")]
    wanted += [f"my {name}" for name in ("code", "records", "record", "share", "shares", "stop", "who")]
    wanted += [f"my {name}" for name in ("lost-phone", "recover", "give", "take", "erase", "erasures")]
    wanted += [f"my {name}" for name in ("requests", "approve", "decline", "share-all", "export")]
    assert found == set(wanted)
    assert all(command.help for _, command in leaves(chartmesh))


@pytest.mark.parametrize("path", [path for path, _ in leaves(chartmesh) if path != ("completion",)])
def test_every_command_takes_the_shared_options_before_and_after_its_name(path: tuple[str, ...]) -> None:
    command: click.Command = chartmesh
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--data-dir", "--config", "--json"} <= options


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["record", "get", "--purpose", "TREAT"],
        ["record", "show", "abc"],
        ["record", "get", "--purpose", "TREAT", "-o", "-", TOKEN, TOKEN],
        ["my", "stop"],
        ["my", "stop", "--all", TOKEN],
        ["my", "stop", "--all"],
        ["my", "code", "--clinic", "a", "--count", "21"],
        ["bench", "nonsense"],
        ["daemon", "--passphrase-file", "f", "--passphrase-fd", "3"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_two_lines_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert run(arguments) == 2
        printed = capsys.readouterr()
        lines = printed.err.splitlines()
        assert printed.out == ""
        assert [line.split(":")[0] for line in lines] == ["error", "hint"]
        assert run([*arguments, "--json"]) == 2
        assert error_document(capsys.readouterr().err)["code"] == "usage"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["my", "share", "--with", "b", "--for", "-3d", TOKEN], "duration"),
        (["my", "share", "--with", "b", "--for", "0d", TOKEN], "duration"),
        (["my", "share", "--with", "b", "--for", "401d", TOKEN], "duration"),
        (["my", "share", "--with", "b", "--for", "30d", "--purpose", "?", TOKEN], "purpose"),
        (["record", "get", TOKEN], "purpose"),
        (["record", "get", "--purpose", "%", TOKEN], "purpose"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_bad_values_have_codes_of_their_own(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--json"]) == 2
    assert error_document(capsys.readouterr().err)["code"] == code


REQUESTS = [
    ["status"],
    ["peers"],
    ["peer", "block", TOKEN],
    ["peer", "unblock", TOKEN],
    ["stop"],
    ["network", "members"],
    ["record", "list"],
    ["record", "show", TOKEN],
    ["access", "list"],
    ["access", "show", TOKEN],
    ["audit", "list"],
    ["audit", "verify"],
]


@pytest.mark.parametrize("arguments", REQUESTS, ids=" ".join)
def test_without_a_node_the_status_is_10_and_with_one_at_rest_6(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "node"
    assert run(["--data-dir", str(folder), *arguments, "--json"]) == 10
    assert error_document(capsys.readouterr().err)["code"] == "not-initialised"
    folder.mkdir()
    assert run(["--json", *arguments, "--data-dir", str(folder)]) == 6
    assert error_document(capsys.readouterr().err)["code"] == "not-running"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / SOCKET_NAME))
        assert run([*arguments, "--data-dir", str(folder)]) == 6
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("command", ["start", "my records"])
def test_starting_without_a_node_is_10(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--json"]) == 10
    assert error_document(capsys.readouterr().err)["code"] == "not-initialised"


def test_a_record_file_is_checked_before_the_node_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["record", "add", "--for", "C", "--json", str(tmp_path)]) == 1
    assert error_document(capsys.readouterr().err)["code"] == "record-file"


@pytest.mark.parametrize("content", [None, b"", b"\xff"], ids=["missing", "empty", "binary"])
def test_a_genesis_file_that_is_none_is_told(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "genesis"
    if content is not None:
        path.write_bytes(content)
    assert run(["network", "join", "--json", str(path)]) == 1
    assert error_document(capsys.readouterr().err)["code"] == "genesis"


def test_the_node_s_directory_comes_from_flag_environment_file_and_home_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "clinic.toml"
    config.write_text('[node]\ndata_dir = "state"\n')
    settings = Settings()
    assert settings.place.data_dir == tmp_path / ".chartmesh"
    settings.config = config
    assert settings.place.data_dir == tmp_path / "state"
    monkeypatch.setenv("CHARTMESH_NODE_DATA_DIR", "/from/environment")
    assert settings.place.data_dir == Path("/from/environment")
    settings.data_dir_flag = Path("/from/flag")
    assert settings.place.data_dir == Path("/from/flag")


def test_the_socket_lies_in_the_directory_unless_environment_or_file_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir_flag=tmp_path)
    assert settings.place.socket == tmp_path / SOCKET_NAME
    (tmp_path / "config.toml").write_text('[control]\nsocket = "moved"\n')
    assert settings.place.socket == tmp_path / "moved"
    (tmp_path / "other.toml").write_text('[control]\nsocket = "~/home"\n')
    monkeypatch.setenv("CHARTMESH_CONFIG", str(tmp_path / "other.toml"))
    assert settings.place.socket == tmp_path / "home"
    monkeypatch.setenv("CHARTMESH_CONTROL_SOCKET", "/run/chartmesh.sock")
    assert settings.place.socket == Path("/run/chartmesh.sock")


@pytest.mark.parametrize("role", ["clinic", "light"])
def test_the_command_line_and_the_daemon_agree_on_where_a_node_lives(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'[node]\nrole = "{role}"\ndata_dir = "state"\n[control]\nsocket = "~/door"\n')
    for path, variables in (
        (None, {}),
        (config, {}),
        (config, {"CHARTMESH_NODE_DATA_DIR": "relative"}),
        (config, {"CHARTMESH_CONTROL_SOCKET": "~/elsewhere"}),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            theirs = load_config(path, os.environ)
            ours = Settings(config=path).place
        assert (ours.data_dir, ours.socket) == (theirs.node.data_dir, theirs.control.socket)


@pytest.mark.parametrize("content", [None, b"[node", b"\xff\xfe"], ids=["missing", "broken", "binary"])
def test_a_configuration_that_cannot_be_read_is_a_clear_error(
    tmp_path: Path, content: bytes | None
) -> None:
    config = tmp_path / "clinic.toml"
    if content is not None:
        config.write_bytes(content)
    with pytest.raises(ChartmeshError) as caught:
        _ = Settings(config=config).place
    assert caught.value.code is Code.CONFIG
    assert str(config) in caught.value.message


def test_a_secret_is_named_by_file_or_descriptor_and_never_given(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.touch()
    settings = Settings(data_dir_flag=Path("/d"), config=config, passphrase_file=Path("/p"))
    assert launch.daemon_arguments(settings, descriptor=None) == [
        *("daemon", "--data-dir", "/d", "--config", str(config), "--passphrase-file", "/p")
    ]
    assert launch.daemon_arguments(settings, descriptor=7)[-2:] == ["--passphrase-fd", "7"]
    reader = launch.pipe_with("correct horse")
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"correct horse\n"


def test_the_daemon_s_program_is_ours_whatever_lies_in_the_working_directory() -> None:
    assert launch.node_program("node", "init") == [sys.executable, "-P", "-m", "node", "init"]


def test_version_and_completion_answer_without_a_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == 1
    assert run(["completion", "zsh"]) == 0
    assert "_CHARTMESH_COMPLETE" in capsys.readouterr().out


def test_help_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "Commands:" in capsys.readouterr().out
