"""Asks a clinic what only the holder of owner keys is told: each key signs under a nonce of the clinic."""

from collections.abc import Callable, Sequence

from node.light.clinics import Clinics
from node.light.headers import PROTOCOL
from protocol import limits
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed
from protocol.keys import PublicKey, SigningKey
from protocol.messages.light import NonceReply, NonceRequest, OwnedProof, sign_owned


async def ask_under_nonce(
    clinics: Clinics,
    peer: PublicKey,
    protocol: str,
    nonce_request: Wire,
    request: Callable[[bytes], Wire],
) -> bytes:
    """The raw reply of `peer` to `request`, which is made of its raw reply to `nonce_request`.

    Raises:
        Malformed: it does not answer.
    """
    raw = await clinics.call(peer, protocol, encode(nonce_request), lambda nonce: encode(request(nonce)))
    if raw is None:
        raise Malformed("the clinic did not answer")
    return raw


async def ask_as_owner(
    clinics: Clinics,
    peer: PublicKey,
    network: NetworkId,
    keys: Sequence[SigningKey],
    request: Callable[[bytes, tuple[bytes, ...]], Wire],
) -> bytes:
    """The raw reply of `peer` to `request`, which is made of its nonce and of one signature for each key.

    Raises:
        Malformed: it does not answer.
    """

    def sign(raw: bytes) -> Wire:
        nonce = decode(NonceReply, raw, limit=limits.KIB).nonce
        proof = OwnedProof(peer, nonce)
        return request(nonce, tuple(sign_owned(proof, key, network) for key in keys))

    return await ask_under_nonce(clinics, peer, PROTOCOL, NonceRequest(), sign)
