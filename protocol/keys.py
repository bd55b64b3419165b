"""Keys, signatures and sealed boxes: the only importer of PyNaCl.

A public key is an algorithm byte followed by the raw key, so that other suites can join later. Every
signature covers `"chartmesh/1" ‖ kind ‖ network id ‖ bytes`; without the right kind and network it
does not verify. Ed25519: RFC 8032. X25519 sealed boxes: libsodium's crypto_box_seal. HKDF: RFC 5869.
"""

import hashlib
import hmac
from typing import Final, NewType

import nacl.bindings
import nacl.exceptions

from protocol.codec import digest
from protocol.errors import Malformed

PublicKey = NewType("PublicKey", bytes)
"""33 bytes: algorithm byte 0x01 and an Ed25519 public key."""

SealKey = NewType("SealKey", bytes)
"""33 bytes: algorithm byte 0x02 and an X25519 public key."""

ED25519: Final = 0x01
X25519: Final = 0x02
KEY_BYTES: Final = 33
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SEAL_OVERHEAD_BYTES: Final = 48
NONCE_BYTES: Final = 24
NETWORK_ID_BYTES: Final = 32
_CONTEXT: Final = b"chartmesh/1"

# What libsodium's bindings raise for one and the same thing, an input that does not verify or open.
_REFUSALS: Final = (nacl.exceptions.CryptoError, ValueError, RuntimeError, TypeError)


def preimage(kind: str, network: bytes, body: bytes) -> bytes:
    """The bytes a signature covers. `kind` is length-prefixed, `network` is 32 bytes."""
    name = kind.encode("ascii")
    return _CONTEXT + bytes((len(name),)) + name + network + body


class SigningKey:
    """An Ed25519 private key from a 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        self._public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.public = PublicKey(bytes((ED25519,)) + self._public)

    def sign(self, kind: str, network: bytes, body: bytes) -> bytes:
        """64 bytes over the preimage of `body`; deterministic (RFC 8032)."""
        return nacl.bindings.crypto_sign(preimage(kind, network, body), self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:12]}…)"


class OpeningKey:
    """An X25519 private key from a 32-byte seed: opens what was sealed to its public half.

    What its owner keeps for itself goes into a secretbox (XSalsa20-Poly1305) under a key derived from it,
    which opens many times faster: nobody else writes there.
    """

    def __init__(self, seed: bytes) -> None:
        public, self._secret = nacl.bindings.crypto_box_seed_keypair(seed)
        self._public = public
        self._own = hkdf(self._secret, "chartmesh/1 own entries")
        self.public = SealKey(bytes((X25519,)) + public)

    def open(self, sealed: bytes) -> bytes | None:
        """The plaintext, or None where `sealed` is not a box for this key."""
        try:
            return nacl.bindings.crypto_box_seal_open(sealed, self._public, self._secret)
        except _REFUSALS:
            return None

    def keep(self, plaintext: bytes, *, nonce: bytes) -> bytes:
        """A box that this key alone opens: the nonce of NONCE_BYTES, never used twice, and a secretbox."""
        return nonce + nacl.bindings.crypto_secretbox(plaintext, nonce, self._own)

    def open_kept(self, kept: bytes) -> bytes | None:
        """The plaintext, or None where `kept` is not what this key kept."""
        try:
            return nacl.bindings.crypto_secretbox_open(kept[NONCE_BYTES:], kept[:NONCE_BYTES], self._own)
        except _REFUSALS:
            return None

    def __repr__(self) -> str:
        return f"OpeningKey({self.public.hex()[:12]}…)"


def is_public_key(key: bytes) -> bool:
    """Whether `key` has the shape of a signing key this version knows."""
    return len(key) == KEY_BYTES and key[0] == ED25519


def is_seal_key(key: bytes) -> bool:
    """Whether `key` has the shape of a sealing key this version knows."""
    return len(key) == KEY_BYTES and key[0] == X25519


def verify(key: bytes, kind: str, network: bytes, body: bytes, signature: bytes) -> bool:
    """Whether `signature` is by `key` over `body` of this kind in this network. Never raises."""
    if not is_public_key(key) or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + preimage(kind, network, body), key[1:])
    except _REFUSALS:
        return False
    return True


def seal(key: bytes, plaintext: bytes, *, entropy: bytes) -> bytes:
    """An anonymous sealed box to `key` under an ephemeral key from `entropy`, 32 fresh random bytes.

    The layout is libsodium's crypto_box_seal: ephemeral public key, then crypto_box under the nonce
    BLAKE2b-192(ephemeral key ‖ recipient key).

    Raises:
        Malformed: `key` is not a sealing key, or of small order.
    """
    if not is_seal_key(key):
        raise Malformed("not a sealing key")
    public, secret = nacl.bindings.crypto_box_seed_keypair(entropy)
    nonce = hashlib.blake2b(public + key[1:], digest_size=24).digest()
    try:
        return public + nacl.bindings.crypto_box(plaintext, nonce, key[1:], secret)
    except _REFUSALS as error:
        raise Malformed("sealing key is not usable") from error


def hkdf(secret: bytes, info: str, *, salt: bytes = b"", length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 or fewer bytes a block, `info` an ASCII label."""
    pseudorandom = hmac.digest(salt or bytes(32), secret, "sha256")
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(pseudorandom, block + info.encode("ascii") + bytes((counter,)), "sha256")
        output += block
        counter += 1
    return output[:length]


def fingerprint(key: bytes) -> str:
    """16 hexadecimal characters that people compare; not used in any decision."""
    return digest("fingerprint", key).hex()[:16]
