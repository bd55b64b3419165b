"""One-time nonces of a stream: each is good for the next signed request on it, and no other."""

from node.ports import Entropy

NONCE_BYTES = 32


class StreamNonce:
    """At most one nonce is open at a time."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._open: bytes | None = None

    def draw(self) -> bytes:
        """A new nonce; one drawn before and not used is void."""
        self._open = self._entropy.bytes(NONCE_BYTES)
        return self._open

    def take(self) -> bytes | None:
        """The nonce drawn last, once; None where there is none or it was used."""
        nonce, self._open = self._open, None
        return nonce
