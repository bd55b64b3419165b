"""The daemon as a process: what it refuses to start on, how it stops, and what it finds again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from node import paths
from node.demo.stage import Actor, Stage, environment, free_ports, is_daemon
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from protocol import control
from protocol.control import FrameDecoder, Kind, RecordAdd, RecordAddResult, decode_reply, frame
from tests.e2e.clinics import add_record, until

END_S = 60


def daemon_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "node", *map(str, arguments)]


@dataclass(frozen=True)
class Home:
    """A clinic's data directory, its keys under a passphrase, and no network."""

    path: Path
    port: int

    @property
    def secret(self) -> Path:
        return self.path.with_suffix(".passphrase")

    def fails(self, *arguments: str | Path, secret: Path | None = None) -> tuple[int, Any]:
        """Starts the daemon, which must end by itself with two lines: its status, and its error."""
        command = daemon_command("daemon", "--data-dir", self.path, *arguments, "--json")
        done = subprocess.run(
            [*command, "--passphrase-file", str(secret or self.secret)],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=END_S,
            check=False,
        )
        told = json.loads(done.stderr.splitlines()[-1])
        assert told["type"] == "error"
        assert told["hint"]
        return done.returncode, told

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon as a child, from when it is ready until the block is left."""
        command = daemon_command("daemon", "--data-dir", self.path, "--passphrase-file", self.secret)
        daemon = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        try:
            trio.run(until, lambda: daemon.poll() is not None or is_listening(self.path), "the daemon")
            assert daemon.poll() is None
            yield daemon
        finally:
            daemon.kill()
            daemon.wait()


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Home]:
    """Makes homes. Deriving a key from a passphrase is slow on purpose, so they are few."""

    def make() -> Home:
        folder = tmp_path_factory.mktemp("home")
        home = Home(folder / "clinic", free_ports(1)[0])
        home.secret.touch(mode=0o600)
        home.secret.write_text("correct horse\n")
        init = daemon_command("init", "--data-dir", home.path, "--name", "solo")
        init += ["--listen", f"/ip4/127.0.0.1/tcp/{home.port}", "--passphrase-file", str(home.secret)]
        subprocess.run(init, check=True, env=environment(), stdout=subprocess.DEVNULL, timeout=END_S)
        return home

    return make


@pytest.fixture(scope="module")
def home(homes: Callable[[], Home]) -> Home:
    """One that tests leave as they found it."""
    return homes()


@pytest.fixture(scope="module")
def founded(homes: Callable[[], Home]) -> Home:
    """One whose clinic is a network of its own."""
    home = homes()
    found(home, "alone")
    return home


def create(home: Home, name: str) -> Path:
    """The genesis file of a new network of one."""
    genesis = home.path.with_name(f"{name}.genesis")
    made = daemon_command("network", "create", "--name", name, "-o", genesis, paths.card(home.path))
    subprocess.run(made, check=True, env=environment(), stdout=subprocess.DEVNULL, timeout=END_S)
    return genesis


def found(home: Home, name: str) -> Path:
    """Founds a network of one, which it joins if it has none yet; its genesis file."""
    genesis = create(home, name)
    join = daemon_command("network", "join", "--data-dir", home.path, genesis)
    subprocess.run(join, check=False, env=environment(), capture_output=True, timeout=END_S)
    return genesis


def is_listening(data_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(paths.socket(data_dir))) == 0


@contextmanager
def replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """Other content in a file, or no file, for as long as the block runs."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


# What it does not start on.


def test_a_directory_without_a_node_says_how_to_make_one(home: Home) -> None:
    status, told = home.fails("--data-dir", home.path.parent)
    assert (status, told["code"]) == (10, "not-initialised")
    status, told = home.fails("--data-dir", home.path / "nowhere")
    assert (status, told["code"]) == (10, "not-initialised")


def test_a_second_daemon_on_the_same_directory_leaves_the_first_alone(home: Home) -> None:
    with home.running() as first:
        status, told = home.fails()
        assert (status, told["code"]) == (11, "already-running")
        assert str(first.pid) in told["error"]
        assert is_listening(home.path)


