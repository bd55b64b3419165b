"""Sealed bytes by what bears them, a token or one of its grants: whose they are, and whether they count."""

from protocol.proofs import ABOUT_TOKEN
from protocol.state import Lookups, is_live
from protocol.transactions import (
    Grant,
    GrantId,
    TokenId,
    VerifiedTransaction,
    named_sealed_hash,
    sealed_token,
)

Bearer = tuple[TokenId, GrantId]
"""What a transaction gave sealed bytes to: a grant of a token, or with ABOUT_TOKEN the token itself."""


def bearer_of(transaction: VerifiedTransaction) -> Bearer | None:
    """What bears the sealed bytes beside `transaction`; None where none travel beside it."""
    body = transaction.body
    if named_sealed_hash(body) is None:
        return None
    grant = body.grant_id if isinstance(body, Grant) else ABOUT_TOKEN
    return sealed_token(transaction.id, body), grant


def bears(state: Lookups, bearer: Bearer, sealed_hash: bytes) -> bool:
    """Whether by `state` every node should keep the bytes of this hash for `bearer`: they are those of the
    grant and it is live, or those of the token's present generation and it is not erased."""
    token = state.token(bearer[0])
    if token is None or token.erased:
        return False
    if bearer[1] == ABOUT_TOKEN:
        return token.sealed_key_hash == sealed_hash
    grant = state.grant(*bearer)
    return grant is not None and is_live(grant, token) and grant.sealed_hash == sealed_hash
