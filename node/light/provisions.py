"""Sharing by kind: the wallet's provisions, and the grants that it signs for the records they cover."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from node.light.clinics import Clinics
from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.persons import Persons
from node.light.sharing import Sharing
from node.light.wallet import OwnGrant, OwnRecord, Wallet
from node.ports import Clock, Entropy, Store, TaskStatus
from node.store import layout
from protocol import limits
from protocol.blocks import Member
from protocol.codec import Wire, decode, encode
from protocol.control import MyShareKind, MyShareKindResult, ProvisionItem, utc
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.provisions import ANYBODY, Provision, covers
from protocol.transactions import TokenId

_log = logging.getLogger(__name__)
_PROVISION, _FOLLOWED = layout.wallet(b"provision/"), layout.wallet(b"followed/")
_ENTRY_BYTES_MAX: Final = limits.KIB


class Followed(Wire, frozen=True):
    """That a provision was followed for a record, by `grant`."""

    grant: bytes
    time_ms: int


class Provisions:
    """The provisions that stand. What the patient decided about one record is never decided again."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        persons: Persons,
        discovery: Discovery,
        sharing: Sharing,
        store: Store,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._chain, self._clinics, self._wallet, self._persons = chain, clinics, wallet, persons
        self._discovery, self._sharing, self._store = discovery, sharing, store
        self._clock, self._entropy = clock, entropy
        self._following = trio.Lock()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Looks for new records, while a provision stands, and shares those that are covered."""
        task_status.started()
        while True:
            await trio.sleep(limits.PROVISIONS_LOOK_S)
            if self.standing():
                try:
                    await self._chain.require_fresh()
                    await self._discovery.scan()
                    await self._sharing.refresh()
                    await self.follow()
                except UserError as error:
                    _log.warning("records to come are not shared for now: %s", error)

    def standing(self) -> list[Provision]:
        """Those not past their date, the newest end last."""
        every, now_ms = self._every(), self._clock.wall_ms()
        return sorted((one for one in every if one.not_after_ms > now_ms), key=lambda one: one.not_after_ms)

    async def share(self, request: MyShareKind, clinic: Member, issuer: PublicKey) -> MyShareKindResult:
        """Shares what there is of a kind, and goes on with what comes where that `is_future` is said.

        Raises:
            UserError: REFUSED, nobody is called so, or nothing is covered; LIMIT; as sharing does.
        """
        provision = Provision(
            name=self._entropy.bytes(limits.PROVISION_NAME_BYTES),
            grantee=clinic.id_key,
            purposes=tuple(sorted(set(request.purposes))),
            kind=request.kind,
            issuer=issuer,
            since_ms=request.since_ms,
            person=self._persons.named(request.person).number,
            not_after_ms=self._clock.wall_ms() + request.for_ms,
        )
        if request.is_future:
            self._put(provision)
        elif not self._due(provision):
            raise UserError(
                "you have no record of that kind",
                "see: chartmesh my records, or say --future for those that come",
                code=Code.REFUSED,
            )
        grants = await self._follow(provision)
        item = self.item(provision) if request.is_future else None
        return MyShareKindResult(grants=tuple(map(self._sharing.item, grants)), provision=item)

    async def follow(self) -> list[OwnGrant]:
        """Shares every record that a standing provision covers and that was not shared by it before. Raises
        as sharing does."""
        return [grant for one in self.standing() for grant in await self._follow(one)]

    def end(self, provision: Provision) -> list[OwnGrant]:
        """Shares no more by it. Returns the live grants that it led to, which this leaves as they are."""
        given = {followed.grant for _, followed in self._followed(provision)}
        keys = [_PROVISION + provision.name, *(key for key, _ in self._followed(provision))]
        self._store.write([], keys, sync=True)
        return [grant for grant in self._sharing.live() if grant.grant_id in given]

    def item(self, provision: Provision) -> ProvisionItem:
        """As the contract shows a provision."""
        issuer = provision.issuer
        return ProvisionItem(
            id=provision.name.hex(),
            grantee=provision.grantee.hex(),
            grantee_name=self._clinics.name_of(provision.grantee),
            kind=provision.kind,
            issuer=issuer.hex(),
            issuer_name="" if issuer == ANYBODY else self._clinics.name_of(issuer),
            purposes=provision.purposes,
            since=utc(provision.since_ms) if provision.since_ms else None,
            not_after=utc(provision.not_after_ms),
            person=self._persons.name_of(provision.person),
        )

    async def _follow(self, provision: Provision) -> list[OwnGrant]:
        grants: list[OwnGrant] = []
        grantee = next((one for one in self._clinics.members if one.id_key == provision.grantee), None)
        if grantee is None:
            return grants  # It is no member for now, and nobody serves it.
        async with self._following:
            due = self._due(provision)
            for start in range(0, len(due), limits.KEEP_GRANTS_MAX):
                grants += await self._give(provision, due[start : start + limits.KEEP_GRANTS_MAX], grantee)
        return grants

    async def _give(
        self, provision: Provision, records: Sequence[OwnRecord], grantee: Member
    ) -> list[OwnGrant]:
        now_ms = self._clock.wall_ms()
        made = self._sharing.made(records, grantee, provision.not_after_ms - now_ms, provision.purposes)
        # Before any clinic has it: a grant that she stops must not come back.
        self._store.write(
            [
                (_followed_key(provision, grant.token), encode(Followed(grant.grant_id, now_ms)))
                for grant, _ in made
            ],
            sync=True,
        )
        return await self._sharing.give(made)

    def _due(self, provision: Provision) -> list[OwnRecord]:
        """The records that it covers and that were not shared by it."""
        followed = dict(self._followed(provision))
        pending = {
            one.grant_id: one for one in self._wallet.grants() if not one.height and not one.stopped_ms
        }
        retry_ms = self._clock.wall_ms() - limits.PROVISION_RETRY_MS
        due = []
        for record in self._wallet.records():
            done = followed.get(_followed_key(provision, record.token))
            is_done = done is not None and (done.grant not in pending or done.time_ms > retry_ms)
            if not is_done and record.sealed_key:
                held = self._wallet.open(record)
                if covers(provision, record.issuer, held.label, self._persons.of(record, held)):
                    due.append(record)
        return due

    def _put(self, provision: Provision) -> None:
        for past in set(self._every()) - set(self.standing()):
            self.end(past)
        if len(self._every()) >= limits.PROVISIONS_MAX:
            raise UserError(
                f"a wallet keeps at most {limits.PROVISIONS_MAX} shares of records to come",
                "end one first: chartmesh my shares, chartmesh my stop ID",
                code=Code.LIMIT,
            )
        self._store.write([(_PROVISION + provision.name, encode(provision))], sync=True)

    def _every(self) -> list[Provision]:
        found = self._store.iterate(_PROVISION)
        return [decode(Provision, raw, limit=_ENTRY_BYTES_MAX) for _, raw in found]

    def _followed(self, provision: Provision) -> Iterator[tuple[bytes, Followed]]:
        for key, raw in self._store.iterate(_FOLLOWED + provision.name):
            yield key, decode(Followed, raw, limit=_ENTRY_BYTES_MAX)


def _followed_key(provision: Provision, token: TokenId) -> bytes:
    return _FOLLOWED + provision.name + token
