"""`init` and `network create`: what they make, what they refuse, and that a failure leaves nothing."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import paths, prompts
from node.__main__ import main
from node.config import load_config
from node.founding import load_genesis, read_card
from node.keystore import ClinicKeys, WalletKeys, load_keyfile
from node.prompts import ask_new_passphrase, show_words
from protocol.blocks import network_id
from protocol.errors import UserError
from protocol.keys import SigningKey
from protocol.wallet import HotMaster, cold_master, entropy_of, hot_master, next_key_hashes, wallet_id
from tests.sim.entropy import SimEntropy

ADDRESS = "/ip4/127.0.0.1/tcp/4001"


class Ended:
    """A program that has ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)


Program = Callable[..., Ended]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs a job of the daemon's program, with nobody at the terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str | Path) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def clinic(program: Program, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a clinic of some name; its data directory."""

    def make(name: str, address: str = ADDRESS) -> Path:
        home = tmp_path / name
        made = program(
            *("init", "--data-dir", home, "--name", name, "--listen", address),
            *("--insecure-no-passphrase", "--json"),
        )
        assert made.status == 0, made.err
        return home

    return make


@pytest.fixture
def genesis(program: Program, clinic: Callable[[str], Path], tmp_path: Path) -> Path:
    """The genesis file of two clinics, a and b."""
    file = tmp_path / "genesis"
    cards = [paths.card(clinic(name)) for name in ("a", "b")]
    assert program("network", "create", "--name", "two", "-o", file, *cards, "--json").status == 0
    return file


def test_a_clinic_gets_keys_a_vote_file_a_card_and_a_configuration(
    program: Program, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    made = program(
        *("init", "--data-dir", home, "--name", "Süd «1»", "--listen", ADDRESS),
        *("--insecure-no-passphrase", "--json"),
    )
    keys = load_keyfile(paths.keyfile(home), ClinicKeys, None)
    member = read_card(paths.card(home))
    assert made.document["id"] == SigningKey(keys.identity_seed).public.hex() == member.id_key.hex()
    assert (member.name, member.addresses) == ("Süd «1»", (ADDRESS,))
    assert sorted(made.document["files"]) == sorted(str(home / name) for name in os.listdir(home))
    config = load_config(None, {}, {"node.data_dir": home})
    assert (config.node.role, config.node.name, config.network.listen) == ("clinic", "Süd «1»", (ADDRESS,))
    assert home.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in home.iterdir())


def test_a_passphrase_file_protects_the_keys_and_is_named_in_the_configuration(
    program: Program, tmp_path: Path
) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    made = program(
        "init", "--data-dir", home, "--name", "a", "--listen", ADDRESS, "--passphrase-file", secret
    )
    assert made.status == 0, made.err
    with pytest.raises(UserError):
        load_keyfile(paths.keyfile(home), ClinicKeys, b"wrong horse")
    load_keyfile(paths.keyfile(home), ClinicKeys, b"correct horse")
    assert load_config(None, {}, {"node.data_dir": home}).keys.passphrase_file == secret


