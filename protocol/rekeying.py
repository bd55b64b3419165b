"""New keys for a token: what ends a generation and begins the next.

Only whoever holds the next key that the token committed to can end its generation. The device does not:
that key comes from the 24 words alone, which are typed in for the occasion.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.grants import SealedKey, seal_key
from protocol.keys import PublicKey, SealKey, SigningKey
from protocol.transactions import GrantId, Rotate, TokenId, sealed_hash, sign_transaction


@dataclass(frozen=True, slots=True)
class FreshKeys:
    """The public half of one-time keys that nothing was given to yet."""

    owner_key: PublicKey
    next_key_hash: bytes
    enc_key: SealKey


def sign_rotation(
    token: TokenId,
    generation: int,
    held: SealedKey,
    *,
    next_key: SigningKey,
    owner: SigningKey,
    fresh: FreshKeys,
    keep: Iterable[GrantId],
    network: bytes,
    entropy: bytes,
) -> tuple[bytes, bytes]:
    """The Rotate that ends `generation` of `token` and gives it to `fresh`, whose owner key is `owner`; and
    the sealed key beside it, which is `held` for the new keys.

    `entropy` is 32 fresh random bytes. All grants that are not in `keep` end with it.
    """
    sealed = seal_key(held, to=fresh.enc_key, entropy=entropy)
    body = Rotate(
        token=token,
        generation=generation,
        next_key=next_key.public,
        owner_key=fresh.owner_key,
        next_key_hash=fresh.next_key_hash,
        enc_key=fresh.enc_key,
        sealed_key_hash=sealed_hash(sealed),
        keep=tuple(sorted(set(keep))),
    )
    return sign_transaction(body, (next_key, owner), network), sealed
