"""A record erased for good: what its owner signs.

Only whoever holds the owner key and the next key to which the token is committed can erase it: a thief of
the device has the first and not the second, which comes from the 24 words alone.
"""

from protocol.keys import SigningKey
from protocol.transactions import Erase, TokenId, sign_transaction


def sign_erasure(
    token: TokenId, generation: int, *, owner: SigningKey, next_key: SigningKey, network: bytes
) -> bytes:
    """The Erase that ends `generation` of `token`, every grant with it, and every holder's ciphertext."""
    return sign_transaction(Erase(token, generation, next_key.public), (owner, next_key), network)
