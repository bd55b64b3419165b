"""Finding what was minted to our one-time keys, and believing it only with a proof."""

from collections.abc import Sequence

import trio

from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.wallet import Offer, OwnRecord, Wallet
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import Malformed, ProtocolError
from protocol.keys import PublicKey
from protocol.messages.light import (
    OWNER_KEYS_MAX,
    NonceReply,
    NonceRequest,
    Owned,
    OwnedProof,
    OwnedReply,
    OwnedRequest,
)
from protocol.transactions import Mint, TokenId, sealed_hash

PROTOCOL = "light"
OWNED = "owned"
CLINICS_ASKED_MAX = 2


class Discovery:
    """Turns open offers into records. Asks few clinics, for each learns which keys belong together."""

    def __init__(self, *, chain: LightChain, clinics: Clinics, wallet: Wallet) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet

    async def scan(self) -> None:
        """Asks for all offers that are open; what is shown to be minted joins the wallet."""
        for peer in self._clinics.reachable()[:CLINICS_ASKED_MAX]:
            offers = self._wallet.offers()
            for start in range(0, len(offers), OWNER_KEYS_MAX):
                # One clinic's failure or lie leaves the offers open for the next.
                try:
                    await self._ask(peer, offers[start : start + OWNER_KEYS_MAX])
                except (ProtocolError, trio.TooSlowError):
                    self._clinics.avoid(peer)
                    break

    async def _ask(self, peer: PublicKey, offers: Sequence[Offer]) -> None:
        keys = [self._wallet.owner_key(offer.index) for offer in offers]

        def sign(raw: bytes) -> bytes:
            nonce = decode(NonceReply, raw, limit=limits.KIB).nonce
            proof = encode(OwnedProof(peer, nonce))
            signatures = tuple(key.sign(OWNED, self._chain.network, proof) for key in keys)
            return encode(OwnedRequest(nonce, tuple(key.public for key in keys), signatures))

        raw = await self._clinics.call(peer, PROTOCOL, encode(NonceRequest()), sign)
        if raw is None:
            return
        reply = decode(OwnedReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
        if len(reply.owned) != len(offers):
            raise Malformed("the reply is not for the keys asked for")
        for offer, owned in zip(offers, reply.owned, strict=True):
            if owned is not None:
                await self._take(offer, owned)

    async def _take(self, offer: Offer, owned: Owned) -> None:
        transaction = await self._chain.verify_located(owned.given)
        mint = transaction.body
        ours = isinstance(mint, Mint) and mint.owner_key == self._wallet.owner_key(offer.index).public
        if not ours or not isinstance(mint, Mint) or sealed_hash(owned.sealed_key) != mint.sealed_key_hash:
            raise Malformed("not a mint to our key, or not the sealed key that it names")
        record = OwnRecord(
            token=TokenId(transaction.id),
            index=offer.index,
            issuer=mint.issuer,
            content=mint.content,
            sealed_key=owned.sealed_key,
            height=owned.given.height,
        )
        self._wallet.add_record(record)