def test_a_wrong_passphrase_opens_nothing(home: Home, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("wrong horse\n")
    status, told = home.fails(secret=wrong)
    assert (status, told["code"]) == (12, "wrong-passphrase")


def test_a_key_file_that_others_can_read_is_not_used(home: Home) -> None:
    keys = paths.keyfile(home.path)
    keys.chmod(0o640)
    try:
        status, told = home.fails()
    finally:
        keys.chmod(0o600)
    assert (status, told["code"]) == (1, "key-file")
    assert f"chmod 600 {keys}" in told["hint"]


@pytest.mark.parametrize("content", [None, b"", b"not a key file"], ids=["missing", "empty", "damaged"])
def test_a_missing_or_damaged_key_file_is_named(home: Home, content: bytes | None) -> None:
    with replaced(paths.keyfile(home.path), content):
        status, told = home.fails()
    assert (status, told["code"]) == (1, "key-file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[node]\nrolle = "clinic"\n', ["node.rolle", "node.role"]),
        ("[network]\nlisten = 7\n", ["network.listen"]),
        ("[storage]\nquota_bytes = 1\n[log]\nlevel = 3\n", ["storage.quota_bytes", "log.level"]),
        ("[node\n", ["not TOML"]),
    ],
)
def test_every_mistake_of_a_configuration_is_named(
    home: Home, tmp_path: Path, text: str, said: list[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    status, told = home.fails("--config", file)
    assert (status, told["code"]) == (1, "config")
    assert [word for word in said if word not in told["error"]] == []


def test_a_genesis_file_that_is_none_is_named(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[network]\ngenesis = "{paths.card(home.path)}"\n')
    status, told = home.fails("--config", file)
    assert (status, told["code"]) == (1, "genesis")


def test_a_port_in_use_is_named(founded: Home) -> None:
    with socket.create_server(("127.0.0.1", founded.port)):
        status, told = founded.fails()
    assert (status, told["code"]) == (1, "port-in-use")
    assert str(founded.port) in told["error"]
    assert not paths.socket(founded.path).exists()


def test_databases_of_another_network_are_not_touched(founded: Home, tmp_path: Path) -> None:
    with founded.running():
        pass
    other = found(founded, "other")
    file = tmp_path / "config.toml"
    listen = f"/ip4/127.0.0.1/tcp/{founded.port}"
    file.write_text(f'[network]\nlisten = ["{listen}"]\ngenesis = "{other}"\n')
    status, told = founded.fails("--config", file)
    assert (status, told["code"]) == (1, "wrong-network")


def test_a_database_that_is_open_elsewhere_is_locked(founded: Home) -> None:
    with founded.running():
        pass
    network = json.loads(
        subprocess.run(
            daemon_command(
                "network", "join", "--data-dir", founded.path, paths.genesis(founded.path), "--json"
            ),
            check=True,
            capture_output=True,
            timeout=END_S,
        ).stdout
    )["network"]
    ledger = paths.ledger_db(founded.path)
    store = open_leveldb(ledger, tuning=LEDGER_TUNING, network=bytes.fromhex(network))
    try:
        status, told = founded.fails()
    finally:
        store.close()
    assert (status, told["code"]) == (11, "locked")


def test_a_damaged_audit_log_is_named_with_what_to_do(founded: Home) -> None:
    database = paths.audit_db(founded.path)
    with founded.running():
        pass
    with replaced(database / "CURRENT", None):
        status, told = founded.fails()
    assert (status, told["code"]) == (13, "store-damaged")
    assert str(database) in told["error"]
    assert "keep its directory as evidence" in told["hint"]


# How it stops, and what it finds again.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(home: Home, number: signal.Signals) -> None:
    with home.running() as daemon:
        os.kill(daemon.pid, number)
        assert daemon.wait(END_S) == 0
    assert not paths.socket(home.path).exists()


def test_a_hangup_does_not_end_it(home: Home) -> None:
    with home.running() as daemon:
        os.kill(daemon.pid, signal.SIGHUP)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait(END_S) == 0


def test_after_a_kill_the_stale_socket_and_lock_are_no_hindrance(home: Home) -> None:
    with home.running() as daemon:
        daemon.kill()
        daemon.wait()
        assert paths.socket(home.path).exists()
    with home.running():
        assert is_listening(home.path)


def test_a_running_daemon_enters_its_network_without_a_restart(homes: Callable[[], Home]) -> None:
    home = homes()
    with home.running() as daemon:
        assert json.loads(chartmesh(home, "status"))["network"] is None
        chartmesh(home, "network", "join", str(create(home, "late")))
        status = json.loads(chartmesh(home, "status"))
        assert (status["members"], status["reachable"], status["fresh"]) == (1, 1, True)
        assert daemon.poll() is None
    with home.running():
        assert json.loads(chartmesh(home, "status"))["network"] == status["network"]


def test_the_doctor_asks_a_running_daemon_what_only_that_knows(founded: Home) -> None:
    with founded.running():
        told = json.loads(chartmesh(founded, "doctor"))
    states = {one["check"]: one["state"] for one in told["checks"]}
    assert told["ok"], told
    assert [states[name] for name in ("daemon", "port", "members", "store")] == ["ok"] * 4


def chartmesh(home: Home, *arguments: str) -> bytes:
    """What one command of the CLI prints."""
    program = [sys.executable, "-P", "-m", "cli.main", *arguments, "--data-dir", str(home.path), "--json"]
    return subprocess.run(
        program, stdout=subprocess.PIPE, env=environment(), timeout=END_S, check=False
    ).stdout


async def test_an_upload_that_is_under_way_at_sigterm_is_finished(stage: Stage) -> None:
    clinic, content = stage.clinics["clinic-b"], bytes(300_000)
    code = (await stage.patient.ask("my", "code", "--clinic", clinic.name))["code"]
    request = RecordAdd(name="late.bin", size=len(content), code=code)
    pid = clinic.pid()
    assert pid is not None
    line = await trio.open_unix_socket(str(paths.socket(clinic.data_dir)))
    async with line:
        await line.send_all(frame(Kind.JSON, control.encode_request(request)))
        await line.send_all(frame(Kind.DATA, content[:50_000]))
        os.kill(pid, signal.SIGTERM)
        # The socket goes when the daemon takes no new requests.
        await until(lambda: not paths.socket(clinic.data_dir).exists(), "the daemon to drain")
        for start in range(50_000, len(content), 50_000):
            await line.send_all(frame(Kind.DATA, content[start : start + 50_000]))
        await line.send_all(frame(Kind.END))
        result = await reply_of(line)
    await until(lambda: not is_daemon(pid), "the daemon to end")
    await clinic.ask("start")
    [added] = result.records
    shown = await clinic.ask("record", "show", added.token)
    assert shown["record"]["size"] == len(content)


async def reply_of(line: trio.SocketStream) -> RecordAddResult:
    decoder = FrameDecoder(json_limit=2**20)
    while True:
        while (got := decoder.next()) is None:
            octets = await line.receive_some()
            assert octets, "the daemon hung up without an answer"
            decoder.feed(octets)
        reply = decode_reply(RecordAdd, got.payload)
        if not isinstance(reply, control.Progress):
            assert isinstance(reply, RecordAddResult), reply
            return reply


async def test_a_restart_finds_height_record_and_audit_log_again(stage: Stage) -> None:
    clinic = stage.clinics["clinic-c"]
    added = await add_record(stage, clinic, b"to be found again", "again.bin")
    height, audited = await standing(clinic)
    assert height > 0
    await clinic.ask("stop")
    assert (await clinic.run("status")).status == 6
    await clinic.ask("start")
    again_height, again_audited = await standing(clinic)
    assert (again_height >= height, again_audited >= audited) == (True, True)
    assert added["token"] in {one["token"] for one in (await clinic.ask("record", "list"))["records"]}


async def standing(clinic: Actor) -> tuple[int, int]:
    """The height and the length of the audit log, which must chain."""
    audit = await clinic.ask("audit", "verify")
    assert audit["ok"]
    return (await clinic.status())["height"], audit["entries"]


async def test_starting_what_runs_says_so_and_changes_nothing(stage: Stage) -> None:
    clinic = stage.clinics["clinic-a"]
    pid = clinic.pid()
    answer = await clinic.run("start", "--json")
    assert (answer.status, answer.error()["code"]) == (11, "already-running")
    assert clinic.pid() == pid
