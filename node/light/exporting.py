"""The export: records with all that proves them, written section by section as they come."""

from collections.abc import Sequence
from typing import Final

import trio

from node.light.clinics import Clinics
from node.light.headers import PROTOCOL, LightChain
from node.light.logs import ClinicLog
from node.light.members import unproven
from node.light.my import My
from node.light.own_reading import own_ask, own_sources
from node.light.proofs import Proofs
from node.light.wallet import OwnRecord, Wallet
from node.light.who import Who
from node.ports import Clock
from node.records.fetch_run import Write
from node.records.fetching import Fetcher
from protocol import limits
from protocol.blocks import Genesis, genesis_committee
from protocol.codec import decode, encode
from protocol.control import MyExport, MyExportResult
from protocol.errors import Code, Malformed, ProtocolError, Refused, TransportError, UserError
from protocol.export import (
    MAGIC,
    ExportEnd,
    ExportHead,
    ExportLog,
    ExportMembers,
    ExportPiece,
    ExportRecord,
    ExportWriter,
    Section,
    sign_export,
)
from protocol.keys import PublicKey
from protocol.messages.light import RollReply, RollRequest, RouteReply, RouteRequest
from protocol.proofs import EpochEnd, Route, verify_route
from protocol.roll import verify_roll
from protocol.state import MemberState, committee_of

_MEMBERS_TRIES: Final = 10  # The ledger goes on between two questions that must be answered of one height.


class Exporter:
    """One export at a time, of the records as they are now."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        proofs: Proofs,
        my: My,
        who: Who,
        fetcher: Fetcher,
        clock: Clock,
    ) -> None:
        self._genesis, self._chain, self._clinics, self._wallet = genesis, chain, clinics, wallet
        self._proofs, self._my, self._who = proofs, my, who
        self._fetcher, self._clock = fetcher, clock

    async def export(self, request: MyExport, write: Write) -> MyExportResult:
        """Writes the file of the records asked for, or of all.

        Raises:
            UserError: REFUSED, there is no such record, or none at all; STALE, no clinic proves it.
            ChartmeshError: what a clinic began to give of a record could not be finished.
        """
        await self._my.known()
        records = self._chosen(request.records)
        out = _Out(write)
        await write(MAGIC)
        await out.put(ExportHead(self._chain.network, self._clock.wall_ms(), len(records)))
        left_out = [record for record in records if not await self._put_record(out, record)]
        section, members = await self._members()
        await out.put(section)
        unreached = await self._put_logs(out, members, records)
        owners = [self._wallet.owner_key(record) for record in records]
        hashed = out.writer.hash
        await out.put(ExportEnd(tuple(sign_export(hashed, key, self._chain.network) for key in owners)))
        return MyExportResult(
            records=len(records),
            bytes=out.bytes,
            left_out=tuple(record.token.hex() for record in left_out),
            unreached=tuple(member.name for member in unreached),
        )

    def _chosen(self, prefixes: Sequence[str]) -> list[OwnRecord]:
        records = self._wallet.records()
        if prefixes:
            records = list({one.token: one for one in map(self._wallet.record, prefixes)}.values())
        if not records:
            raise UserError(
                "you have no records yet",
                "show a clinic a code from: chartmesh my code",
                code=Code.REFUSED,
            )
        return records

    async def _put_record(self, out: "_Out", record: OwnRecord) -> bool:
        """Whether the content is in the file too: a clinic that begins to give it goes on, or all fails."""
        opened = self._wallet.open(record)
        grants = [one for one in self._wallet.grants() if one.token == record.token]
        shown = await self._proofs.portable(record, [one.grant_id for one in grants])
        has_begun = False

        async def begin(*, has_content: bool) -> None:
            nonlocal has_begun
            has_begun = True
            proofs = tuple(raw for raw, _ in shown)
            bodies = tuple(one.body for one in grants)
            await out.put(
                ExportRecord(record.token, proofs, bodies, opened.content_key, opened.label, has_content)
            )

        async def take(piece: bytes) -> None:
            if not has_begun:
                await begin(has_content=True)
            for start in range(0, len(piece), limits.EXPORT_PIECE_BYTES):
                await out.put(ExportPiece(piece[start : start + limits.EXPORT_PIECE_BYTES]))

        ask = own_ask(self._wallet, record, opened.content_key)
        sources = own_sources(self._clinics, record, self._chain.limits.holders)
        try:
            await self._fetcher.fetch(ask, sources, take)
        except (Refused, TransportError):
            if has_begun:
                raise
            await begin(has_content=False)
            return False
        return True

    async def _members(self) -> tuple[ExportMembers, tuple[MemberState, ...]]:
        """Who is a member, as one clinic proves it from the genesis on. Raises UserError STALE."""
        for peer in self._clinics.reachable():
            # What one clinic cannot prove, another may.
            try:
                return await self._ask_members(peer)
            except (ProtocolError, trio.TooSlowError):
                self._clinics.avoid(peer)
        raise unproven()

    async def _ask_members(self, peer: PublicKey) -> tuple[ExportMembers, tuple[MemberState, ...]]:
        """Raises ProtocolError."""
        for _ in range(_MEMBERS_TRIES):
            reply = decode(
                RollReply, await self._ask(peer, RollRequest()), limit=limits.LIGHT_REPLY_BYTES_MAX
            )
            route = await self._route(peer)
            if route.header.height == reply.height:
                return ExportMembers(route, reply.roll), verify_roll(route.header, reply.roll)
        raise Malformed("a roll and a way of other heights")

    async def _route(self, peer: PublicKey) -> Route:
        """The whole way from the genesis to the newest header. Raises ProtocolError."""
        committee, ends = genesis_committee(self._genesis), list[EpochEnd]()
        while True:
            raw = await self._ask(peer, RouteRequest(committee.epoch))
            route = decode(RouteReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).route
            if route is None:
                raise Malformed("a clinic that shows no way from the genesis")
            rosters = verify_route(route, committee)
            ends += route.ends
            if not rosters or len(route.ends) < limits.ROUTE_EPOCHS_MAX:
                return Route(tuple(ends), route.header, route.finality)
            committee = committee_of(rosters[-1], committee.network)

    async def _ask(self, peer: PublicKey, request: RollRequest | RouteRequest) -> bytes:
        raw = await self._clinics.call(peer, PROTOCOL, encode(request))
        if raw is None:
            raise Malformed("the clinic did not answer")
        return raw

    async def _put_logs(
        self, out: "_Out", members: Sequence[MemberState], records: Sequence[OwnRecord]
    ) -> list[MemberState]:
        """Those whose logs could not be had."""
        active = [one for one in members if one.is_active]
        asked = await self._who.ask(active, records)
        for member, log in asked:
            for section in _sections(member, log):
                await out.put(section)
        return [member for member, log in asked if log is None]


class _Out:
    """Sections on their way into the file."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.writer = ExportWriter()
        self.bytes = len(MAGIC)

    async def put(self, section: Section) -> None:
        frame = self.writer.framed(section)
        self.bytes += len(frame)
        await self._write(frame)


def _sections(member: MemberState, log: ClinicLog | None) -> list[ExportLog]:
    if log is None:
        return []
    return [
        ExportLog(
            member.id_key, told.tokens, told.entries, told.reply.head, told.reply.shown, told.reply.posted
        )
        for told in log.told
    ]
