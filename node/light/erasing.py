"""A record erased: what that would end, the transaction, and what its holders attest.

Each holder deletes when the erasure is final, and writes that into its audit log. A clinic that was away
does so on its return; until then it is named.
"""

from collections.abc import Iterator
from typing import Final

import trio
from msgspec.structs import replace

from node.light.clinics import Clinics
from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.logs import ClinicLog
from node.light.sharing import Sharing
from node.light.transact import Transactor, not_taken
from node.light.wallet import OwnRecord, RecordState, Wallet, only_one
from node.light.who import NOT_POSTED, PROVEN, UNREACHED, Asked, Who, log_state
from node.light.words import Cold
from node.ports import Clock
from protocol import limits
from protocol.amendments import Amendment, Version, amendments
from protocol.audit import AuditEvent, AuditRecord
from protocol.control import EraseResult, HolderItem, MyErase, MyErasuresResult, utc
from protocol.erasure import check_retention, sign_erasure
from protocol.messages.consensus import Submission
from protocol.placement import holders
from protocol.state import MemberState
from protocol.transactions import transaction_id

ATTEST_S: Final = 15.0
PAUSE_S: Final = 0.5
HOLDS, WAITING, DELETED = "holds", "waiting", "deleted"


class Erasing:
    """One method for each verb."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        discovery: Discovery,
        sharing: Sharing,
        who: Who,
        transactor: Transactor,
        clock: Clock,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._discovery, self._sharing, self._who = discovery, sharing, who
        self._transactor, self._clock = transactor, clock

    async def erase(self, request: MyErase) -> EraseResult:
        """What erasing a record would end. With the 24 words it is erased, and then, as for a record that
        was erased before, what its holders attest.

        Raises:
            UserError: REFUSED or AMBIGUOUS_ID for the record; RETENTION; WORDS; STALE, no clinic proves the
                state.
        """
        await self._chain.require_fresh()
        await self._discovery.scan()
        record = self._named(request.record)
        await self._discovery.look_up([record])
        record = self._named(request.record)
        if record.state == RecordState.ERASED:
            return await self._attested(record, wait_s=0)
        check_retention(self._wallet.open(record).label, self._clock.wall_ms())
        if request.words is None:
            return await self._shown(record)
        raw = sign_erasure(
            record.token,
            record.generation,
            owner=self._wallet.owner_key(record),
            next_key=Cold(request.words, self._wallet).next_key(record),
            network=self._chain.network,
        )
        if not await self._transactor.submit([Submission(raw, b"")]):
            raise not_taken()
        heights = await self._transactor.wait_final([transaction_id(raw)])
        if not heights:
            return replace(self._named_only(record), state="sent")
        [height] = heights.values()
        record = self._end(record, height)
        return await self._attested(record, wait_s=ATTEST_S)

    async def erasures(self) -> MyErasuresResult:
        """Every record that was erased, and what its holders attest of it."""
        await self._chain.require_fresh()
        await self._discovery.scan()
        known = self._wallet.all_records()
        gone = [record for record in known if record.state == RecordState.ERASED]
        gone.sort(key=lambda record: (record.seen_height, record.token), reverse=True)
        return MyErasuresResult(erasures=tuple([await self._attested(record, wait_s=0) for record in gone]))

    def _named(self, prefix: str) -> OwnRecord:
        """One that is ours or was erased by us. Raises UserError REFUSED or AMBIGUOUS_ID."""
        known = [one for one in self._wallet.all_records() if one.state != RecordState.GONE]
        return only_one(prefix, "record", {one.token.hex(): one for one in known})

    def _end(self, record: OwnRecord, height: int) -> OwnRecord:
        """The ledger ended it, and its grants with it."""
        erased = replace(record, state=RecordState.ERASED, seen_height=max(height, record.seen_height))
        self._wallet.put_record(erased)
        for grant in self._wallet.grants():
            if grant.token == record.token and not grant.stopped_ms:
                self._wallet.put_grant(replace(grant, stopped_ms=self._clock.wall_ms()))
        return erased

    # What is told.

    async def _shown(self, record: OwnRecord) -> EraseResult:
        """Who holds it, who may read it, and who did."""
        await self._sharing.refresh()
        asked = await self._who.asked([record])
        told = self._who.told_by(asked, [record])
        own = self._wallet.owner_key(record).public.hex()
        unreached = {log.member for log in told.logs if log.state == UNREACHED}
        place = self._place(record)
        return replace(
            self._named_only(record),
            prior=(place.prior or b"").hex(),
            amended_by=(place.amended_by or b"").hex(),
            holders=tuple(
                _holder(member, UNREACHED if member.id_key.hex() in unreached else HOLDS)
                for member in self._holders(record, asked)
            ),
            unreached=tuple(sorted(unreached)),
            grants=tuple(
                self._sharing.item(grant) for grant in self._sharing.live() if grant.token == record.token
            ),
            accesses=tuple(one for one in told.accesses if one.outcome == "served" and one.member != own)[
                : limits.CONTROL_ROWS_DEFAULT
            ],
        )

    async def _attested(self, record: OwnRecord, *, wait_s: float) -> EraseResult:
        """What the holders attest, after waiting so long for those that can be reached."""
        asked = await self._who.asked([record])
        items = list(self._attestations(record, asked))
        with trio.move_on_after(wait_s):
            while any(one.state == WAITING for one in items):
                await trio.sleep(PAUSE_S)
                asked = await self._who.asked([record])
                items = list(self._attestations(record, asked))
        return replace(
            self._named_only(record),
            state="erased",
            final=True,
            holders=tuple(items),
            deleted_at=tuple(one.member for one in items if one.state == DELETED),
            unreached=tuple(one.member for one in items if one.state == UNREACHED),
        )

    def _attestations(self, record: OwnRecord, asked: Asked) -> Iterator[HolderItem]:
        """One for each clinic that should have held it, or says that it did."""
        placed = [member.id_key for member in self._holders(record, asked)]
        for member, log in asked:
            entry = None if log is None or log.flaw is not None else _deletion(record, log)
            if log is not None and entry is not None:
                is_posted = entry.sequence <= log.posted
                yield _holder(member, DELETED, utc(entry.time_ms), is_posted=is_posted)
            elif member.id_key in placed:
                state = log_state(log)
                yield _holder(member, WAITING if state in (PROVEN, NOT_POSTED) else state)

    def _holders(self, record: OwnRecord, asked: Asked) -> list[MemberState]:
        """The clinics that should hold its ciphertext, its issuer first where it may serve."""
        known = {member.id_key: member for member, _ in asked}
        copies = self._chain.limits.holders
        return [known[key] for key in holders(record.content.root, record.issuer, known, copies)]

    def _place(self, record: OwnRecord) -> Amendment:
        """Which other record of ours it is one with."""
        opened = [(one, self._wallet.open(one).label) for one in self._wallet.records()]
        versions = (Version(one.token, one.issuer, label.prior, label.time_ms) for one, label in opened)
        return amendments(versions)[record.token]

    def _named_only(self, record: OwnRecord) -> EraseResult:
        """What this device knows of the record: a new one never had the label of an erased one."""
        label = self._wallet.open(record).label if record.sealed_key else None
        return EraseResult(
            token=record.token.hex(),
            final=False,
            deleted_at=(),
            unreached=(),
            title="" if label is None else label.title,
            time=None if label is None else utc(label.time_ms),
            issuer=record.issuer.hex(),
            issuer_name=self._clinics.name_of(record.issuer),
        )


def _holder(
    member: MemberState, state: str, time: str | None = None, *, is_posted: bool = False
) -> HolderItem:
    return HolderItem(
        member=member.id_key.hex(), name=member.name, state=state, time=time, is_posted=is_posted
    )


def _deletion(record: OwnRecord, log: ClinicLog) -> AuditRecord | None:
    """The entry by which a clinic attests that nothing of it is there."""
    found = (one for one in log.entries if one.event == AuditEvent.DELETION and one.token == record.token)
    return next(found, None)
