"""The records of a clinic: those that it issued, and those that patients let it read."""

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from node.chain.ledger import Ledger
from node.ports import Offload, Store
from node.records.copy_challenges import CopyChallenges
from node.records.grants_inbox import GrantsInbox
from node.records.holders import placed
from node.records.ids import find_token
from node.records.issued import IssuedRecord, IssuedRecords
from node.records.patient_history import PatientHistory
from node.records.patients import Patients
from protocol.control import (
    CopyItem,
    RecordItem,
    RecordList,
    RecordListResult,
    RecordShow,
    RecordShowResult,
    utc,
)
from protocol.grants import RecordLabel, SealedGrant
from protocol.transactions import TokenId


class Records:
    """Answers `record list` and `record show`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        inbox: GrantsInbox,
        issued: IssuedRecords,
        history: PatientHistory,
        patients: Patients,
        challenges: CopyChallenges,
        offload: Offload,
    ) -> None:
        self._ledger, self._store, self._inbox = ledger, store, inbox
        self._issued, self._challenges, self._offload = issued, challenges, offload
        self._history, self._patients = history, patients

    async def rows(self, request: RecordList) -> RecordListResult:
        """The records that this clinic issued or may read, newest first."""
        await self._inbox.wait_searched()
        return await self._offload.run(lambda: self._list(request))

    async def show(self, request: RecordShow) -> RecordShowResult:
        """One record as the ledger has it, and where its copies are; title and type where this clinic can
        know them.

        Raises:
            Refused: no such record. UserError: AMBIGUOUS_ID.
        """
        await self._inbox.wait_searched()
        shown = await self._offload.run(lambda: self._show(request))
        name = TokenId(bytes.fromhex(shown.record.token))
        return replace(shown, copies=await self._copies(name))

    # Inside.

    def _list(self, request: RecordList) -> RecordListResult:
        if request.patient is not None:
            return self._list_patient(request.patient, request)
        readable = self._readable()
        times = {token: box.label.time_ms for token, box in readable.items()}
        issued = dict(self._issued.entries())
        times |= {token: entry.time_ms for token, entry in issued.items()}
        since_ms = request.since_ms or 0
        wanted = [token for token, time_ms in times.items() if time_ms >= since_ms]
        wanted.sort(key=lambda token: (times[token], token), reverse=True)

        def found() -> Iterator[RecordItem]:
            for token in wanted:
                own = self._issued.open(issued[token]) if token in issued else None
                label = readable[token].label if own is None else own.label
                # A mint that is not final yet has no token.
                if _is_of(request, label) and self._ledger.state.token(token) is not None:
                    yield self._item(token, own, readable.get(token))

        return _first(found(), request.rows)

    def _list_patient(self, patient: str, request: RecordList) -> RecordListResult:
        since_ms = request.since_ms or 0
        wanted = [one for one in self._history.entries(patient) if one.label.time_ms >= since_ms]
        wanted = [one for one in wanted if _is_of(request, one.label)]
        rows = (self._row(one.token, one.label, one.own, patient) for one in wanted)
        return _first(rows, request.rows)

    def _readable(self) -> dict[TokenId, SealedGrant]:
        """What came with each record that has a live grant to this clinic."""
        found: dict[TokenId, SealedGrant] = {}
        for grant in self._inbox.held():
            opened = self._inbox.open(grant) if self._inbox.is_live(grant) else None
            if opened is not None:
                found[grant.token] = opened
        return found

    def _show(self, request: RecordShow) -> RecordShowResult:
        name = find_token(self._store, self._ledger.state, request.id)
        token = self._ledger.state.token(name)
        assert token is not None, "found on the ledger"
        own = self._issued.get(name)
        held = [self._inbox.open(grant) for grant in self._inbox.held_for(name)]
        box = next((opened for opened in held if opened is not None), None)
        expected = placed(token, self._ledger.membership.keys, self._ledger.state.limits.holders)
        copies = expected if own is None else own.holders
        return RecordShowResult(
            record=self._item(name, own, box),
            owner=token.owner_key.hex(),
            generation=token.generation,
            height=token.minted_height,
            root=token.content.root.hex(),
            holders=tuple(peer.hex() for peer in copies),
            erased=token.erased,
        )

    async def _copies(self, name: TokenId) -> tuple[CopyItem, ...]:
        token = self._ledger.state.token(name)
        if token is None or token.erased:
            return ()
        return tuple(
            CopyItem(member=peer.hex(), name=self._ledger.membership.name_of(peer), state=state)
            for peer, state in (await self._challenges.look(name, token)).items()
        )

    def _item(self, name: TokenId, own: IssuedRecord | None, shared: SealedGrant | None) -> RecordItem:
        if own is not None:
            return self._row(name, own.label, own, own.patient)
        if shared is not None:
            return self._row(name, shared.label, None, self._patients.name_of(shared.reference))
        return self._row(name, None, None, "")

    def _row(
        self, name: TokenId, label: RecordLabel | None, own: IssuedRecord | None, patient: str
    ) -> RecordItem:
        """A row; its time is the issuer's where the label is known, else that of its block."""
        token = self._ledger.state.token(name)
        assert token is not None, "only tokens on the ledger are shown"
        return RecordItem(
            token=name.hex(),
            issuer=token.issuer.hex(),
            time=utc(self._block_time_ms(token.minted_height) if label is None else label.time_ms),
            size=token.content.length,
            title="" if label is None else label.title,
            type="" if label is None else label.type,
            patient=patient,
            issuer_name=self._ledger.membership.name_of(token.issuer),
            copies=None if own is None else len(own.holders),
            grants=self._inbox.live_count(name),
            prior="" if label is None else label.prior.hex(),
        )

    def _block_time_ms(self, height: int) -> int:
        header = self._ledger.header(height)
        return 0 if header is None else header.time_ms


def _is_of(request: RecordList, label: RecordLabel) -> bool:
    return request.type in ("all", label.type)


def _first(rows: Iterator[RecordItem], count: int) -> RecordListResult:
    """So many of them, and whether there are more: those beyond are not made."""
    items = tuple(islice(rows, count))
    return RecordListResult(records=items, more=next(rows, None) is not None)
