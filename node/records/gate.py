"""The gate in front of all ciphertext, for peers and for this node alike: decide, write down, then allow.

`protocol.access.decide` decides; here it is given what this node knows at that moment. A permit is
durable in the audit log before it is one, and a denial before anybody is refused.
"""

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass

from node.chain.ledger import Ledger
from node.records.audit_log import Asked, AuditLog
from node.records.vault import Vault
from protocol.access import (
    Deny,
    DenyReason,
    Freshness,
    Permit,
    SignedFetchRequest,
    VerifiedFetch,
    decide,
    verify_fetch,
)
from protocol.errors import Malformed, StorageError
from protocol.keys import PublicKey
from protocol.transactions import Content

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A fetch that may begin: its intent is durable as record `sequence` of the audit log."""

    fetch: VerifiedFetch
    issuer: PublicKey
    content: Content
    sequence: int


class Gate:
    """Decides for the node with this `identity`; `suspended` are shut out at sight."""

    def __init__(
        self,
        *,
        identity: PublicKey,
        suspended: Container[PublicKey],
        ledger: Ledger,
        vault: Vault,
        audit: AuditLog,
        freshness: Callable[[], Freshness],
    ) -> None:
        self._identity, self._suspended = identity, suspended
        self._ledger, self._vault, self._audit, self._freshness = ledger, vault, audit, freshness

    async def admit(self, peer: PublicKey, signed: SignedFetchRequest, nonce: bytes) -> Admitted | None:
        """What `peer` may fetch now, or None: refused. `nonce` is the one given for this request."""
        freshness = self._freshness()
        try:
            fetch: VerifiedFetch | None = verify_fetch(signed, self._ledger.state.network)
        except Malformed:
            fetch = None
        asked = Asked(peer, fetch, self._ledger.height, freshness.age_ms)
        # A store that fails may have nothing served from it, and a refusal tells nobody why.
        try:
            decision = (
                Deny(DenyReason.MALFORMED) if fetch is None else self._decide(fetch, nonce, freshness)
            )
            if isinstance(decision, Permit) and fetch is not None:
                sequence = await self._audit.intend(asked)
                return Admitted(fetch, self._issuer(fetch), decision.content, sequence)
            if isinstance(decision, Deny):
                await self._deny(asked, decision.reason)
        except StorageError as error:
            _log.error("refused a fetch because the store failed: %s", error)
        return None

    def still_allows(self, admitted: Admitted) -> DenyReason | None:
        """Why a fetch that is being served may not go on; None where it may."""
        nonce = admitted.fetch.request.nonce
        decision = self._decide(admitted.fetch, nonce, self._freshness())
        return decision.reason if isinstance(decision, Deny) else None

    def _decide(self, fetch: VerifiedFetch, nonce: bytes, freshness: Freshness) -> Permit | Deny:
        state = self._ledger.state
        token = state.token(fetch.request.token)
        return decide(
            fetch,
            server=self._identity,
            nonce=nonce,
            state=state,
            denied=self._ledger.denied,
            suspended=self._suspended,
            freshness=freshness,
            holds=token is not None and self._vault.holds(token.issuer, token.content.root),
        )

    def _issuer(self, fetch: VerifiedFetch) -> PublicKey:
        token = self._ledger.state.token(fetch.request.token)
        assert token is not None, "tokens do not vanish from the ledger"
        return token.issuer

    async def _deny(self, asked: Asked, reason: DenyReason) -> None:
        fetch = asked.fetch
        is_token = fetch is not None and self._ledger.state.token(fetch.request.token) is not None
        await self._audit.deny(
            asked, reason, is_member=asked.peer in self._ledger.membership.keys, is_token=is_token
        )
