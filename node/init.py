"""`init`: a new node's keys and files. Nothing that exists is touched."""

import getpass
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node import paths
from node.adapters import SystemEntropy
from node.config import Config
from node.founding import keep_genesis, read_genesis
from node.keystore import (
    NEXT_KEY_HASHES,
    PASSPHRASE_BYTES_MAX,
    ClinicKeys,
    WalletKeys,
    create_keyfile,
    read_passphrase_file,
)
from node.store.durable import create_durably
from node.store.votefile import create_vote_file
from protocol.armour import wrap
from protocol.blocks import Member, sign_card
from protocol.codec import encode
from protocol.errors import Code, UserError
from protocol.keys import SEED_BYTES, OpeningKey, PublicKey, SigningKey, fingerprint
from protocol.wallet import (
    ENTROPY_BYTES,
    HotMaster,
    cold_master,
    hot_master,
    next_key_hashes,
    wallet_id,
    words_of,
)

_WILDCARDS: Final = ("/ip4/0.0.0.0/", "/ip6/::/")
_WORDS_ASKED_BACK: Final = 3
_QUOTED: Final = json.dumps


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What opens the key file; `secret` is None where none was given."""

    secret: bytes | None

    @classmethod
    def given(cls, file: Path | None, descriptor: int | None) -> "Passphrase":
        """From a private file or an inherited descriptor. Raises UserError KEY_FILE."""
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as pipe:
                return cls(pipe.read(PASSPHRASE_BYTES_MAX).removesuffix(b"\n"))
        return cls(None if file is None else read_passphrase_file(file))


def initialise(
    config: Config,
    *,
    genesis: Path | None,
    clinics: Sequence[str],
    passphrase_file: Path | None,
    insecure: bool,
    write_config: bool,
    is_json: bool,
) -> None:
    """Makes the data directory of a clinic or a light client and says what comes next. With
    `write_config`, the settings given are kept in it as `config.toml`.

    Raises:
        UserError: there are keys already, no passphrase, no address that others can reach, or a genesis
            file that is none.
    """
    data_dir = config.node.data_dir
    if paths.keyfile(data_dir).exists():
        raise UserError(
            f"there is a node already in {data_dir}",
            "use another --data-dir for another node",
            code=Code.ALREADY_INITIALISED,
        )
    text = None if genesis is None else genesis.read_text("ascii") if genesis.is_file() else ""
    founding = None if text is None else read_genesis(text)
    secret = _passphrase(passphrase_file or config.keys.passphrase_file, insecure=insecure)
    if config.node.role == "clinic":
        node_id, words = _make_clinic(config, secret), None
    else:
        node_id, words = _make_wallet(config, secret)
    if founding is not None:
        keep_genesis(config.network.genesis, founding)
    if write_config:
        content = _config_text(config, clinics, passphrase_file)
        create_durably(paths.config(data_dir), content.encode())
    _report(config, node_id, words, write_config=write_config, is_json=is_json)


def _passphrase(file: Path | None, *, insecure: bool) -> bytes | None:
    if file is not None:
        return read_passphrase_file(file)
    if insecure:
        return None
    if not sys.stdin.isatty():
        raise UserError(
            "the keys need a passphrase",
            "give --passphrase-file, or --insecure-no-passphrase to keep them in the clear",
            code=Code.USAGE,
        )
    first = getpass.getpass("New passphrase: ")
    if not first or first != getpass.getpass("The same again: "):
        raise UserError("the two are not the same, or empty", "try again", code=Code.WRONG_PASSPHRASE)
    return first.encode()


def _make_clinic(config: Config, secret: bytes | None) -> PublicKey:
    entropy, data_dir = SystemEntropy(), config.node.data_dir
    addresses = tuple(item for item in config.network.listen if not item.startswith(_WILDCARDS))
    if not config.node.name or not addresses:
        raise UserError(
            "a clinic needs a name and an address that the others can reach",
            "give both: --name NAME --listen /ip4/192.0.2.7/tcp/4001",
            code=Code.USAGE,
        )
    keys = ClinicKeys(
        identity_seed=entropy.bytes(SEED_BYTES),
        vote_seed=entropy.bytes(SEED_BYTES),
        enc_seed=entropy.bytes(SEED_BYTES),
        at_rest_key=entropy.bytes(SEED_BYTES),
    )
    identity, vote = SigningKey(keys.identity_seed), SigningKey(keys.vote_seed)
    seal_key = OpeningKey(keys.enc_seed).public
    member = Member(config.node.name, identity.public, vote.public, seal_key, addresses)
    _make_directory(data_dir)
    create_keyfile(paths.keyfile(data_dir), keys, secret, entropy)
    create_vote_file(paths.votes(data_dir))
    card = wrap("CARD", encode(sign_card(member, identity, vote)))
    create_durably(paths.card(data_dir), card.encode("ascii"))
    return identity.public


def _make_wallet(config: Config, secret: bytes | None) -> tuple[PublicKey, str]:
    entropy, data_dir = SystemEntropy(), config.node.data_dir
    root = entropy.bytes(ENTROPY_BYTES)
    words = words_of(root)
    if sys.stdin.isatty() and sys.stdout.isatty():
        _show_words(words)
    hashes = next_key_hashes(cold_master(root), 0, NEXT_KEY_HASHES)
    _make_directory(data_dir)
    keys = WalletKeys(hot_master(root).secret, hashes)
    create_keyfile(paths.keyfile(data_dir), keys, secret, entropy)
    return wallet_id(HotMaster(keys.hot_master)), words


def _make_directory(data_dir: Path) -> None:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the data directory {data_dir}: {error.strerror}",
            "choose another with --data-dir",
            code=Code.CONFIG,
        ) from error


def _show_words(words: str) -> None:
    """Shows the words once and asks some of them back, so that they are on paper before they are gone."""
    listed = words.split()
    print("Write these 24 words on paper. They are shown once, and whoever has them has your records.\n")
    for row in range(0, len(listed), 6):
        print("  ".join(f"{row + at + 1:2} {word:10}" for at, word in enumerate(listed[row : row + 6])))
    places: set[int] = set()
    while len(places) < _WORDS_ASKED_BACK:
        places.add(SystemEntropy().below(len(listed)))
    for place in sorted(places):
        while input(f"\nWord number {place + 1}: ").strip().lower() != listed[place]:
            print("That is not it. Look at your paper.")


def _config_text(config: Config, clinics: Sequence[str], passphrase_file: Path | None) -> str:
    """The settings that were given, as a file that people go on editing."""
    lines = ["[node]", f"role = {_QUOTED(config.node.role)}", f"name = {_QUOTED(config.node.name)}", ""]
    if config.network.listen:
        lines += ["[network]", f"listen = {_QUOTED(list(config.network.listen))}", ""]
    for clinic in clinics:
        name, _, address = clinic.partition("=")
        lines += ["[[network.clinics]]", f"name = {_QUOTED(name)}", f"address = {_QUOTED(address)}", ""]
    if passphrase_file is not None:
        lines += ["[keys]", f"passphrase_file = {_QUOTED(str(passphrase_file.absolute()))}", ""]
    return "\n".join(lines)


def _report(
    config: Config, node_id: PublicKey, words: str | None, *, write_config: bool, is_json: bool
) -> None:
    data_dir, is_clinic = config.node.data_dir, config.node.role == "clinic"
    made = [paths.keyfile(data_dir)] + ([paths.config(data_dir)] if write_config else [])
    made += [paths.votes(data_dir), paths.card(data_dir)] if is_clinic else []
    following = "chartmesh start" if is_clinic else "chartmesh my code --clinic NAME"
    if is_json:
        document: dict[str, Any] = {
            "v": 1,
            "type": "result",
            "id": node_id.hex(),
            "role": config.node.role,
            "files": [str(path) for path in made],
            "next": following,
        }
        print(json.dumps(document if words is None else {**document, "words": words}))
        return
    print(f"{config.node.role} {config.node.name}  {fingerprint(node_id)}")
    for path in made:
        print(f"made {path}")
    if words is not None and not sys.stdout.isatty():
        print(f"words {words}")
    print(f"next: {following}")
