"""`init`: a new node's keys and files. Nothing that exists is touched."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node import paths
from node.adapters import SystemEntropy
from node.addresses import dial_problem
from node.config import Config
from node.founding import keep_genesis, load_genesis, read_genesis_file
from node.keystore import (
    NEXT_KEY_HASHES,
    PASSPHRASE_BYTES_MAX,
    ClinicKeys,
    WalletKeys,
    create_keyfile,
    identity_of,
    read_passphrase_file,
)
from node.prompts import ask_new_passphrase, is_person_there, show_words
from node.store.durable import create_durably
from node.store.votefile import create_vote_file
from protocol import limits
from protocol.armour import wrap
from protocol.blocks import Genesis, Member, sign_card
from protocol.codec import encode
from protocol.errors import Code, UserError
from protocol.keys import SEED_BYTES, OpeningKey, SigningKey
from protocol.wallet import (
    ENTROPY_BYTES,
    cold_master,
    entropy_of,
    hot_master,
    next_key_hashes,
    words_of,
)

_WILDCARDS: Final = ("/ip4/0.0.0.0/", "/ip6/::/")


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


def read_words(descriptor: int) -> str:
    """The words in an inherited descriptor. Raises UserError WORDS: there is no text."""
    with os.fdopen(descriptor, "rb") as pipe:
        try:
            return pipe.read(limits.WORDS_CHARS_MAX).decode("ascii")
        except UnicodeDecodeError as error:
            raise UserError(
                "these are no words", "give the 24 words, with spaces between", code=Code.WORDS
            ) from error


def initialise(
    config: Config,
    *,
    genesis: Path | None,
    clinics: Sequence[str],
    passphrase_file: Path | None,
    insecure: bool,
    write_config: bool,
    flags: str,
    is_json: bool,
    words: str | None = None,
) -> None:
    """Makes the data directory of a clinic or a light client and says what comes next. With
    `write_config`, the settings given are kept in it as `config.toml`. On a failure nothing is left.
    `flags` are those that name this node in the commands to come. `words` make a wallet of a patient who
    has one already.

    Raises:
        UserError: there are keys already, no passphrase, no address that others can reach, a genesis
            file that is none, a clinic that is not in it, or words that are none.
    """
    data_dir = config.node.data_dir
    is_clinic = config.node.role == "clinic"
    if words is not None and is_clinic:
        raise UserError(
            "a clinic's keys come from no words",
            "give --role light, or no words",
            code=Code.USAGE,
        )
    _require_unused(data_dir)
    founding = None if genesis is None else read_genesis_file(genesis)
    chosen = _chosen(founding, clinics)
    files: dict[Path, bytes] = {}
    if write_config:
        files[paths.config(data_dir)] = _config_text(config, chosen, passphrase_file).encode()
    if founding is not None and load_genesis(config.network.genesis) is None:
        files[config.network.genesis] = wrap("GENESIS", encode(founding)).encode("ascii")
    elif founding is not None:
        keep_genesis(config.network.genesis, founding)
    keys = _clinic_keys() if is_clinic else None
    restored = None if words is None else _old_wallet(words)
    if keys is not None:
        files[paths.card(data_dir)] = _card(config, keys)
    secret = None if insecure else _passphrase(passphrase_file or config.keys.passphrase_file)
    known = keys or restored
    if known is not None:
        _make(data_dir, files, known, secret)
        _report(config, known, files, flags=flags, is_json=is_json)
        return
    new_words, wallet = _new_wallet()
    is_shown = is_person_there() and not is_json
    if is_shown:
        show_words(new_words, SystemEntropy())
    _make(data_dir, files, wallet, secret)
    _report(config, wallet, files, flags=flags, words="" if is_shown else new_words, is_json=is_json)


def _require_unused(data_dir: Path) -> None:
    """Raises UserError ALREADY_INITIALISED where there is a node, or what is left of one."""
    if paths.keyfile(data_dir).exists():
        raise UserError(
            f"there is a node already in {data_dir}",
            "use another --data-dir for another node",
            code=Code.ALREADY_INITIALISED,
        )
    if paths.has_history(data_dir):
        raise UserError(
            f"there is a node in {data_dir} whose key file is missing, or an `init` was cut off there",
            "put the key file back from your backup, or use another --data-dir",
            code=Code.ALREADY_INITIALISED,
        )


def _passphrase(file: Path | None) -> bytes:
    return ask_new_passphrase() if file is None else read_passphrase_file(file)


def _clinic_keys() -> ClinicKeys:
    entropy = SystemEntropy()
    return ClinicKeys(
        identity_seed=entropy.bytes(SEED_BYTES),
        vote_seed=entropy.bytes(SEED_BYTES),
        enc_seed=entropy.bytes(SEED_BYTES),
        at_rest_key=entropy.bytes(SEED_BYTES),
    )


def _new_wallet() -> tuple[str, WalletKeys]:
    """The 24 words, which nothing keeps, and what the device keeps."""
    root = SystemEntropy().bytes(ENTROPY_BYTES)
    hashes = next_key_hashes(cold_master(root), 0, NEXT_KEY_HASHES)
    return words_of(root), WalletKeys((hot_master(root).secret,), hashes)


def _old_wallet(words: str) -> WalletKeys:
    """What the device of a patient keeps who has these words. Which of their keys are used only the ledger
    says: until it was asked there is no pool, so that none is used twice. Raises UserError WORDS."""
    return WalletKeys((hot_master(entropy_of(words)).secret,), ())


def _card(config: Config, keys: ClinicKeys) -> bytes:
    """The card file. Raises UserError USAGE where it would be of no use to the others."""
    addresses = config.network.announce or tuple(
        address for address in config.network.listen if not dial_problem(address) and not _is_any(address)
    )
    if not config.node.name or not addresses:
        raise UserError(
            "a clinic needs a name and an address that the others can reach",
            "give both: --name NAME --listen /ip4/192.0.2.7/tcp/4001, or set network.announce",
            code=Code.USAGE,
        )
    identity, vote = SigningKey(keys.identity_seed), SigningKey(keys.vote_seed)
    sealing = OpeningKey(keys.enc_seed).public
    member = Member(config.node.name, identity.public, vote.public, sealing, addresses)
    return wrap("CARD", encode(sign_card(member, identity, vote))).encode("ascii")


def _is_any(address: str) -> bool:
    """Whether an address to listen on stands for all of this machine's."""
    return address.startswith(_WILDCARDS)


