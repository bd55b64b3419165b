"""The answers that only a patient's light client gives."""

from typing import assert_never

from node.exchange import Exchange
from node.light.client import LightClient
from node.light.giving import Giving
from node.light.my import My
from node.light.own_keys import OwnKeys
from node.light.requests import Requests
from protocol.control import (
    Document,
    KeysExport,
    KeysRefill,
    MyApprove,
    MyCode,
    MyDecline,
    MyErase,
    MyErasures,
    MyExport,
    MyGive,
    MyLostPhone,
    MyPersonAdd,
    MyPersonAssign,
    MyPersonRename,
    MyPersons,
    MyPreview,
    MyRecord,
    MyRecords,
    MyRecover,
    MyRequests,
    MyShare,
    MyShareKind,
    MyShares,
    MyStop,
    MyTake,
    MyTakeCode,
    MyWho,
    PatientRequest,
    WalletShow,
)

MyRequest = MyCode | MyRecords | MyRecord | MyShare | MyShareKind | MyShares | MyStop | MyWho
OwnKeysRequest = MyLostPhone | MyRecover | KeysExport | KeysRefill | WalletShow
AskedRequest = MyRequests | MyApprove | MyDecline
PersonRequest = MyPersons | MyPersonAdd | MyPersonRename | MyPersonAssign
GivingRequest = MyTakeCode | MyGive | MyTake


async def answer_patient(client: LightClient, request: PatientRequest, exchange: Exchange) -> Document:
    """Raises UserError, with what to do next."""
    if isinstance(request, OwnKeysRequest):
        return await _answer_own_keys(client.own_keys, request)
    if isinstance(request, GivingRequest):
        return await _answer_giving(client.giving, request)
    if isinstance(request, MyErase):
        return await client.erasing.erase(request)
    if isinstance(request, MyErasures):
        return await client.erasing.erasures()
    if isinstance(request, MyExport):
        return await client.exporter.export(request, exchange.write_data)
    if isinstance(request, MyPreview):
        return await client.preview.preview(request)
    if isinstance(request, AskedRequest):
        return await _answer_asked(client.requests, request)
    if isinstance(request, PersonRequest):
        return _answer_person(client, request)
    return await _answer_my(client.my, request, exchange)


async def _answer_my(my: My, request: MyRequest, exchange: Exchange) -> Document:
    match request:
        case MyCode():
            return await my.code(request)
        case MyRecords():
            return await my.records(request)
        case MyRecord():
            earlier = exchange.read_data() if request.earlier_bytes else None
            return await my.record(request, exchange.write_data, earlier)
        case MyShare():
            return await my.share(request)
        case MyShareKind():
            return await my.share_kind(request)
        case MyShares():
            return await my.shares()
        case MyStop():
            return await my.stop(request)
        case MyWho():
            return await my.who(request)
        case _:
            assert_never(request)


async def _answer_own_keys(own_keys: OwnKeys, request: OwnKeysRequest) -> Document:
    match request:
        case MyLostPhone():
            return await own_keys.lost_phone(request)
        case MyRecover():
            return await own_keys.recover(request)
        case KeysRefill():
            return await own_keys.refill(request)
        case KeysExport():
            return own_keys.export(request)
        case WalletShow():
            return own_keys.show()
        case _:
            assert_never(request)


async def _answer_asked(requests: Requests, request: AskedRequest) -> Document:
    match request:
        case MyRequests():
            return await requests.rows()
        case MyApprove():
            return await requests.approve(request)
        case MyDecline():
            return await requests.decline(request)
        case _:
            assert_never(request)


def _answer_person(client: LightClient, request: PersonRequest) -> Document:
    persons = client.persons
    match request:
        case MyPersons():
            return persons.listed()
        case MyPersonAdd(name=name):
            return persons.add(name)
        case MyPersonRename(name=name, to=to):
            return persons.rename(name, to)
        case MyPersonAssign(record=record, name=name):
            return persons.assign(client.wallet.record(record).token, name)
        case _:
            assert_never(request)


async def _answer_giving(giving: Giving, request: GivingRequest) -> Document:
    match request:
        case MyTakeCode():
            return giving.take_code(request)
        case MyGive():
            return await giving.give(request)
        case MyTake():
            return await giving.take(request)
        case _:
            assert_never(request)
