"""Key files: a clinic's keys and a patient's wallet, in one small private file each.

A file is a magic line, a canonical `_KeyFile` and a SHA-256 over both, so that damage is told from a
wrong passphrase. The body is a libsodium secretbox (XSalsa20-Poly1305) under a key derived from the
passphrase with Argon2id (RFC 9106) and bound to the file's kind; or plain, where its owner chose so.
The cost of the derivation is in the header, so that it can rise, and capped when read, so that a
forged header cannot ask for all memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, TypeVar

import msgspec
import nacl.exceptions
import nacl.pwhash.argon2id as argon2id
from nacl.secret import SecretBox

from node.ports import Entropy
from node.store.durable import create_durably, read_private, replace_durably
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Code, Malformed, UserError
from protocol.keys import SEED_BYTES, OpeningKey, PublicKey, SigningKey, hkdf
from protocol.limits import DEVICES_MAX, GIB, KIB, MIB
from protocol.wallet import HotMaster, wallet_id

KEY_FILE_BYTES_MAX: Final = MIB
PASSPHRASE_BYTES_MAX: Final = 4 * KIB
NEXT_KEY_HASHES: Final = 256
KDF_PASSES_MAX: Final = 16
KDF_MEMORY_BYTES_MAX: Final = GIB

_MAGIC: Final = b"chartmesh key file 1\n"
_NONCE_BYTES: Final = SecretBox.NONCE_SIZE
_NOT_OPENED: Final = (nacl.exceptions.CryptoError, ValueError, RuntimeError, TypeError)

Seed = Annotated[bytes, msgspec.Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)]
Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class ClinicKeys(Wire, frozen=True):
    """A clinic's secrets, as 32-byte seeds. `generation` rises with each new vote key."""

    KIND: ClassVar[str] = "clinic"

    identity_seed: Seed
    vote_seed: Seed
    enc_seed: Seed
    at_rest_key: Seed
    generation: int = 0

    def __repr__(self) -> str:
        return "ClinicKeys(…)"


class NextVoteKey(Wire, frozen=True):
    """A clinic's next vote key, from when it is made until the network votes with it."""

    KIND: ClassVar[str] = "next-vote-key"

    vote_seed: Seed

    def __repr__(self) -> str:
        return "NextVoteKey(…)"


class WalletKeys(Wire, frozen=True):
    """What a patient's device holds: hot masters, and hashes of next keys that it cannot derive.

    `hot_masters` are those of her devices by number, this one's last: records that were not rotated yet
    still have keys of an earlier one. The hashes are those of the indices from `first_hash` on.
    """

    KIND: ClassVar[str] = "wallet"

    hot_masters: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1, max_length=DEVICES_MAX)]
    next_key_hashes: tuple[Hash, ...]
    first_hash: int = 0

    def __repr__(self) -> str:
        return "WalletKeys(…)"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """A clinic's keys, ready to use. `vote` is None where it has no vote."""

    identity: SigningKey
    vote: SigningKey | None
    opening: OpeningKey
    at_rest_key: bytes

    @classmethod
    def of(cls, keys: ClinicKeys) -> "Keyring":
        return cls(
            SigningKey(keys.identity_seed),
            SigningKey(keys.vote_seed),
            OpeningKey(keys.enc_seed),
            keys.at_rest_key,
        )


def identity_of(keys: ClinicKeys | WalletKeys) -> PublicKey:
    """The key that names a node: the clinic's to all, the wallet's to its owner alone."""
    match keys:
        case ClinicKeys():
            return SigningKey(keys.identity_seed).public
        case WalletKeys():
            return wallet_id(HotMaster(keys.hot_masters[0]))


Keys = TypeVar("Keys", ClinicKeys, NextVoteKey, WalletKeys)


@dataclass(frozen=True, slots=True)
class KdfCost:
    """The cost of one Argon2id derivation."""

    passes: int
    memory_bytes: int


MODERATE: Final = KdfCost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
CHEAPEST: Final = KdfCost(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)  # for tests alone


class _KeyFile(Wire, frozen=True):
    """`salt` is empty and the cost 0 where `body` is plain; else `body` is nonce ‖ secretbox."""

    kind: str
    passes: int
    memory_bytes: int
    salt: bytes
    body: bytes


