"""One-time nonces of a stream: each is good for the next signed request on it, and no other."""

from node.ports import Entropy
from protocol.errors import Malformed

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

    def spend(self, nonce: bytes) -> None:
        """Takes the nonce drawn last. Raises Malformed where that is not `nonce`."""
        if nonce != self.take():
            raise Malformed("not under the nonce given on this stream")