def _make(
    data_dir: Path, files: Mapping[Path, bytes], keys: ClinicKeys | WalletKeys, secret: bytes | None
) -> None:
    """Writes everything, the key file last: where that is there, all is."""
    made: list[Path] = []
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(keys, ClinicKeys):
            create_vote_file(paths.votes(data_dir))
            made.append(paths.votes(data_dir))
        for path, content in files.items():
            create_durably(path, content)
            made.append(path)
        if isinstance(keys, ClinicKeys):
            create_keyfile(paths.keyfile(data_dir), keys, secret, SystemEntropy())
        else:
            create_keyfile(paths.keyfile(data_dir), keys, secret, SystemEntropy())
    except BaseException as error:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise UserError(
                f"{error.filename} is there already, from another node or an `init` that was cut off",
                "use another --data-dir, or move it away",
                code=Code.ALREADY_INITIALISED,
            ) from error
        if isinstance(error, OSError):
            raise UserError(
                f"cannot make the files of a node in {data_dir}: {error.strerror}",
                "choose another directory with --data-dir",
                code=Code.CONFIG,
            ) from error
        raise


def _chosen(genesis: Genesis | None, names: Sequence[str]) -> list[Member]:
    """The members a light client is to ask. Raises UserError USAGE: no genesis file, or not in it."""
    if names and genesis is None:
        raise UserError(
            "--clinic names a clinic of a genesis file", "give that too: --genesis FILE", code=Code.USAGE
        )
    members = {} if genesis is None else {member.name: member for member in genesis.members}
    for name in names:
        if name not in members:
            raise UserError(
                f"no clinic of this network is called {name}",
                f"its clinics are: {', '.join(sorted(members))}",
                code=Code.USAGE,
            )
        if not members[name].addresses:
            raise UserError(f"{name} has no address", "choose another clinic", code=Code.USAGE)
    return [members[name] for name in dict.fromkeys(names)]


def _config_text(config: Config, clinics: Sequence[Member], passphrase_file: Path | None) -> str:
    """The settings that were given, as a file that people go on editing."""
    lines = ["[node]", f"role = {_quoted(config.node.role)}", f"name = {_quoted(config.node.name)}", ""]
    network = [
        f"{key} = {_quoted(list(getattr(config.network, key)))}"
        for key in ("listen", "announce")
        if getattr(config.network, key)
    ]
    if network:
        lines += ["[network]", *network, ""]
    for member in clinics:
        lines += [
            "[[network.clinics]]",
            f"name = {_quoted(member.name)}",
            f"address = {_quoted(member.addresses[0])}",
            f"id = {_quoted(member.id_key.hex())}",
            "",
        ]
    if passphrase_file is not None:
        lines += ["[keys]", f"passphrase_file = {_quoted(str(passphrase_file.absolute()))}", ""]
    return "\n".join(lines)


def _quoted(value: object) -> str:
    """A string or list of strings in TOML, whose escapes are those of JSON."""
    return json.dumps(value, ensure_ascii=False)


def _report(
    config: Config,
    keys: ClinicKeys | WalletKeys,
    files: Iterable[Path],
    *,
    flags: str,
    words: str = "",
    is_json: bool,
) -> None:
    data_dir, is_clinic = config.node.data_dir, config.node.role == "clinic"
    made = [paths.keyfile(data_dir), *([paths.votes(data_dir)] if is_clinic else []), *files]
    node_id = identity_of(keys)
    following = f"chartmesh network join{flags} GENESIS"
    invited = f"chartmesh start{flags}, then chartmesh network join{flags} CODE"
    if config.network.genesis.exists():
        following = f"chartmesh start{flags}" if is_clinic else f"chartmesh my code{flags} --clinic NAME"
        if isinstance(keys, WalletKeys) and not keys.next_key_hashes:
            following = f"chartmesh my recover{flags}"
    if is_json:
        document: dict[str, Any] = {
            "v": 1,
            "type": "result",
            "id": node_id.hex(),
            "role": config.node.role,
            "files": [str(path) for path in made],
            "next": following,
        }
        print(json.dumps({**document, "words": words} if words else document))
        return
    print(" ".join(filter(None, (config.node.role, config.node.name, node_id.hex()))))
    for path in made:
        print(f"made {path}")
    if words:
        print(f"words, shown this once: {words}")
    if is_clinic and not config.network.genesis.exists():
        print(f"next: give {paths.card(data_dir)} to whoever runs `chartmesh network create`, and with the")
        print(f"      genesis file that comes back: {following}")
        print(f"or:   with an invitation of a member: {invited}")
    else:
        print(f"next: {following}")
