"""A holder's own key over the ciphertext that it keeps: whoever takes its disk has not even that.

Each blob gets a key of its own, by HKDF-SHA256 from the holder's secret and the random id under which the
blob lies; each chunk is sealed with AES-256-GCM under its number. One id is for one ciphertext: a chunk
that is written again under it is the same chunk.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import Malformed
from protocol.keys import hkdf

INFO = "chartmesh/1 at rest"
_NONCE_BYTES = 12


class AtRest:
    """The keys of one holder; `secret` are 32 bytes that nobody else has."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def blob(self, blob_id: bytes) -> "BlobAtRest":
        """What keeps and opens the chunks of one blob."""
        return BlobAtRest(hkdf(self._secret, INFO, salt=blob_id))


class BlobAtRest:
    """Keeps and opens the chunks of one blob under a 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def keep(self, index: int, chunk: bytes) -> bytes:
        """What goes on the disk of chunk `index`: 16 bytes more."""
        return self._cipher.encrypt(index.to_bytes(_NONCE_BYTES, "big"), chunk, None)

    def open(self, index: int, kept: bytes) -> bytes:
        """The chunk.

        Raises:
            Malformed: not what `keep` made of chunk `index` of this blob.
        """
        try:
            return self._cipher.decrypt(index.to_bytes(_NONCE_BYTES, "big"), kept, None)
        except InvalidTag as error:
            raise Malformed("a chunk is not what was kept") from error
