"""The answers to `chartmesh my …`: the patient's plain verbs over wallet, sharing and proofs."""

from collections.abc import Sequence

from node.light.clinics import Clinics
from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.members import Members
from node.light.own_reading import own_ask, own_sources
from node.light.persons import Persons
from node.light.provisions import Provisions
from node.light.sharing import Sharing
from node.light.wallet import OwnGrant, OwnRecord, Wallet, only_one
from node.light.who import UNREACHED, Who
from node.ports import Clock
from node.records.fetch_run import Earlier, Write
from node.records.fetching import Fetcher
from node.records.study_parts import fetch_wanted
from protocol import limits
from protocol.amendments import Amendment, Version, amendments
from protocol.audit_map import LogFlaw
from protocol.blocks import Member, block_hash
from protocol.codes import ReceiveCode, encode_code
from protocol.control import (
    MyCode,
    MyCodeResult,
    MyRecord,
    MyRecordItem,
    MyRecords,
    MyRecordsResult,
    MyShare,
    MyShareKind,
    MyShareKindResult,
    MyShareResult,
    MySharesResult,
    MyStop,
    MyStopResult,
    MyWho,
    MyWhoResult,
    RecordGetResult,
    utc,
)
from protocol.errors import Code, UserError
from protocol.grants import SealedKey
from protocol.provisions import ANYBODY, Provision
from protocol.purposes import purpose_code

FLAWS = frozenset(flaw.value for flaw in LogFlaw)
EVERYBODYS = MyRecords()
CODE_LIFE_MS = 30 * limits.DAY_MS


