"""Each signature is checked once a run, by whichever node meets it first.

Ed25519 is a pure function of its input, so a memory of what was signed or verified gives every node
the answer that it would have computed. What does not verify is never remembered and is computed anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import nacl.bindings

_SEED_BYTES = 32
_SIGNATURE_BYTES = 64


@contextmanager
def remember_signatures() -> Iterator[None]:
    """While entered, libsodium is asked once for each signature in this process."""
    real_sign, real_open = nacl.bindings.crypto_sign, nacl.bindings.crypto_sign_open
    valid: set[bytes] = set()

    def sign(message: bytes, secret: bytes) -> bytes:
        signed = real_sign(message, secret)
        valid.add(secret[_SEED_BYTES:] + signed)
        return signed

    def open_signed(signed: bytes, public: bytes) -> bytes:
        if public + signed not in valid:
            real_open(signed, public)
            valid.add(public + signed)
        return signed[_SIGNATURE_BYTES:]

    with patch.multiple(nacl.bindings, crypto_sign=sign, crypto_sign_open=open_signed):
        yield
