"""Key files: private, durable, and honest about why they do not open."""

import os
from pathlib import Path

import pytest

from node import keystore
from node.adapters import SystemEntropy
from node.keystore import (
    CHEAPEST,
    ClinicKeys,
    KdfCost,
    WalletKeys,
    create_keyfile,
    is_protected,
    load_keyfile,
    read_passphrase_file,
    replace_keyfile,
)
from protocol.codec import digest, encode
from protocol.errors import Code, UserError
from protocol.limits import GIB

ENTROPY = SystemEntropy()
CLINIC = ClinicKeys(b"i" * 32, b"v" * 32, b"e" * 32, b"r" * 32, 7)
WALLET = WalletKeys((b"h" * 32,), tuple(bytes((number,)) * 32 for number in range(256)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def create(path: Path, passphrase: bytes | None = b"secret") -> None:
    create_keyfile(path, CLINIC, passphrase, ENTROPY, cost=CHEAPEST)


def refusal(path: Path, passphrase: bytes | None = b"secret") -> Code:
    with pytest.raises(UserError) as caught:
        load_keyfile(path, ClinicKeys, passphrase)
    assert caught.value.hint
    return caught.value.code


def test_a_clinics_keys_open_with_their_passphrase(path: Path) -> None:
    create(path)
    assert load_keyfile(path, ClinicKeys, b"secret") == CLINIC
    assert is_protected(path)


def test_a_wallet_opens_with_its_pool(path: Path) -> None:
    create_keyfile(path, WALLET, b"secret", ENTROPY, cost=CHEAPEST)
    assert load_keyfile(path, WalletKeys, b"secret") == WALLET


def test_plain_keys_open_with_or_without_a_passphrase(path: Path) -> None:
    create(path, None)
    assert load_keyfile(path, ClinicKeys, None) == CLINIC
    assert load_keyfile(path, ClinicKeys, b"not needed") == CLINIC
    assert not is_protected(path)


def test_the_default_cost_is_moderate(path: Path) -> None:
    create_keyfile(path, CLINIC, b"secret", ENTROPY)
    header = keystore._read(path)
    assert (header.passes, header.memory_bytes) == (3, GIB // 4)
    assert load_keyfile(path, ClinicKeys, b"secret") == CLINIC


@pytest.mark.parametrize("passphrase", [b"wrong", b"", None])
def test_another_passphrase_or_none_is_told_from_damage(path: Path, passphrase: bytes | None) -> None:
    create(path)
    assert refusal(path, passphrase) is Code.WRONG_PASSPHRASE


def test_no_secret_is_in_a_protected_file_and_no_two_are_alike(path: Path, tmp_path: Path) -> None:
    create(path)
    create(tmp_path / "other")
    assert CLINIC.vote_seed not in path.read_bytes()
    assert path.read_bytes()[60:] != (tmp_path / "other").read_bytes()[60:]


def test_keys_do_not_print_their_secrets() -> None:
    assert "vvv" not in f"{CLINIC!r}{CLINIC}"
    assert "hhh" not in f"{WALLET!r}{WALLET}"


@pytest.mark.parametrize("passphrase", [b"secret", None])
def test_any_flipped_byte_is_damage(path: Path, passphrase: bytes | None) -> None:
    create(path, passphrase)
    content = path.read_bytes()
    for index in range(len(content)):
        path.write_bytes(content[:index] + bytes((content[index] ^ 1,)) + content[index + 1 :])
        assert refusal(path) is Code.KEY_FILE


def test_any_cut_is_damage(path: Path) -> None:
    create(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert refusal(path) is Code.KEY_FILE


def test_a_missing_file_or_a_directory_is_said_to_be_so(path: Path) -> None:
    assert refusal(path) is Code.KEY_FILE
    path.mkdir(mode=0o700)
    assert refusal(path) is Code.KEY_FILE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    create(path)
    path.chmod(mode)
    assert refusal(path) is Code.KEY_FILE


def test_a_file_is_private_from_its_first_byte(path: Path) -> None:
    before = os.umask(0)
    try:
        create(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_keys_are_never_written_over_others(path: Path) -> None:
    create(path)
    with pytest.raises(UserError) as caught:
        create_keyfile(path, WALLET, None, ENTROPY)
    assert caught.value.code is Code.ALREADY_INITIALISED
    assert load_keyfile(path, ClinicKeys, b"secret") == CLINIC


def test_a_failed_creation_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(UserError):
        create(path)
    assert not path.exists()


def test_a_key_file_can_be_replaced_under_a_new_passphrase(path: Path) -> None:
    create(path)
    path.with_name("keys.new").write_bytes(b"left over from a crash")
    replace_keyfile(path, CLINIC, b"other", ENTROPY, cost=CHEAPEST)
    assert load_keyfile(path, ClinicKeys, b"other") == CLINIC
    assert [file.name for file in path.parent.iterdir()] == ["keys"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_replacement_leaves_the_old_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(path)

    def failing(*_paths: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(UserError):
        replace_keyfile(path, CLINIC, b"other", ENTROPY, cost=CHEAPEST)
    assert load_keyfile(path, ClinicKeys, b"secret") == CLINIC


def test_a_clinics_keys_are_no_wallet(path: Path) -> None:
    create(path)
    with pytest.raises(UserError) as caught:
        load_keyfile(path, WalletKeys, b"secret")
    assert caught.value.code is Code.KEY_FILE


def forge(path: Path, **changes: object) -> None:
    """Rewrites the header of a key file under a right checksum."""
    header = keystore._read(path)
    values = {name: getattr(header, name) for name in header.__struct_fields__} | changes
    content = keystore._MAGIC + encode(keystore._KeyFile(**values))
    path.write_bytes(content + digest("key-file", content))


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_bytes": 64 * GIB},
        {"memory_bytes": keystore.KDF_MEMORY_BYTES_MAX + 1},
        {"memory_bytes": 0},
        {"memory_bytes": -1},
        {"passes": keystore.KDF_PASSES_MAX + 1},
        {"passes": 0},
        {"salt": b"short"},
    ],
)
def test_a_forged_header_can_not_ask_for_all_memory_or_nonsense(
    path: Path, changes: dict[str, object]
) -> None:
    create(path)
    forge(path, **changes)
    with pytest.raises(UserError, match="outside the limits") as caught:
        load_keyfile(path, ClinicKeys, b"secret")
    assert caught.value.code is Code.KEY_FILE


def test_a_forged_plain_body_is_damage(path: Path) -> None:
    create(path)
    forge(path, salt=b"", body=b"no keys")
    assert refusal(path) is Code.KEY_FILE


def test_a_wallet_relabelled_as_a_clinic_does_not_open(path: Path) -> None:
    create_keyfile(path, WALLET, b"secret", ENTROPY, cost=CHEAPEST)
    forge(path, kind="clinic")
    assert refusal(path) is Code.WRONG_PASSPHRASE


def test_a_seed_of_the_wrong_length_is_damage(path: Path) -> None:
    create_keyfile(path, ClinicKeys(b"", b"", b"", b""), None, ENTROPY, cost=KdfCost(1, 8192))
    assert refusal(path) is Code.KEY_FILE


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [(b"secret", b"secret"), (b"secret\n", b"secret"), (b"secret\n\n", b"secret\n"), (b" s \n", b" s ")],
)
def test_a_passphrase_file_loses_one_newline_and_nothing_else(
    path: Path, content: bytes, passphrase: bytes
) -> None:
    path.touch(0o600)
    path.write_bytes(content)
    assert read_passphrase_file(path) == passphrase


@pytest.mark.parametrize(("content", "mode"), [(b"s", 0o644), (b"s", 0o640), (b"", 0o600), (b"\n", 0o600)])
def test_a_passphrase_file_that_is_shared_or_empty_is_refused(
    path: Path, content: bytes, mode: int
) -> None:
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UserError) as caught:
        read_passphrase_file(path)
    assert caught.value.code is Code.KEY_FILE


def test_an_endless_passphrase_file_is_refused(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(bytes(keystore.PASSPHRASE_BYTES_MAX + 1))
    with pytest.raises(UserError):
        read_passphrase_file(path)
    with pytest.raises(UserError):
        read_passphrase_file(Path("/dev/zero"))
