"""The primitives against project Wycheproof: what must verify does, what must not does not."""

from contextlib import suppress
from pathlib import Path

import nacl.bindings
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import keys
from protocol.errors import Malformed
from tests.vectors.wycheproof import Case, cases

NETWORK = bytes(32)


def raw(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def ed25519_verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """The call that `keys.verify` makes, without its preimage, which vectors do not have."""
    try:
        return bool(nacl.bindings.crypto_sign_open(signature + message, key) == message)
    except keys._REFUSALS:
        return False


def test_ed25519_signatures_verify_exactly_where_they_should() -> None:
    wrong, seen = [], 0
    for group, case in cases("ed25519"):
        seen += 1
        key, signature = raw(group["publicKey"], "pk"), raw(case, "sig")
        is_valid = len(signature) == keys.SIGNATURE_BYTES and ed25519_verifies(
            key, raw(case, "msg"), signature
        )
        if is_valid != (case["result"] == "valid"):
            wrong.append(case["tcId"])
    assert (wrong, seen) == ([], 151)


def test_no_ed25519_vector_passes_or_raises_as_a_signature_of_ours() -> None:
    """Not one covers our preimage, so each is false, whichever way libsodium refuses it."""
    for group, case in cases("ed25519"):
        key = bytes((keys.ED25519,)) + raw(group["publicKey"], "pk")
        assert not keys.verify(key, "transaction", NETWORK, raw(case, "msg"), raw(case, "sig")), case[
            "tcId"
        ]


def test_x25519_gives_the_shared_secret_or_refuses_a_worthless_key() -> None:
    wrong, seen = [], 0
    for _, case in cases("x25519"):
        seen += 1
        shared: bytes | None = None
        with suppress(*keys._REFUSALS):
            shared = nacl.bindings.crypto_scalarmult(raw(case, "private"), raw(case, "public"))
        expected = None if "ZeroSharedSecret" in case["flags"] else raw(case, "shared")
        if shared != expected:
            wrong.append(case["tcId"])
    assert (wrong, seen) == ([], 518)


def test_nothing_is_sealed_to_an_x25519_key_that_gives_no_secret() -> None:
    seen = {True: 0, False: 0}
    for _, case in cases("x25519"):
        key, is_worthless = bytes((keys.X25519,)) + raw(case, "public"), "ZeroSharedSecret" in case["flags"]
        seen[is_worthless] += 1
        if is_worthless:
            with pytest.raises(Malformed):
                keys.seal(key, b"content key", entropy=bytes(32))
        else:
            sealed = keys.seal(key, b"content key", entropy=bytes(32))
            assert len(sealed) == len(b"content key") + keys.SEAL_OVERHEAD_BYTES
    assert seen == {True: 31, False: 487}


def test_a_sealed_box_opens_with_the_library_and_what_the_library_seals_opens_with_us() -> None:
    for number in range(20):
        opening = keys.OpeningKey(bytes((number,)) * 32)
        public, secret = nacl.bindings.crypto_box_seed_keypair(bytes((number,)) * 32)
        sealed = keys.seal(opening.public, b"content key", entropy=bytes((200 + number,)) * 32)
        assert nacl.bindings.crypto_box_seal_open(sealed, public, secret) == b"content key"
        assert opening.open(nacl.bindings.crypto_box_seal(b"other key", public)) == b"other key"


def test_aes_gcm_seals_and_opens_as_it_should_in_the_sizes_of_a_blob() -> None:
    wrong, seen = [], 0
    for group, case in cases("aes_gcm"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        seen += 1
        cipher, sealed = AESGCM(raw(case, "key")), raw(case, "ct") + raw(case, "tag")
        nonce, message, associated = raw(case, "iv"), raw(case, "msg"), raw(case, "aad")
        try:
            is_valid = cipher.decrypt(nonce, sealed, associated) == message
        except InvalidTag:
            is_valid = False
        same = cipher.encrypt(nonce, message, associated) == sealed
        if (is_valid, same) != (case["result"] == "valid",) * 2:
            wrong.append(case["tcId"])
    assert wrong == []
    assert seen >= 60


def test_hkdf_gives_the_published_keys() -> None:
    """Ours takes ASCII labels, which the vectors without one have; the library is held to them all."""
    ours = theirs = 0
    for _, case in cases("hkdf_sha256"):
        secret, salt, info, size = raw(case, "ikm"), raw(case, "salt"), raw(case, "info"), case["size"]
        if case["result"] != "valid":
            with pytest.raises(ValueError, match="range"):
                keys.hkdf(secret, "", salt=salt, length=size)
            continue
        assert HKDF(SHA256(), size, salt, info).derive(secret) == raw(case, "okm"), case["tcId"]
        theirs += 1
        if info.isascii():
            assert keys.hkdf(secret, info.decode("ascii"), salt=salt, length=size) == raw(case, "okm"), (
                case["tcId"]
            )
            ours += 1
    assert (ours, theirs) == (31, 83)


@settings(deadline=None)
@given(
    st.binary(max_size=80),
    st.text(st.characters(max_codepoint=127), max_size=80),
    st.binary(max_size=80),
    st.integers(1, 200),
)
def test_hkdf_is_the_librarys_for_every_label(secret: bytes, info: str, salt: bytes, length: int) -> None:
    expected = HKDF(SHA256(), length, salt, info.encode("ascii")).derive(secret)
    assert keys.hkdf(secret, info, salt=salt, length=length) == expected


def test_missing_vectors_fail_in_ci_and_are_skipped_with_the_reason_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"\.\./shared/vectors: no ed25519_test\.json"):
        cases("ed25519", tmp_path)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=r"\.\./shared/vectors: no ed25519_test\.json"):
        cases("ed25519", tmp_path)
