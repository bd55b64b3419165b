"""What a token's owner gave to whom, told to her alone: for a device that has her words and no more."""

from collections.abc import Awaitable, Callable

from node.chain.ledger import Ledger
from protocol import limits
from protocol.grants import owner_box
from protocol.keys import PublicKey
from protocol.messages.light import GrantsReply, GrantsRequest, OwnedProof, OwnerCopy, verify_owned
from protocol.state import is_live
from protocol.transactions import GrantId, TokenId

Registered = Callable[[TokenId, GrantId, int], Awaitable[list[GrantId]]]
"""The ids of the grants that were ever registered for a token: rising, after one, at most so many."""

NO_GRANT = GrantId(b"")


async def owner_copies(
    ledger: Ledger, registered: Registered, request: GrantsRequest, *, server: PublicKey, network: bytes
) -> GrantsReply:
    """The live grants of the token that the signer of `request` owns; to all others none."""
    proof = OwnedProof(server, request.nonce)
    held = ledger.state.owner_key(request.key)
    if held is None or not verify_owned(proof, request.key, request.signature, network):
        return GrantsReply((), NO_GRANT)
    names = await registered(held.token, request.after, limits.GRANTS_REPLY_MAX)
    token = ledger.state.token(held.token)
    if token is None or token.owner_key != request.key:
        return GrantsReply((), NO_GRANT)
    copies: list[OwnerCopy] = []
    for name in names:
        grant = ledger.state.grant(held.token, name)
        if grant is not None and is_live(grant, token):
            sealed = ledger.sealed(held.token, grant.sealed_hash)
            copies.append(OwnerCopy(name, owner_box(sealed or b"")))
    return GrantsReply(tuple(copies), names[-1] if len(names) == limits.GRANTS_REPLY_MAX else NO_GRANT)
