"""The answers that only a clinic gives: records, access, audit, and what members decide."""

from typing import assert_never

from node.clinic import Clinic
from node.control.membership import MembershipAnswers
from node.exchange import Exchange
from node.records.services import RecordServices
from protocol.control import (
    AccessAsk,
    AccessList,
    AccessShow,
    AuditList,
    AuditVerify,
    Document,
    NetworkApprove,
    NetworkEvidence,
    NetworkInvite,
    NetworkRemove,
    NetworkSuspend,
    PatientEnrol,
    PatientList,
    PatientShow,
    RecordAdd,
    RecordGet,
    RecordList,
    RecordShow,
    RecordVerify,
)

AccessRequest = AccessAsk | AccessList | AccessShow
RecordRequest = (
    RecordAdd | RecordList | RecordShow | RecordVerify | RecordGet | AccessRequest | AuditList | AuditVerify
)
PatientsRequest = PatientEnrol | PatientList | PatientShow
NetworkRequest = NetworkInvite | NetworkApprove | NetworkSuspend | NetworkRemove | NetworkEvidence


async def answer_clinic(
    clinic: Clinic, request: RecordRequest | PatientsRequest | NetworkRequest, exchange: Exchange
) -> Document:
    """Raises UserError, with what to do next."""
    if isinstance(request, NetworkRequest):
        return await _answer_member(MembershipAnswers(clinic), request)
    if isinstance(request, PatientsRequest):
        return await _answer_patients(clinic.records, request)
    return await _answer_records(clinic.records, request, exchange)


async def _answer_records(records: RecordServices, request: RecordRequest, exchange: Exchange) -> Document:
    match request:
        case RecordAdd():
            return await records.issuer.add(request, exchange)
        case RecordList():
            return await records.records.rows(request)
        case RecordShow():
            return await records.records.show(request)
        case RecordVerify():
            return await records.check.verify(request, exchange)
        case RecordGet():
            return await records.reader.get(request, exchange)
        case AccessAsk():
            return await records.asking.ask(request)
        case AccessList():
            return await records.access.rows(request)
        case AccessShow():
            return await records.access.show(request)
        case AuditList():
            return await records.audit_views.rows(request)
        case AuditVerify():
            return await records.audit_views.verify(request)
        case _:
            assert_never(request)


async def _answer_patients(records: RecordServices, request: PatientsRequest) -> Document:
    match request:
        case PatientEnrol():
            return await records.patient_views.enrol(request)
        case PatientList():
            return await records.patient_views.rows()
        case PatientShow():
            return await records.patient_views.show(request)
        case _:
            assert_never(request)


async def _answer_member(answers: MembershipAnswers, request: NetworkRequest) -> Document:
    match request:
        case NetworkInvite():
            return answers.invite(request)
        case NetworkApprove():
            return await answers.approve(request)
        case NetworkSuspend():
            return await answers.suspend(request)
        case NetworkRemove():
            return await answers.remove(request)
        case NetworkEvidence():
            return answers.evidence(request)
        case _:
            assert_never(request)