class My:
    """One method for each verb. All but `code` and `shares` need a fresh view of the ledger."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        members: Members,
        wallet: Wallet,
        persons: Persons,
        discovery: Discovery,
        sharing: Sharing,
        provisions: Provisions,
        who: Who,
        fetcher: Fetcher,
        clock: Clock,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._discovery, self._sharing, self._who, self._clock = discovery, sharing, who, clock
        self._fetcher, self._members, self._persons = fetcher, members, persons
        self._provisions = provisions

    async def code(self, request: MyCode) -> MyCodeResult:
        """A receive code for a clinic, named in it, under fresh one-time keys."""
        person = self._persons.named(request.person)
        clinic = await self._named(request.clinic)
        not_after_ms = self._clock.wall_ms() + CODE_LIFE_MS
        network, head = self._chain.network, self._chain.head.header
        enrolments = self._wallet.enrol(clinic.id_key, request.count, not_after_ms, network, person.number)
        code = ReceiveCode(
            network=network,
            clinic=clinic.id_key,
            clinic_name=clinic.name,
            checkpoint_height=head.height,
            checkpoint_hash=block_hash(head),
            enrolments=tuple(enrolments),
            reference=self._persons.reference(person.number, clinic.id_key),
        )
        return MyCodeResult(
            code=encode_code(code),
            clinic=clinic.id_key.hex(),
            clinic_name=clinic.name,
            count=request.count,
            not_after=utc(not_after_ms),
            person=person.name,
        )

    async def records(self, request: MyRecords = EVERYBODYS) -> MyRecordsResult:
        """All records, or those of one person, newest first, with who can see each."""
        wanted = None if request.person is None else self._persons.named(request.person)
        records = await self.known()
        live = self._sharing.live()
        opened = [(record, self._wallet.open(record)) for record in records]
        if wanted is not None:
            opened = [pair for pair in opened if self._persons.of(*pair) == wanted.number]
        places = amendments(
            Version(record.token, record.issuer, held.label.prior, held.label.time_ms)
            for record, held in opened
        )
        items = [self._item(record, held, live, places[record.token]) for record, held in reversed(opened)]
        return MyRecordsResult(records=tuple(items))

    async def record(
        self, request: MyRecord, write: Write, earlier: Earlier | None = None
    ) -> RecordGetResult:
        """Opens a record, or a file of a study, with its owner key, from any clinic that holds it; `write`
        takes the plaintext, or what of it comes after `earlier`."""
        await self.known()
        record = self._wallet.record(request.id)
        opened = self._wallet.open(record)
        fetched = await fetch_wanted(
            self._fetcher,
            own_ask(self._wallet, record, opened.content_key),
            own_sources(self._clinics, record, self._chain.limits.holders),
            write,
            file=request.file,
            is_index=request.is_index,
            earlier=earlier,
        )
        return RecordGetResult(
            token=record.token.hex(),
            bytes=fetched.length,
            sha256=fetched.sha256.hex(),
            audit_id=f"{fetched.source.hex()}/{fetched.audit_sequence}",
            name=request.file or opened.label.file_name,
            media="" if request.file or request.is_index else opened.label.type,
            source=fetched.source.hex(),
        )

    async def known(self) -> list[OwnRecord]:
        """All records, the oldest first, after looking for new ones."""
        await self._chain.require_fresh()
        await self._discovery.scan()
        await self._sharing.refresh()
        return self._wallet.records()

    async def _named(self, name: str) -> Member:
        """The clinic called `name`; where none is known by it, as a clinic that answers proves it.

        Raises:
            UserError: USAGE: no clinic is called so. STALE: no clinic proves who is a member now.
        """
        if not any(member.name == name for member in self._clinics.members):
            await self._chain.require_fresh()
            await self._members.require()
        return self._clinics.named(name)

    async def share(self, request: MyShare) -> MyShareResult:
        clinic = await self.reader(request.clinic, request.for_ms, request.purposes)
        await self.known()
        records = [self._wallet.record(prefix) for prefix in request.records]
        unique = list({record.token: record for record in records}.values())
        grants = await self._sharing.share(unique, clinic, request.for_ms, request.purposes)
        return MyShareResult(grants=tuple(map(self._sharing.item, grants)))

    async def share_kind(self, request: MyShareKind) -> MyShareKindResult:
        """Shares all that is of a kind, and what comes of it where that is asked for."""
        clinic = await self.reader(request.clinic, request.for_ms, request.purposes)
        issuer = ANYBODY if request.issuer is None else self._clinics.named(request.issuer).id_key
        await self.known()
        return await self._provisions.share(request, clinic, issuer)

    async def reader(self, clinic: str, for_ms: int, purposes: Sequence[str]) -> Member:
        """The member called `clinic`, with whom one may share for so long and for these purposes.

        Raises:
            UserError: PURPOSE: no code of a purpose. DURATION: longer than a grant may last. And as
                `_named` does.
        """
        for purpose in purposes:
            purpose_code(purpose)
        if for_ms > self._chain.limits.grant_life_max_ms:
            days = self._chain.limits.grant_life_max_ms // limits.DAY_MS
            raise UserError(
                "that is longer than this network lets a grant last",
                f"choose at most {days} days; it can be renewed",
                code=Code.DURATION,
            )
        await self._members.refresh()
        return await self._named(clinic)

    async def shares(self) -> MySharesResult:
        """Every grant ever given, those that end last first, and what is shared as it comes."""
        items = map(self._sharing.item, self._wallet.grants())
        return MySharesResult(
            grants=tuple(sorted(items, key=lambda item: item.not_after, reverse=True)),
            provisions=tuple(map(self._provisions.item, self._provisions.standing())),
        )

    async def stop(self, request: MyStop) -> MyStopResult:
        """Ends one grant, one provision with its grants, or all; says where it counts already and by when
        it does elsewhere. What comes is shared no more, whether a clinic can be reached or not."""
        grants, ended = self._to_stop(request.id)
        if grants:
            await self._clinics.wait_reachable(limits.CONNECT_S)
        stops = [await self._sharing.stop(grant) for grant in grants]
        return MyStopResult(stops=tuple(stops), ended=tuple(one.name.hex() for one in ended))

    def _to_stop(self, prefix: str | None) -> tuple[list[OwnGrant], list[Provision]]:
        """The grants to end, and the provisions that were ended for it."""
        standing = self._provisions.standing()
        if prefix is None:
            for one in standing:
                self._provisions.end(one)
            return self._sharing.live(), standing
        named: dict[str, OwnGrant | Provision] = {one.name.hex(): one for one in standing}
        named |= {one.grant_id.hex(): one for one in self._wallet.grants()}
        chosen = only_one(prefix, "share", named)
        if isinstance(chosen, OwnGrant):
            return [chosen], []
        return self._provisions.end(chosen), [chosen]

    async def who(self, request: MyWho) -> MyWhoResult:
        """Every access and refusal that the clinics tell of, and what each one's log is worth."""
        records = await self.known()
        if request.record is not None:
            records = [self._wallet.record(request.record)]
        told = await self._who.told(records)
        return MyWhoResult(
            accesses=tuple(told.accesses[: request.rows]),
            unreached=tuple(log.member for log in told.logs if log.state == UNREACHED),
            more=len(told.accesses) > request.rows,
            logs=tuple(told.logs),
            flawed=sum(log.state in FLAWS for log in told.logs),
        )

    def _item(
        self,
        record: OwnRecord,
        held: SealedKey,
        live: Sequence[OwnGrant],
        place: Amendment,
    ) -> MyRecordItem:
        label = held.label
        return MyRecordItem(
            token=record.token.hex(),
            issuer=record.issuer.hex(),
            issuer_name=self._clinics.name_of(record.issuer),
            time=utc(label.time_ms),
            title=label.title,
            type=label.type,
            size=label.size,
            grants=tuple(self._sharing.item(grant) for grant in live if grant.token == record.token),
            prior=(place.prior or b"").hex(),
            amended_by=(place.amended_by or b"").hex(),
            person=self._persons.name_of(self._persons.of(record, held)),
            keep_until=utc(label.keep_until_ms) if label.keep_until_ms else None,
        )
