"""Spoiled files of a node's own: the key file and the vote file are whole, or refused as what they are."""

import random
from contextlib import closing, suppress
from pathlib import Path

import pytest

from node import keystore
from node.keystore import CHEAPEST, ClinicKeys, create_keyfile, load_keyfile
from node.store.votefile import FILE_BYTES, create_vote_file, open_vote_file
from protocol.codec import HASH_BYTES, decode, digest, encode
from protocol.errors import Code, StorageError, UserError
from protocol.limits import KIB
from tests.fuzz.mutate import everywhere, mutate
from tests.fuzz.test_doors import CASES, SEED, told
from tests.fuzz.values import Maker

KEYS = ClinicKeys(b"1" * 32, b"2" * 32, b"3" * 32, b"4" * 32, 3)
MAGIC = keystore._MAGIC


class Dice:
    """Entropy by dice."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)


def key_file(folder: Path, passphrase: bytes | None) -> bytes:
    path = folder / "whole"
    create_keyfile(path, KEYS, passphrase, Dice("keys"), cost=CHEAPEST)
    return path.read_bytes()


def load(folder: Path, content: bytes, passphrase: bytes | None = None) -> ClinicKeys | None:
    """The keys of a file with this content, or None where it is refused as a key file is."""
    path = folder / "spoiled"
    path.touch(mode=0o600)
    path.write_bytes(content)
    try:
        return load_keyfile(path, ClinicKeys, passphrase)
    except UserError as error:
        refusal = error
    assert refusal.code in (Code.KEY_FILE, Code.WRONG_PASSPHRASE)
    assert refusal.hint
    return None


def test_a_spoiled_key_file_is_refused(tmp_path: Path) -> None:
    for passphrase in (None, b"words"):
        folder = tmp_path / str(passphrase)
        folder.mkdir()
        whole = key_file(folder, passphrase)
        assert load(folder, whole, passphrase) == KEYS
        dice = random.Random(f"{SEED}/key-file")
        for _ in range(CASES):
            spoiled = mutate(dice, whole, [whole])
            assert spoiled == whole or load(folder, spoiled, passphrase) is None, told(spoiled.hex())


def test_a_key_file_spoiled_under_its_checksum_is_refused_or_holds_other_keys(tmp_path: Path) -> None:
    """As whoever can write the file could: the checksum is right, what is inside is not."""
    whole = key_file(tmp_path, None)
    inside = whole[len(MAGIC) : -HASH_BYTES]
    file = decode(keystore._KeyFile, inside, limit=KIB)
    dice = random.Random(f"{SEED}/key-file-inside")
    spoiled = [raw for _, raw in everywhere(inside)]
    spoiled += [mutate(dice, inside, [inside]) for _ in range(CASES)]
    bodies = [raw for _, raw in everywhere(file.body)]
    bodies += [mutate(dice, file.body, [file.body]) for _ in range(CASES)]
    spoiled += [encode(keystore._KeyFile(file.kind, 0, 0, b"", body)) for body in bodies]
    for raw in spoiled:
        content = MAGIC + raw
        keys = load(tmp_path, content + digest("key-file", content))
        assert keys is None or decode(ClinicKeys, encode(keys), limit=KIB) == keys, told(raw.hex())


def test_a_key_file_that_asks_for_a_costly_derivation_is_refused(tmp_path: Path) -> None:
    for passes, memory in ((0, 8192), (2**40, 8192), (1, 2**63 - 1), (1, -1), (-1, 8192)):
        raw = encode(keystore._KeyFile("clinic", passes, memory, bytes(16), bytes(80)))
        content = MAGIC + raw
        assert load(tmp_path, content + digest("key-file", content), b"words") is None


@pytest.mark.parametrize("saves", [0, 1, 2, 5])
def test_a_spoiled_vote_file_gives_a_record_that_was_saved_or_is_refused(
    tmp_path: Path, saves: int
) -> None:
    path = tmp_path / "votes"
    create_vote_file(path)
    maker, saved = Maker(random.Random("votes")), list[bytes | None]([None])
    file = open_vote_file(path)
    for _ in range(saves):
        saved.append(maker.octets(120))
        file.save(saved[-1] or b"")
    file.close()
    whole, dice = path.read_bytes(), random.Random(f"{SEED}/votes/{saves}")
    for _ in range(CASES // 2):
        content = whole
        for _ in range(dice.choice((1, 2, 8, 60))):
            at = dice.randrange(FILE_BYTES)
            length = dice.choice((1, 1, 64, 4096))
            content = content[:at] + dice.randbytes(length) + content[at + length :]
        path.write_bytes(content[: dice.choice((FILE_BYTES, FILE_BYTES, dice.randrange(FILE_BYTES)))])
        spoiled = open_vote_file(path)
        with closing(spoiled), suppress(StorageError):
            assert spoiled.load() in saved[-2:], told(content.hex())
