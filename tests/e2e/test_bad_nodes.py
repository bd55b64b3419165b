"""Nodes that cannot start or do not run: the command line says why, and nothing is lost by trying."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from node import paths
from node.demo.stage import Actor, free_ports
from node.founding import load_genesis
from node.store import layout
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from protocol.blocks import network_id
from tests.e2e.told import refused


@dataclass(frozen=True)
class Home:
    """A clinic of its own, not running. Its daemon can start."""

    actor: Actor
    port: int
    secret: Path

    @property
    def data_dir(self) -> Path:
        return self.actor.data_dir


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder, port = tmp_path_factory.mktemp("home"), free_ports(1)[0]
    home = Home(Actor("solo", folder / "solo.toml", folder / "solo"), port, folder / "passphrase")
    home.secret.touch(mode=0o600)
    home.secret.write_text("correct horse\n")
    home.actor.config.write_text(config_text(home))
    genesis = str(folder / "genesis")

    async def found() -> None:
        await home.actor.ask("init")
        card = str(paths.card(home.data_dir))
        await home.actor.ask("network", "create", "--name", "alone", "-o", genesis, card)
        await home.actor.ask("network", "join", genesis)
        await home.actor.ask("start")
        await home.actor.ask("stop")

    trio.run(found)
    yield home
    home.actor.send_signal(signal.SIGKILL)


def config_text(home: Home, *, listen: str | None = None, more: str = "") -> str:
    listen = listen or f'["/ip4/127.0.0.1/tcp/{home.port}"]'
    return (
        f'[node]\nname = "solo"\ndata_dir = "{home.data_dir}"\n'
        f'[keys]\npassphrase_file = "{home.secret}"\n[network]\nlisten = {listen}\n{more}'
    )


@contextmanager
def replaced(path: Path, content: str) -> Iterator[None]:
    before = path.read_bytes()
    path.write_text(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def moved(path: Path) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        if path.is_dir():
            for one in path.iterdir():
                one.unlink()
            path.rmdir()
        aside.rename(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    path.chmod(0o644)
    try:
        yield
    finally:
        path.chmod(0o600)


@contextmanager
def database_of(home: Home, *, network: bytes, schema: int = layout.SCHEMA) -> Iterator[None]:
    """Another ledger in the place of the clinic's own."""
    ledger = paths.ledger_db(home.data_dir)
    with moved(ledger), pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SCHEMA", schema)
        open_leveldb(ledger, tuning=LEDGER_TUNING, network=network).close()
        patch.undo()
        yield


def own_network(home: Home) -> bytes:
    genesis = load_genesis(paths.genesis(home.data_dir))
    assert genesis is not None
    return network_id(genesis)


@contextmanager
def taken(home: Home) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", home.port)):
        yield


Spoil = Callable[[Home], AbstractContextManager[object]]
SPOILT: dict[str, tuple[Spoil, int, str, str]] = {
    "no key file": (
        lambda home: moved(paths.keyfile(home.data_dir)),
        1,
        "key-file",
        "backup",
    ),
    "a damaged key file": (
        lambda home: replaced(paths.keyfile(home.data_dir), "chartmesh key file 1\n?"),
        1,
        "key-file",
        "backup",
    ),
    "a key file for all to read": (
        lambda home: readable(paths.keyfile(home.data_dir)),
        1,
        "key-file",
        "chmod 600",
    ),
    "a wrong passphrase": (
        lambda home: replaced(home.secret, "battery staple\n"),
        12,
        "wrong-passphrase",
        "passphrase",
    ),
    "a passphrase for all to read": (
        lambda home: readable(home.secret),
        1,
        "key-file",
        "chmod 600",
    ),
    "an unknown key": (
        lambda home: replaced(home.actor.config, config_text(home, more="genisis = 'x'\n")),
        1,
        "config",
        "correct",
    ),
    "a wrong type": (
        lambda home: replaced(home.actor.config, config_text(home, listen="4001")),
        1,
        "config",
        "correct",
    ),
    "a port in use": (taken, 1, "port-in-use", "listen"),
    "data of another network": (
        lambda home: database_of(home, network=bytes(32)),
        1,
        "wrong-network",
        "data directory",
    ),
    "data of a newer version": (
        lambda home: database_of(home, network=own_network(home), schema=99),
        14,
        "store-newer",
        "version",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_a_node_that_cannot_start_says_why_and_starts_when_that_is_over(
    home: Home, name: str
) -> None:
    spoil, status, code, advice = SPOILT[name]
    with spoil(home):
        answer = await home.actor.run("start", "--json")
    told = answer.error()
    assert (answer.status, told["code"]) == (status, code)
    assert advice in told["hint"]
    assert answer.stdout == b""
    assert not paths.socket(home.data_dir).exists()


async def test_keys_that_are_missing_are_not_replaced_by_new_ones(home: Home) -> None:
    votes, keys = paths.votes(home.data_dir), paths.keyfile(home.data_dir)
    before = votes.read_bytes()
    with moved(keys):
        told = await refused(home.actor, "init")
        assert told.kind == (1, "already-initialised")
        assert "backup" in told.hint
        assert not keys.exists()
    assert votes.read_bytes() == before


async def test_nothing_is_lost_by_starts_that_failed(home: Home) -> None:
    try:
        begun = await home.actor.ask("start")
        assert begun["network"] == own_network(home).hex()
        assert begun["warnings"] == [one for one in begun["warnings"] if "network of one member" in one]
        told = await refused(home.actor, "daemon")
        assert told.kind == (11, "already-running")
        assert (await home.actor.ask("status"))["id"] == begun["id"]
    finally:
        await home.actor.run("stop")


async def test_a_node_that_does_not_run_is_not_asked(home: Home) -> None:
    for arguments in (("status",), ("stop",), ("peers",), ("record", "list"), ("audit", "verify")):
        told = await refused(home.actor, *arguments)
        assert told.kind == (6, "not-running")
        assert "chartmesh start" in told.hint


async def test_where_there_is_no_node_one_is_made_first(tmp_path: Path) -> None:
    nowhere = Actor("nobody", tmp_path / "nobody.toml", tmp_path / "nobody")
    nowhere.config.write_text(f'[node]\ndata_dir = "{nowhere.data_dir}"\n')
    for arguments in (("status",), ("start",), ("my", "records")):
        told = await refused(nowhere, *arguments)
        assert told.kind == (10, "not-initialised")
        assert "chartmesh init" in told.hint
