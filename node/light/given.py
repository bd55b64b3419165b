"""What the patient shared, found again on a device that did not share it.

Each grant on the ledger carries a box in which its owner left herself the body. A clinic tells the owner
alone which are live; that they are is proven, and a second clinic is asked, so that one cannot keep a grant
back.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import trio

from node.light.asking import ask_as_owner
from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.proofs import Proofs
from node.light.wallet import Keyed, OwnGrant, OwnRecord, Wallet
from protocol import limits
from protocol.codec import decode
from protocol.errors import Code, Malformed, ProtocolError, UserError
from protocol.grants import GrantBody, decode_grant_body, grant_id, open_owner_box
from protocol.keys import PublicKey
from protocol.messages.light import GrantsReply, GrantsRequest
from protocol.ownership import clinics_to_ask
from protocol.proofs import Standing
from protocol.transactions import GrantId, TransactionId

PAGES_MAX = limits.GRANTS_PER_TOKEN_MAX // limits.GRANTS_REPLY_MAX
UNKNOWN = TransactionId(b"")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """How many live grants of a record there are, and of how many the owner has no copy that she can read:
    whoever stole her keys could have made such a one."""

    live: int
    unreadable: int


class GivenGrants:
    """Asks clinics for the owner's copies and puts what they prove to be live into the wallet."""

    def __init__(self, *, chain: LightChain, clinics: Clinics, wallet: Wallet, proofs: Proofs) -> None:
        self._chain, self._clinics, self._wallet, self._proofs = chain, clinics, wallet, proofs

    async def find(self, record: OwnRecord, keyed: Sequence[Keyed]) -> Given:
        """Finds the live grants of `record`, a token that had the keys of `keyed` in its generations.

        Raises:
            UserError: STALE, where no clinic tells or proves them.
        """
        boxes = await self._boxes(record)
        live: dict[GrantId, int] = {}
        names = sorted(boxes)
        for start in range(0, len(names), limits.CLAIMS_MAX):
            shown = await self._proofs.standing(record, names[start : start + limits.CLAIMS_MAX])
            for proven in shown.proven:
                if proven.standing is Standing.LIVE and proven.grant is not None:
                    live[proven.claim.grant] = proven.grant.height
        known = {grant.grant_id for grant in self._wallet.grants()}
        unreadable = 0
        for name in sorted(live.keys() - known):
            body = self._read(record, name, boxes[name], keyed)
            if body is None:
                unreadable += 1
                continue
            grantee = self._decoded(body).grantee_key
            grant = OwnGrant(name, record.token, grantee, body, UNKNOWN, live[name], 0)
            self._wallet.put_grant(grant)
        return Given(len(live), unreadable)

    def _read(
        self, record: OwnRecord, name: GrantId, boxes: Iterable[bytes], keyed: Sequence[Keyed]
    ) -> bytes | None:
        """The body of a grant; None where no key of ours opens a box, or another body is in it."""
        for one, box in product(keyed, boxes):
            raw = open_owner_box(self._wallet.opening_key(one), box, self._chain.limits)
            if raw is not None and grant_id(raw) == name and self._decoded(raw).token == record.token:
                return raw
        return None

    def _decoded(self, body: bytes) -> GrantBody:
        return decode_grant_body(body, self._chain.limits)

    async def _boxes(self, record: OwnRecord) -> dict[GrantId, set[bytes]]:
        """What some clinics show, the record's issuer first: it knows whose the record is already."""
        key, found, answered = self._wallet.owner_key(record).public, dict[GrantId, set[bytes]](), 0
        for peer in clinics_to_ask(key, self._clinics.reachable(), first=record.issuer):
            # One that does not answer, or not in order, is no better than one that is gone.
            try:
                told = await self._ask_all(peer, record)
            except (ProtocolError, trio.TooSlowError) as error:
                _log.warning("%s did not tell what was shared: %s", peer.hex()[:12], error)
                self._clinics.avoid(peer)
                continue
            for name, box in told.items():
                found.setdefault(name, set()).add(box)
            answered += 1
            if answered == limits.LOOKUP_CLINICS_MAX:
                break
        if not answered:
            raise UserError(
                "no clinic says to whom you gave one of your records",
                "your records are found; for the rest run it again later: chartmesh my recover",
                code=Code.STALE,
            )
        return found

    async def _ask_all(self, peer: PublicKey, record: OwnRecord) -> dict[GrantId, bytes]:
        """Raises ProtocolError."""
        found: dict[GrantId, bytes] = {}
        after = GrantId(b"")
        for _ in range(PAGES_MAX):
            reply = await self._ask(peer, record, after)
            found.update({one.grant: one.box for one in reply.copies})
            if not reply.next:
                return found
            if reply.next <= after:
                raise Malformed("the clinic's list of grants goes backwards")
            after = reply.next
        return found

    async def _ask(self, peer: PublicKey, record: OwnRecord, after: GrantId) -> GrantsReply:
        """Raises ProtocolError."""
        owner = self._wallet.owner_key(record)
        raw = await ask_as_owner(
            self._clinics,
            peer,
            self._chain.network,
            [owner],
            lambda nonce, signed: GrantsRequest(nonce, owner.public, signed[0], after),
        )
        return decode(GrantsReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