def test_where_nobody_can_be_asked_keys_in_the_clear_must_be_wanted(
    program: Program, tmp_path: Path
) -> None:
    made = program("init", "--data-dir", tmp_path / "home", "--name", "a", "--listen", ADDRESS, "--json")
    assert (made.status, made.error["code"]) == (2, "usage")
    assert "--insecure-no-passphrase" in made.error["hint"]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("listen", ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001", "/ip4/127.0.0.1/tcp/0"])
def test_an_address_that_nobody_can_dial_is_not_put_on_a_card(
    program: Program, tmp_path: Path, listen: str
) -> None:
    arguments = ("init", "--data-dir", tmp_path / "home", "--name", "a", "--listen", listen)
    made = program(*arguments, "--insecure-no-passphrase", "--json")
    assert (made.status, made.error["code"]) == (2, "usage")
    assert not (tmp_path / "home").exists()


def test_announced_addresses_go_on_the_card_instead(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARTMESH_NETWORK_ANNOUNCE", "/dns4/a.example/tcp/9")
    home = tmp_path / "home"
    made = program(
        *("init", "--data-dir", home, "--name", "a", "--listen", "/ip4/0.0.0.0/tcp/4001"),
        *("--insecure-no-passphrase", "--json"),
    )
    assert made.status == 0, made.err
    assert read_card(paths.card(home)).addresses == ("/dns4/a.example/tcp/9",)


def test_keys_that_are_there_are_not_touched(program: Program, clinic: Callable[[str], Path]) -> None:
    home = clinic("a")
    before = {file: file.read_bytes() for file in home.iterdir()}
    made = program(
        *("init", "--data-dir", home, "--name", "b", "--listen", ADDRESS),
        *("--insecure-no-passphrase", "--json"),
    )
    assert (made.status, made.error["code"]) == (1, "already-initialised")
    assert {file: file.read_bytes() for file in home.iterdir()} == before


def test_a_failure_leaves_nothing_behind(program: Program, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    paths.card(home).write_text("someone's card")
    made = program(
        *("init", "--data-dir", home, "--name", "b", "--listen", ADDRESS),
        *("--insecure-no-passphrase", "--json"),
    )
    assert (made.status, made.error["code"]) == (1, "already-initialised")
    assert [file.name for file in home.iterdir()] == [paths.card(home).name]
    assert paths.card(home).read_text() == "someone's card"


def test_a_light_client_gets_a_wallet_and_tells_its_words_once(
    program: Program, tmp_path: Path, genesis: Path
) -> None:
    home = tmp_path / "patient"
    made = program(
        *("init", "--data-dir", home, "--role", "light", "--genesis", genesis, "--clinic", "b"),
        *("--insecure-no-passphrase", "--json"),
    )
    assert made.status == 0, made.err
    root = entropy_of(made.document["words"])
    wallet = load_keyfile(paths.keyfile(home), WalletKeys, None)
    assert wallet.hot_masters == (hot_master(root).secret,)
    assert wallet.next_key_hashes == next_key_hashes(cold_master(root), 0, len(wallet.next_key_hashes))
    assert made.document["id"] == wallet_id(HotMaster(wallet.hot_masters[0])).hex()
    config = load_config(None, {}, {"node.data_dir": home})
    assert [clinic.name for clinic in config.network.clinics] == ["b"]
    kept, given = load_genesis(config.network.genesis), load_genesis(genesis)
    assert kept == given
    assert root not in b"".join(file.read_bytes() for file in home.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--clinic", "b"), "usage"),
        (("--genesis", "GENESIS", "--clinic", "c"), "usage"),
        (("--genesis", "nowhere"), "genesis"),
        (("--genesis", "."), "genesis"),
    ],
)
def test_a_light_client_is_not_made_of_mistakes(
    program: Program, tmp_path: Path, genesis: Path, arguments: tuple[str, ...], code: str
) -> None:
    home = tmp_path / "patient"
    given = [str(genesis) if one == "GENESIS" else one for one in arguments]
    made = program(
        "init", "--data-dir", home, "--role", "light", *given, "--insecure-no-passphrase", "--json"
    )
    assert made.error["code"] == code
    assert made.error["hint"]
    assert not home.exists()


def test_words_are_asked_back_until_they_are_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"word{place}" for place in range(1, 25)]
    asked: list[int] = []

    def answer(question: str) -> str:
        place = int(question.split()[-1].rstrip(":"))
        asked.append(place)
        return "wrong" if asked.count(place) == 1 else f" {words[place - 1].upper()} "

    monkeypatch.setattr("builtins.input", answer)
    show_words(" ".join(words), SimEntropy("words"))
    assert len(set(asked)) == prompts.WORDS_ASKED_BACK
    assert len(asked) == 2 * prompts.WORDS_ASKED_BACK
    shown = capsys.readouterr().out
    assert all(f"{place:2} {word}" in shown for place, word in enumerate(words, 1))


def pipe(content: bytes) -> str:
    """An open descriptor from which `content` can be read."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(content)
    return str(reader)


def test_words_make_the_same_wallet_again_without_a_pool_of_keys(program: Program, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    flags = ("--role", "light", "--insecure-no-passphrase", "--json")
    made = program("init", "--data-dir", first, *flags)
    words = made.document["words"]
    restored = program("init", "--data-dir", again, *flags, "--words-fd", pipe(words.upper().encode()))
    assert restored.document["id"] == made.document["id"]
    assert "words" not in restored.document
    keys = load_keyfile(paths.keyfile(again), WalletKeys, None)
    assert keys.hot_masters == load_keyfile(paths.keyfile(first), WalletKeys, None).hot_masters
    # Which indices are used only the ledger says: until then none may be given out.
    assert keys.next_key_hashes == ()


@pytest.mark.parametrize("content", [b"", b"abandon " * 24, b"\xff" * 24])
def test_what_are_no_words_makes_nothing(program: Program, tmp_path: Path, content: bytes) -> None:
    home = tmp_path / "home"
    arguments = ("--role", "light", "--insecure-no-passphrase", "--json", "--words-fd", pipe(content))
    made = program("init", "--data-dir", home, *arguments)
    assert (made.status, made.error["code"]) == (1, "words")
    assert not home.exists()


def test_a_clinic_is_not_made_of_words(program: Program, tmp_path: Path) -> None:
    home = tmp_path / "home"
    arguments = ("--name", "a", "--listen", ADDRESS, "--insecure-no-passphrase", "--json")
    made = program("init", "--data-dir", home, *arguments, "--words-fd", pipe(b"abandon"))
    assert (made.status, made.error["code"]) == (2, "usage")
    assert not home.exists()


@pytest.mark.parametrize("typed", [("", ""), ("one", "other")])
def test_a_passphrase_is_typed_twice_and_not_empty(
    monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]
) -> None:
    answers = iter(typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(UserError):
        ask_new_passphrase()


def test_a_network_is_founded_by_its_cards(genesis: Path) -> None:
    founded = load_genesis(genesis)
    assert founded is not None
    assert [member.name for member in founded.members] == ["a", "b"]
    assert founded.name == "two"


def test_what_is_printed_of_a_new_network_names_its_id_and_its_file(
    program: Program, clinic: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "other"
    card = paths.card(clinic("z"))
    made = program("network", "create", "--name", "n", "-o", file, card, "--json")
    founded = load_genesis(file)
    assert founded is not None
    assert made.document["network"] == network_id(founded).hex()
    assert made.document["genesis"] == str(file)


@pytest.mark.parametrize("fault", ["twice", "damaged", "missing", "a directory", "exists"])
def test_a_network_is_not_founded_on_mistakes(
    program: Program, clinic: Callable[[str], Path], tmp_path: Path, fault: str
) -> None:
    card, file = paths.card(clinic("a")), tmp_path / "genesis"
    second = tmp_path / "second"
    match fault:
        case "twice":
            second = card
        case "damaged":
            second.write_text(card.read_text().replace("A", "B", 1))
        case "a directory":
            second.mkdir()
        case "exists":
            second = paths.card(clinic("b"))
            file.write_text("mine")
    made = program("network", "create", "--name", "n", "-o", file, card, second, "--json")
    assert (made.status, made.error["code"]) == (1, "genesis")
    assert made.error["hint"]
    assert file.exists() == (fault == "exists")


def test_a_founder_joins_while_its_daemon_is_not_running_and_may_do_so_again(
    program: Program, genesis: Path, tmp_path: Path
) -> None:
    home = tmp_path / "a"
    for _ in range(2):
        joined = program("network", "join", "--data-dir", home, genesis, "--json")
        assert joined.status == 0, joined.err
        assert (joined.document["name"], joined.document["quorum"], joined.document["joined"]) == (
            "two",
            2,
            True,
        )
    assert load_genesis(paths.genesis(home)) == load_genesis(genesis)


def test_a_clinic_does_not_join_a_network_without_it(
    program: Program, clinic: Callable[[str], Path], genesis: Path
) -> None:
    home = clinic("c")
    joined = program("network", "join", "--data-dir", home, genesis, "--json")
    assert (joined.status, joined.error["code"]) == (1, "genesis")
    assert not paths.genesis(home).exists()


def test_a_node_does_not_change_its_network(program: Program, genesis: Path, tmp_path: Path) -> None:
    home, other = tmp_path / "a", tmp_path / "other"
    assert program("network", "join", "--data-dir", home, genesis).status == 0
    cards = [paths.card(tmp_path / name) for name in ("a", "b")]
    assert program("network", "create", "--name", "other", "-o", other, *cards).status == 0
    joined = program("network", "join", "--data-dir", home, other, "--json")
    assert (joined.status, joined.error["code"]) == (1, "wrong-network")
    assert load_genesis(paths.genesis(home)) == load_genesis(genesis)