def create_keyfile(
    path: Path, value: Keys, passphrase: bytes | None, entropy: Entropy, *, cost: KdfCost = MODERATE
) -> None:
    """Writes a new key file, durable when this returns; plain where `passphrase` is None.

    Raises:
        UserError: there is one already, which is not touched (Code.ALREADY_INITIALISED), or the
            place cannot be written (Code.KEY_FILE).
    """
    content = _write(value, passphrase, entropy, cost)
    try:
        create_durably(path, content)
    except FileExistsError as error:
        raise UserError(
            f"there is a key file already: {path}",
            "use another data directory, or move the old keys to a safe place",
            code=Code.ALREADY_INITIALISED,
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def replace_keyfile(
    path: Path, value: Keys, passphrase: bytes | None, entropy: Entropy, *, cost: KdfCost = MODERATE
) -> None:
    """Replaces a key file atomically, for example under a new passphrase.

    Raises:
        UserError: the place cannot be written (Code.KEY_FILE).
    """
    content = _write(value, passphrase, entropy, cost)
    try:
        replace_durably(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def load_keyfile(path: Path, kind: type[Keys], passphrase: bytes | None) -> Keys:
    """The keys in the file. A passphrase given for a plain file is ignored.

    Raises:
        UserError: missing, damaged, of another kind or readable by others (Code.KEY_FILE); the
            passphrase is wrong or needed (Code.WRONG_PASSPHRASE).
    """
    file = _read(path)
    if file.kind != kind.KIND:
        raise _damaged(path, f"holds the keys of a {file.kind}, not of a {kind.KIND}")
    body = _open_body(path, file, passphrase) if file.salt else file.body
    try:
        return decode(kind, body, limit=KEY_FILE_BYTES_MAX)
    except Malformed as error:
        raise _damaged(path, "is damaged") from error


def is_protected(path: Path) -> bool:
    """Whether the key file needs a passphrase. Raises UserError like `load_keyfile`."""
    return bool(_read(path).salt)


def read_passphrase_file(path: Path) -> bytes:
    """The passphrase in a private file, without the one newline that editors put at its end.

    Raises:
        UserError: missing, empty, too long, or readable by others (Code.KEY_FILE).
    """
    passphrase = read_private(path, PASSPHRASE_BYTES_MAX, "passphrase file").removesuffix(b"\n")
    if not passphrase:
        raise UserError(
            f"the passphrase file {path} is empty", "write the passphrase into it", code=Code.KEY_FILE
        )
    return passphrase


def _write(value: Keys, passphrase: bytes | None, entropy: Entropy, cost: KdfCost) -> bytes:
    body = encode(value)
    if passphrase is None:
        file = _KeyFile(value.KIND, 0, 0, b"", body)
    else:
        salt = entropy.bytes(argon2id.SALTBYTES)
        key = _derive(passphrase, salt, cost, value.KIND)
        box = SecretBox(key).encrypt(body, entropy.bytes(_NONCE_BYTES))
        file = _KeyFile(value.KIND, cost.passes, cost.memory_bytes, salt, bytes(box))
    content = _MAGIC + encode(file)
    return content + digest("key-file", content)


def _read(path: Path) -> _KeyFile:
    content = read_private(path, KEY_FILE_BYTES_MAX, "key file")
    counted, check = content[:-HASH_BYTES], content[-HASH_BYTES:]
    if not counted.startswith(_MAGIC):
        raise _damaged(path, "is not a key file of this version, or is damaged")
    if check != digest("key-file", counted):
        raise _damaged(path, "is damaged")
    try:
        return decode(_KeyFile, counted[len(_MAGIC) :], limit=KEY_FILE_BYTES_MAX)
    except Malformed as error:
        raise _damaged(path, "is damaged") from error


def _open_body(path: Path, file: _KeyFile, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        raise UserError(
            f"the key file {path} is protected by a passphrase",
            "give it with --passphrase-file, or set [keys] passphrase_file",
            code=Code.WRONG_PASSPHRASE,
        )
    in_range = (
        len(file.salt) == argon2id.SALTBYTES
        and argon2id.OPSLIMIT_MIN <= file.passes <= KDF_PASSES_MAX
        and argon2id.MEMLIMIT_MIN <= file.memory_bytes <= KDF_MEMORY_BYTES_MAX
    )
    if not in_range:
        raise _damaged(path, "asks for a key derivation outside the limits")
    key = _derive(passphrase, file.salt, KdfCost(file.passes, file.memory_bytes), file.kind)
    try:
        return SecretBox(key).decrypt(file.body)
    except _NOT_OPENED as error:
        raise UserError(
            f"the passphrase does not open the key file {path}",
            "check the passphrase; nobody can restore it",
            code=Code.WRONG_PASSPHRASE,
        ) from error


def _derive(passphrase: bytes, salt: bytes, cost: KdfCost, kind: str) -> bytes:
    try:
        secret = argon2id.kdf(
            SecretBox.KEY_SIZE, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory_bytes
        )
    except RuntimeError as error:
        raise UserError(
            "there is not enough memory to derive the key from the passphrase",
            f"free {cost.memory_bytes // MIB} MiB of memory and try again",
            code=Code.KEY_FILE,
        ) from error
    return hkdf(secret, f"key-file/{kind}")


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"the key file {path} {what}", "restore it from your backup", code=Code.KEY_FILE)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write the key file {path}: {error.strerror}",
        "check the directory, its owner and the free space",
        code=Code.KEY_FILE,
    )
