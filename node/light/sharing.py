"""Sharing and stopping: grants signed by the owner, revocations that count at once wherever they arrive."""

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.persons import Persons
from node.light.proofs import Proofs
from node.light.transact import Transactor, not_taken
from node.light.wallet import OwnGrant, OwnRecord, RecordState, Wallet
from node.ports import Clock, Entropy
from protocol import limits
from protocol.blocks import Member
from protocol.codec import encode
from protocol.control import GrantItem, Stopped, utc
from protocol.errors import Code, UserError
from protocol.grants import READ, SALT_BYTES, WHOLE_RECORD, GrantBody, decode_grant_body, seal_grant
from protocol.messages.consensus import Submission
from protocol.transactions import (
    Grant,
    GrantId,
    Revoke,
    TokenId,
    TransactionId,
    sealed_hash,
    sign_transaction,
    transaction_id,
)

_log = logging.getLogger(__name__)
Made = tuple[OwnGrant, Submission]
"""A grant that is signed, and what clinics are given of it."""


class Sharing:
    """The patient's grants: given, listed, ended."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        persons: Persons,
        transactor: Transactor,
        proofs: Proofs,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._transactor, self._clock, self._entropy = transactor, clock, entropy
        self._proofs, self._persons = proofs, persons

    async def share(
        self, records: Sequence[OwnRecord], grantee: Member, for_ms: int, purposes: Sequence[str]
    ) -> list[OwnGrant]:
        """Grants reading of `records`, one grant each, and waits until they are final.

        Raises:
            UserError: no clinic took them, NOT_FINAL where finality is not shown in time, or USAGE where it
                is not clear whose a record is.
        """
        return await self.give(self.made(records, grantee, for_ms, purposes))

    def made(
        self, records: Sequence[OwnRecord], grantee: Member, for_ms: int, purposes: Sequence[str]
    ) -> list[Made]:
        """The same grants, signed and in the wallet, and given to nobody yet. Raises UserError USAGE."""
        made = [self._grant(record, grantee, for_ms, purposes) for record in records]
        for grant, _ in made:
            self._wallet.put_grant(grant)
        return made

    async def give(self, made: Sequence[Made]) -> list[OwnGrant]:
        """Gives signed grants to the clinics and waits until they are final. Raises as `share` does."""
        if not await self._transactor.submit([submission for _, submission in made]):
            raise not_taken()
        heights = await self._transactor.wait_final([grant.transaction for grant, _ in made])
        grants = [replace(grant, height=heights.get(grant.transaction, 0)) for grant, _ in made]
        for grant in grants:
            self._wallet.put_grant(grant)
        if len(heights) < len(made):
            raise UserError(
                "shared, but not final yet: too few members reach each other",
                "see later: chartmesh my shares",
                code=Code.NOT_FINAL,
            )
        return grants

    def terms(self, record: OwnRecord, grantee: Member, for_ms: int, purposes: Sequence[str]) -> GrantBody:
        """What `share` would sign now."""
        now_ms = self._clock.wall_ms()
        return GrantBody(
            token=record.token,
            grantee_key=grantee.id_key,
            actions=(READ,),
            purposes=tuple(sorted(set(purposes))),
            not_before_ms=now_ms,
            not_after_ms=now_ms + for_ms,
            max_stale_s=self._chain.limits.max_stale_default_ms // 1000,
            scope=(WHOLE_RECORD,),
            obligations=(),
            break_glass=False,
            salt=self._entropy.bytes(SALT_BYTES),
        )

    async def stop(self, grant: OwnGrant) -> Stopped:
        """Ends `grant` at every clinic that can be reached, at sight, and then for good."""
        owner = self._wallet.owner_key(self._wallet.record(grant.token.hex()))
        raw = sign_transaction(Revoke(grant.token, grant.grant_id), (owner,), self._chain.network)
        took = await self._transactor.submit_everywhere(Submission(raw, b""))
        name = transaction_id(raw)
        heights = await self._transactor.wait_final([name]) if took else dict[TransactionId, int]()
        # Until that is shown to be final, the grant stays one that can be stopped again.
        if name in heights:
            self._wallet.put_grant(replace(grant, stopped_ms=self._clock.wall_ms()))
        body = decode_grant_body(grant.body, self._chain.limits)
        bound_s = body.max_stale_s + 3 * self._chain.limits.tolerance_ms // 1000
        unreached = [member for member in self._clinics.members if member.id_key not in took]
        return Stopped(
            grant=grant.grant_id.hex(),
            token=grant.token.hex(),
            grantee_name=self._clinics.name_of(grant.grantee),
            final=name in heights,
            stopped_at=tuple(peer.hex() for peer in took),
            unreached=tuple(member.id_key.hex() for member in unreached),
            bound_s=bound_s,
            unreached_names=tuple(member.name for member in unreached),
            ends_by=utc(self._clock.wall_ms() + 1000 * bound_s) if name in heights else None,
        )

    async def refresh(self) -> None:
        """Looks again for grants that were not final when they were made."""
        pending: dict[TokenId, dict[GrantId, OwnGrant]] = {}
        for grant in self._wallet.grants():
            if not grant.height:
                pending.setdefault(grant.token, {})[grant.grant_id] = grant
        for token, grants in pending.items():
            record = self._wallet.record_of(token)
            if record is not None:
                await self._look_again(record, grants)

    async def _look_again(self, record: OwnRecord, grants: dict[GrantId, OwnGrant]) -> None:
        try:
            shown = await self._proofs.standing(record, list(grants)[: limits.CLAIMS_MAX])
        except UserError as error:
            # They stay pending: nobody showed more.
            _log.warning("grants not final yet: %s", error)
            return
        for proven in shown.proven:
            if proven.grant is not None:
                grant = grants[proven.claim.grant]
                self._wallet.put_grant(replace(grant, height=proven.grant.height))

    def live(self) -> list[OwnGrant]:
        """Grants not ended by us and not past their date."""
        return [grant for grant in self._wallet.grants() if self.state(grant) in ("live", "pending")]

    def state(self, grant: OwnGrant) -> str:
        """`ended`, `expired`, `pending` or `live`."""
        record = self._wallet.record_of(grant.token)
        # What was given away or erased took its grants with it.
        is_gone = record is not None and record.state != RecordState.OWNED
        if grant.stopped_ms or is_gone:
            return "ended"
        if decode_grant_body(grant.body, self._chain.limits).not_after_ms < self._clock.wall_ms():
            return "expired"
        return "live" if grant.height else "pending"

    def item(self, grant: OwnGrant) -> GrantItem:
        """As the contract shows a grant."""
        body = decode_grant_body(grant.body, self._chain.limits)
        record = self._wallet.record_of(grant.token)
        title = "" if record is None or not record.sealed_key else self._wallet.open(record).label.title
        return GrantItem(
            grant=grant.grant_id.hex(),
            token=grant.token.hex(),
            grantee=grant.grantee.hex(),
            purposes=body.purposes,
            not_before=utc(body.not_before_ms),
            not_after=utc(body.not_after_ms),
            final=bool(grant.height),
            state=self.state(grant),
            grantee_name=self._clinics.name_of(grant.grantee),
            title=title,
            actions=body.actions,
            max_stale_s=body.max_stale_s,
            ends_soon=self.state(grant) == "live"
            and body.not_after_ms <= self._clock.wall_ms() + limits.EXPIRING_MS,
        )

    def _grant(self, record: OwnRecord, grantee: Member, for_ms: int, purposes: Sequence[str]) -> Made:
        network_limits, opened = self._chain.limits, self._wallet.open(record)
        person = self._persons.known(record, opened)
        body = self.terms(record, grantee, for_ms, purposes)
        name: GrantId
        name, sealed = seal_grant(
            body,
            opened.content_key,
            opened.label,
            self._persons.reference(person, grantee.id_key),
            to=grantee.enc_key,
            owner=self._wallet.opening_key(record).public,
            network_limits=network_limits,
            entropy=self._entropy.bytes(32),
        )
        transaction = Grant(record.token, name, sealed_hash(sealed))
        owner = self._wallet.owner_key(record)
        raw = sign_transaction(transaction, (owner,), self._chain.network)
        grant = OwnGrant(name, record.token, grantee.id_key, encode(body), transaction_id(raw), 0, 0)
        return grant, Submission(raw, sealed)
