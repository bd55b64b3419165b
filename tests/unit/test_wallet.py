"""Every key of a patient comes from her 24 words, the same way for ever, and only by hardened steps."""

import hashlib
import hmac
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Code, Malformed, UserError
from protocol.keys import PublicKey, SigningKey
from protocol.transactions import next_key_hash, verify_enrolment
from protocol.wallet import (
    cold_master,
    enrol,
    entropy_of,
    hot_master,
    next_key,
    next_key_hashes,
    opening_key,
    owner_key,
    words_of,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/wallet.json").read_text())[
    "vectors"
]
WORDLIST = resources.files("mnemonic").joinpath("wordlist/english.txt").read_text().split()
ENTROPY = bytes(range(32))
ISSUER = SigningKey(bytes(32)).public
NETWORK = bytes(32)

vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["entropy"][:8]))


def derived(secret: bytes, label: str) -> bytes:
    """HKDF-SHA256 for one block, written out from RFC 5869."""
    pseudorandom = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, label.encode() + b"\x01", hashlib.sha256).digest()


def ed25519(seed: bytes) -> str:
    return "01" + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def x25519(seed: bytes) -> str:
    secret = hashlib.sha512(seed).digest()[:32]
    return "02" + X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw().hex()


@vectors
def test_the_words_of_a_vector_are_bip39s(vector: dict[str, Any]) -> None:
    entropy = bytes.fromhex(vector["entropy"])
    bits = "".join(f"{byte:08b}" for byte in entropy + hashlib.sha256(entropy).digest()[:1])
    expected = [WORDLIST[int(bits[at : at + 11], 2)] for at in range(0, 264, 11)]
    assert vector["words"].split() == expected
    assert words_of(entropy) == vector["words"]
    assert entropy_of(vector["words"]) == entropy


@vectors
def test_the_keys_of_a_vector_follow_from_hashes_alone(vector: dict[str, Any]) -> None:
    entropy = bytes.fromhex(vector["entropy"])
    hot = derived(entropy, f"chartmesh/1/wallet/hot/{vector['device']}")
    cold = derived(entropy, "chartmesh/1/wallet/cold")
    for keys in vector["keys"]:
        index = keys["index"]
        assert keys["owner_key"] == ed25519(derived(hot, f"owner/{index}"))
        assert keys["enc_key"] == x25519(derived(hot, f"opening/{index}"))
        assert keys["next_key"] == ed25519(derived(cold, f"next/{index}"))
        tagged = bytes((8,)) + b"next-key" + bytes.fromhex(keys["next_key"])
        assert keys["next_key_hash"] == hashlib.sha256(tagged).hexdigest()


@vectors
def test_the_wallet_derives_the_keys_of_a_vector(vector: dict[str, Any]) -> None:
    entropy = entropy_of(vector["words"])
    hot, cold = hot_master(entropy, device=vector["device"]), cold_master(entropy)
    for keys in vector["keys"]:
        index = keys["index"]
        assert owner_key(hot, index).public.hex() == keys["owner_key"]
        assert opening_key(hot, index).public.hex() == keys["enc_key"]
        assert next_key(cold, index).public.hex() == keys["next_key"]
        assert [item.hex() for item in next_key_hashes(cold, index, 1)] == [keys["next_key_hash"]]


def test_words_are_those_of_the_published_bip39_vectors() -> None:
    assert words_of(bytes(32)) == "abandon " * 23 + "art"
    assert words_of(b"\xff" * 32) == "zoo " * 23 + "vote"
    assert words_of(b"\x7f" * 32) == "legal winner thank year wave sausage worth useful " * 2 + (
        "legal winner thank year wave sausage worth title"
    )


@given(st.binary(min_size=32, max_size=32))
def test_words_come_back_as_the_same_entropy(entropy: bytes) -> None:
    assert entropy_of(words_of(entropy)) == entropy


@given(st.binary(min_size=32, max_size=32))
def test_capitals_spacing_and_the_first_four_letters_are_enough(entropy: bytes) -> None:
    short = "\n ".join(word[:4].upper() for word in words_of(entropy).split())
    assert entropy_of(f"  {short}\n") == entropy


def wrong_words(words: str) -> str:
    with pytest.raises(UserError) as caught:
        entropy_of(words)
    assert caught.value.code is Code.WORDS
    assert caught.value.hint
    return caught.value.message


def test_a_slip_in_the_words_says_where_and_repeats_no_word() -> None:
    words = words_of(ENTROPY).split()
    assert wrong_words(" ".join(words[:23])) == "these are 23 words, not 24"
    assert wrong_words("") == "these are 0 words, not 24"
    slipped = [*words[:4], "xyzzy", *words[5:22], "é", words[23]]
    assert wrong_words(" ".join(slipped)) == "not a word of the list: number 5, 23"


def test_two_words_exchanged_fail_the_checksum() -> None:
    words = words_of(ENTROPY).split()
    words[0], words[1] = words[1], words[0]
    assert "together" in wrong_words(" ".join(words))


def test_twelve_words_of_another_wallet_are_not_enough() -> None:
    assert wrong_words("abandon " * 11 + "about") == "these are 12 words, not 24"


def test_no_two_keys_of_a_wallet_are_the_same() -> None:
    cold = cold_master(ENTROPY)
    keys: list[bytes] = [next_key(cold, index).public for index in range(12)]
    for device in range(2):
        hot = hot_master(ENTROPY, device=device)
        keys += [
            key.public for index in range(12) for key in (owner_key(hot, index), opening_key(hot, index))
        ]
    assert len({key[1:] for key in keys}) == 12 + 2 * 2 * 12


def test_a_wallet_shows_no_secret_in_a_message() -> None:
    for master in (hot_master(ENTROPY), cold_master(ENTROPY)):
        assert master.secret.hex() not in f"{master!r} {master}"
        assert repr(master.secret) not in f"{master!r} {master}"


def test_the_pool_holds_the_commitments_of_consecutive_next_keys() -> None:
    cold = cold_master(ENTROPY)
    assert next_key_hashes(cold, 5, 3) == tuple(
        next_key_hash(next_key(cold, at).public) for at in (5, 6, 7)
    )
    assert next_key_hashes(cold, 0, 0) == ()


def test_an_enrolment_is_the_owners_consent_with_the_keys_of_its_index() -> None:
    hot = hot_master(ENTROPY)
    [committed] = next_key_hashes(cold_master(ENTROPY), 7, 1)
    terms = verify_enrolment(enrol(hot, 7, committed, ISSUER, 99, NETWORK), NETWORK)
    assert (terms.issuer, terms.not_after_ms, terms.next_key_hash) == (ISSUER, 99, committed)
    assert terms.owner_key == owner_key(hot, 7).public
    assert terms.enc_key == opening_key(hot, 7).public


def test_an_enrolment_holds_in_no_other_network() -> None:
    signed = enrol(hot_master(ENTROPY), 0, bytes(32), PublicKey(ISSUER), 99, NETWORK)
    with pytest.raises(Malformed):
        verify_enrolment(signed, b"\1" * 32)
