"""Founding a network: the founders' cards become a genesis file, which each of them joins."""

import json
import sys
from pathlib import Path
from typing import Final

from node import paths
from node.adapters import SystemClock
from node.config import Config
from node.store.durable import create_durably
from protocol import limits
from protocol.armour import unwrap, wrap
from protocol.blocks import (
    VERSION,
    Genesis,
    Member,
    NetworkId,
    SignedCard,
    decode_genesis,
    genesis_committee,
    network_id,
    verify_card,
)
from protocol.codec import decode, digest, encode
from protocol.control import NetworkJoinResult, encode_document
from protocol.errors import Code, Malformed, UserError
from protocol.limits import NetworkLimits

TERMS: Final = (
    "Members hold ciphertext for each other as business associates of the clinics that issued it, serve it "
    "to holders of a live grant alone, keep the audit log that the protocol asks for, and delete what its "
    "owner erases."
)
TERMS_HASH: Final = digest("terms", TERMS.encode())


def create_network(name: str, cards: list[Path], output: Path | None, *, is_json: bool) -> None:
    """Writes a genesis file of the founders' cards, `NAME.genesis` unless told otherwise.

    Raises:
        UserError: GENESIS: a card that is none, two of the same clinic, a name out of its limits, or a
            file of that name.
    """
    if not 1 <= len(name) <= limits.NAME_CHARS_MAX or not name.isprintable() or "/" in name:
        raise UserError("that cannot be a network's name", "use a short printable name", code=Code.GENESIS)
    genesis = Genesis(
        version=VERSION,
        name=name,
        created_ms=SystemClock().wall_ms(),
        terms_hash=TERMS_HASH,
        limits=NetworkLimits(),
        members=tuple(map(read_card, cards)),
    )
    raw = encode(genesis)
    try:
        decode_genesis(raw)
    except Malformed as error:
        raise UserError(error.message, "give each clinic's card once", code=Code.GENESIS) from error
    path = output or Path(f"{name}.genesis")
    _write(path, wrap("GENESIS", raw))
    _report(genesis, path, is_json=is_json)


def read_card(path: Path) -> Member:
    """The clinic of a card file. Raises UserError GENESIS."""
    return verify_card(read_signed_card(path))


def read_signed_card(path: Path) -> SignedCard:
    """The card of a file, its signatures verified. Raises UserError GENESIS."""
    try:
        signed = decode(SignedCard, unwrap("CARD", _text_of(path)), limit=limits.ARMOUR_BYTES_MAX)
        verify_card(signed)
        return signed
    except Malformed as error:
        raise UserError(
            f"{path} is not a clinic's card: {error.message}",
            "ask the clinic for the file `card` from its data directory",
            code=Code.GENESIS,
        ) from error


def read_genesis(text: str) -> Genesis:
    """The genesis of a file's text. Raises UserError GENESIS."""
    try:
        return decode_genesis(unwrap("GENESIS", text))
    except Malformed as error:
        raise UserError(
            f"not a genesis file: {error.message}",
            "ask the network's founders for the file again",
            code=Code.GENESIS,
        ) from error


def read_genesis_file(path: Path) -> Genesis:
    """The genesis of a file. Raises UserError GENESIS: not there, or it is none."""
    return read_genesis(_text_of(path))


def load_genesis(path: Path) -> Genesis | None:
    """The genesis that this node joined, None where it has joined no network. Raises UserError GENESIS."""
    return read_genesis_file(path) if path.exists() else None


def keep_genesis(path: Path, genesis: Genesis) -> None:
    """Writes the genesis where the configuration looks for it: the node has joined. Idempotent.

    Raises:
        UserError: WRONG_NETWORK, where the node has joined another network.
    """
    known = load_genesis(path)
    if known is None:
        _write(path, wrap("GENESIS", encode(genesis)))
    else:
        check_same_network(known, network_id(genesis))


def check_same_network(known: Genesis, network: NetworkId) -> None:
    """Raises UserError WRONG_NETWORK where `known`, which this node joined, is another than `network`."""
    if network_id(known) != network:
        raise UserError(
            f"this node belongs to another network: {known.name}",
            "use another data directory for another network",
            code=Code.WRONG_NETWORK,
        )


def join_network(config: Config, file: Path, *, is_json: bool) -> None:
    """Joins the network of a genesis file while the daemon is not running.

    Raises:
        UserError: GENESIS: no genesis file, or one without this clinic; WRONG_NETWORK.
    """
    genesis = read_genesis_file(file)
    if config.node.role == "clinic":
        own = read_card(paths.card(config.node.data_dir))
        check_founder(genesis, own.id_key, own.vote_key, own.enc_key)
    keep_genesis(config.network.genesis, genesis)
    result = joined(genesis)
    if is_json:
        print(encode_document(result).decode())
    else:
        print(f"joined {result.name}  members {result.members} (need {result.quorum})")


def joined(genesis: Genesis) -> NetworkJoinResult:
    """What to tell of having joined the network of `genesis`."""
    return NetworkJoinResult(
        network=network_id(genesis).hex(),
        name=genesis.name,
        members=len(genesis.members),
        quorum=genesis_committee(genesis).quorum,
        joined=True,
    )


def is_founder(genesis: Genesis, id_key: bytes) -> bool:
    return any(one.id_key == id_key for one in genesis.members)


def check_founder(genesis: Genesis, id_key: bytes, vote_key: bytes | None, enc_key: bytes) -> None:
    """Raises UserError GENESIS where the clinic of these keys is not a founder, or is one by other keys.

    `vote_key` is None where it was rotated since: the ledger knows the present one.
    """
    member = next((one for one in genesis.members if one.id_key == id_key), None)
    if member is None:
        raise UserError(
            f"this clinic is not among the founders of {genesis.name}",
            "ask a member for an invitation: chartmesh network invite; then join with its code",
            code=Code.GENESIS,
        )
    if member.enc_key != enc_key or vote_key not in (None, member.vote_key):
        raise UserError(
            f"this clinic is in {genesis.name} with other keys than it has",
            "found the network with the file `card` of this data directory",
            code=Code.GENESIS,
        )


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(2 * limits.ARMOUR_BYTES_MAX + 1).decode("ascii")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", "check the path", code=Code.GENESIS
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file", "check the path", code=Code.GENESIS) from error


def _write(path: Path, text: str) -> None:
    try:
        create_durably(path, text.encode("ascii"))
    except FileExistsError as error:
        raise UserError(f"{path} exists already", "choose another file", code=Code.GENESIS) from error
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "check the path", code=Code.GENESIS
        ) from error


def _report(genesis: Genesis, path: Path, *, is_json: bool) -> None:
    if is_json:
        document = {
            "v": 1,
            "type": "result",
            "network": network_id(genesis).hex(),
            "name": genesis.name,
            "genesis": str(path),
            "members": [{"id": member.id_key.hex(), "name": member.name} for member in genesis.members],
        }
        print(json.dumps(document))
        return
    print(f"network {genesis.name}  {network_id(genesis).hex()}")
    print(f"genesis file {path}")
    print(f"next: give it to every clinic and patient of the network: chartmesh network join {path.name}")
    print(f"terms that joining accepts: {TERMS}", file=sys.stderr)
