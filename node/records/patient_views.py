"""The answers to `patient enrol`, `patient list` and `patient show`."""

from node.chain.ledger import Ledger
from node.ports import Offload
from node.records.grants_inbox import GrantsInbox
from node.records.patient_history import Entry, PatientHistory
from node.records.patients import Patient, Patients
from protocol.codes import check_addressed, decode_code
from protocol.control import (
    PatientEnrol,
    PatientEnrolResult,
    PatientItem,
    PatientListResult,
    PatientShow,
    PatientShowResult,
    TimelineItem,
    utc,
)
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.persons import Reference

_SHOWN_BYTES = 4


class PatientViews:
    """`identity` is this clinic's key."""

    def __init__(
        self,
        *,
        identity: PublicKey,
        ledger: Ledger,
        inbox: GrantsInbox,
        patients: Patients,
        history: PatientHistory,
        offload: Offload,
    ) -> None:
        self._identity, self._ledger, self._inbox = identity, ledger, inbox
        self._patients, self._history, self._offload = patients, history, offload

    async def enrol(self, request: PatientEnrol) -> PatientEnrolResult:
        """Raises UserError RECEIVE_CODE, the code is not for here; USAGE, the name or the person has
        another already."""
        code = decode_code(request.code)
        check_addressed(code, network=self._ledger.state.network, clinic=self._identity)
        reference = Reference(code.reference)
        patient = await self._offload.run(
            lambda: self._patients.enrol(request.name, reference, is_also=request.also)
        )
        return PatientEnrolResult(patient=_item(patient))

    async def rows(self) -> PatientListResult:
        patients = await self._offload.run(self._patients.all)
        return PatientListResult(patients=tuple(map(_item, patients)))

    async def show(self, request: PatientShow) -> PatientShowResult:
        """Raises UserError REFUSED: nobody is called so here."""
        await self._inbox.wait_searched()
        return await self._offload.run(lambda: self._show(request))

    def _show(self, request: PatientShow) -> PatientShowResult:
        entries = self._history.entries(request.name)
        if not entries and not self._patients.references(request.name):
            raise UserError(
                f"this clinic has no patient called {request.name}",
                "see: chartmesh patient list",
                code=Code.REFUSED,
            )
        return PatientShowResult(
            patient=request.name,
            records=tuple(map(self._row, entries[: request.rows])),
            more=len(entries) > request.rows,
        )

    def _row(self, entry: Entry) -> TimelineItem:
        token = self._ledger.state.token(entry.token)
        assert token is not None, "the history lists tokens of the ledger"
        label, terms = entry.label, None if entry.grant is None else entry.grant.body
        return TimelineItem(
            token=entry.token.hex(),
            time=utc(label.time_ms),
            type=label.type,
            title=label.title,
            size=label.size,
            issuer=token.issuer.hex(),
            issuer_name=self._ledger.membership.name_of(token.issuer),
            until=None if terms is None else utc(terms.not_after_ms),
            purposes=() if terms is None else terms.purposes,
            fresh=self._history.is_fresh_for(entry),
            prior=label.prior.hex(),
        )


def _item(patient: Patient) -> PatientItem:
    shown = patient.reference[:_SHOWN_BYTES].hex()
    return PatientItem(name=patient.name, reference=shown, since=utc(patient.since_ms))
