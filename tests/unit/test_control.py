"""The control contract: round trips, limits, framing, and the committed schema."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import control, limits
from protocol.control import AnyRequest, FrameDecoder, Kind
from protocol.errors import ChartmeshError, Code, Malformed

SCHEMA = Path(__file__).parent.parent / "vectors" / "control-schema.json"
TOKEN = "ab" * 32
GRANT = control.GrantItem(
    grant="cd" * 32,
    token=TOKEN,
    grantee="02" * 33,
    purposes=("TREAT",),
    not_after=control.utc(0),
    final=True,
)

MEMBER = control.MemberItem(id="02", name="a", role="validator", reachable=True, last_height=None)
CHANGE = control.ChangeItem(
    change=TOKEN, act="admit", member="03", name="e", approvals=1, needed=3, expires=control.utc(1)
)

REQUESTS: tuple[AnyRequest, ...] = (
    control.Status(),
    control.Peers(),
    control.PeerBlock(id=TOKEN, for_ms=0),
    control.Members(),
    control.Stop(),
    control.PageOpen(),
    control.RecordAdd(name="scan.dcm", size=5, code="CM1ABC", type="dicom", title="Hüfte", patient="p"),
    control.RecordList(patient="p", since_ms=1, rows=5),
    control.RecordShow(id="abcdef"),
    control.RecordGet(id=TOKEN, purpose="TREAT", user="dr.b", grant="00ff"),
    control.AccessList(expiring_ms=1),
    control.AccessShow(id=TOKEN),
    control.AuditList(record=TOKEN, patient="p", by="u", since_ms=0),
    control.AuditVerify(),
    control.BackupCreate(path="/mnt/backup", blobs=True),
    control.StoreStat(),
    control.StoreVerify(),
    control.NetworkJoin(genesis="text"),
    control.NetworkInvite(expires_ms=1),
    control.NetworkInvitation(code="CM1ABC"),
    control.NetworkApply(code="CM1ABC", terms_hash=TOKEN),
    control.NetworkApprove(member="clinic-e", validator=True),
    control.NetworkSuspend(member="clinic-e", reason="evidence"),
    control.NetworkRemove(member="clinic-e"),
    control.NetworkEvidence(member=None),
    control.KeysShow(),
    control.KeysRotate(),
    control.MyCode(clinic="clinic-a", count=3),
    control.MyRecords(),
    control.MyRecord(id=TOKEN),
    control.MyShare(records=(TOKEN,), clinic="clinic-b", for_ms=1, purposes=("TREAT",)),
    control.MyShares(),
    control.MyStop(id=None),
    control.MyWho(record=TOKEN),
    control.MyLostPhone(words="abandon art", keep=(GRANT.grant,)),
    control.MyRecover(words="abandon art"),
    control.KeysRefill(words="abandon art"),
    control.KeysExport(words="abandon art", form="sheets"),
    control.MyTakeCode(name="Ben"),
    control.MyGive(record=TOKEN, to="CM1QQ", reason="majority", words="abandon art"),
    control.MyTake(gift="CM1QQ", is_signed=True),
    control.WalletShow(),
)

RESULTS: dict[type, control.Document] = {
    control.StatusResult: control.StatusResult(
        role="clinic",
        id="02" * 33,
        network=TOKEN,
        epoch=0,
        height=4,
        final_age_s=0.5,
        members=4,
        reachable=4,
        quorum=3,
        fresh=True,
        peers=3,
        mempool=0,
        disk_bytes=10,
        warnings=("w",),
    ),
    control.PageOpenResult: control.PageOpenResult(url="http://127.0.0.1:1/", expires_s=120),
    control.PeersResult: control.PeersResult(
        peers=(control.PeerItem(id="02", name="a", role="member", address="/ip4/…", direction="in"),),
        offenders=(
            control.OffenderItem(
                id=None,
                name="",
                role="stranger",
                address="192.0.2.7",
                reason="it did not prove who it is",
                count=3,
                last="2026-01-31T12:00:00.000Z",
            ),
        ),
    ),
    control.MembersResult: control.MembersResult(members=(MEMBER,), pending=(CHANGE,)),
    control.NetworkChangeResult: control.NetworkChangeResult(change=CHANGE, final=False, members=(MEMBER,)),
    control.NetworkInviteResult: control.NetworkInviteResult(
        code="CM1ABC", network=TOKEN, name="n", expires=control.utc(1), checkpoint_height=9
    ),
    control.NetworkInvitationResult: control.NetworkInvitationResult(
        network=TOKEN,
        name="n",
        inviter="02",
        expires=control.utc(1),
        founders=("a", "b"),
        terms="be good",
        terms_hash=TOKEN,
    ),
    control.NetworkEvidenceResult: control.NetworkEvidenceResult(
        evidence=(
            control.EvidenceItem(member="02", name="a", vote_key="03", epoch=1, view=2, text="-----BEGIN"),
        )
    ),
    control.KeysResult: control.KeysResult(
        id="02",
        fingerprint="ab",
        vote_key="03",
        vote_fingerprint="cd",
        generation=0,
        is_protected=True,
    ),
    control.StopResult: control.StopResult(drained_s=0.25),
    control.RecordAddResult: control.RecordAddResult(
        records=(
            control.RecordAdded(file="f", token=TOKEN, size=5, type="fhir", copies=3, final=True, height=9),
        )
    ),
    control.RecordListResult: control.RecordListResult(
        records=(control.RecordItem(token=TOKEN, issuer="02", time=control.utc(1), size=3, prior="00"),),
        more=True,
    ),
    control.RecordShowResult: control.RecordShowResult(
        record=control.RecordItem(token=TOKEN, issuer="02", time=control.utc(1), size=3),
        owner="02",
        generation=0,
        height=1,
        root="ff",
        copies=(control.CopyItem(member="02", name="clinic-b", state="missing"),),
    ),
    control.RecordGetResult: control.RecordGetResult(token=TOKEN, bytes=3, sha256="ff", audit_id="a-7"),
    control.AccessListResult: control.AccessListResult(grants=(GRANT,)),
    control.AccessShowResult: control.AccessShowResult(grant=GRANT),
    control.AuditListResult: control.AuditListResult(
        entries=(control.AuditItem(sequence=1, time="t", event="serve", outcome="served", hash="ff"),),
        ok=True,
        head="ff",
    ),
    control.AuditVerifyResult: control.AuditVerifyResult(entries=1, ok=False, head="ff", bad=1),
    control.BackupResult: control.BackupResult(
        path="/mnt/backup",
        role="clinic",
        id="02",
        name="a",
        network=TOKEN,
        time=control.utc(1),
        height=4,
        audit_entries=1,
        root="ff",
        files=(control.BackupFileItem(name="keys", bytes=3, sha256="ff"),),
    ),
    control.StoreStatResult: control.StoreStatResult(
        databases=(control.DatabaseItem(name="ledger", bytes=3),),
        free_bytes=9,
        low_water_bytes=3,
        vital_bytes=1,
        used_bytes=1,
        quota_bytes=9,
    ),
    control.StoreVerifyResult: control.StoreVerifyResult(
        ok=False, databases=(control.DatabaseVerdict(name="ledger", entries=3, problem="damaged"),)
    ),
    control.NetworkJoinResult: control.NetworkJoinResult(
        network=TOKEN, name="n", members=4, quorum=3, joined=True
    ),
    control.MyCodeResult: control.MyCodeResult(code="CM1ABC"),
    control.MyRecordsResult: control.MyRecordsResult(
        records=(
            control.MyRecordItem(
                token=TOKEN, issuer="02", time="t", title="x", type="fhir", size=1, grants=(GRANT,)
            ),
        )
    ),
    control.MyShareResult: control.MyShareResult(grants=(GRANT,)),
    control.MySharesResult: control.MySharesResult(grants=(GRANT,)),
    control.MyStopResult: control.MyStopResult(
        stops=(control.Stopped(grant=TOKEN, final=True, stopped_at=("02",), unreached=("03",), bound_s=90),)
    ),
    control.LostPhoneResult: control.LostPhoneResult(
        device=1, records=(control.RekeyedItem(token=TOKEN, title="t", final=True),), kept=(GRANT.grant,)
    ),
    control.RecoverResult: control.RecoverResult(device=1, records=2),
    control.KeysExportResult: control.KeysExportResult(words="", sheets=("acid academic",), needed=3),
    control.TakeCodeResult: control.TakeCodeResult(
        code="CM1QQ", fingerprint="ab", not_after="2026-11-24T10:00:00Z"
    ),
    control.GiveResult: control.GiveResult(
        gift="",
        token=TOKEN,
        title="t",
        reason="estate",
        to_name="Ben",
        to_fingerprint="ab",
        not_after="2026-11-24T10:00:00Z",
    ),
    control.TakeResult: control.TakeResult(
        token=TOKEN, title="t", media="pdf", size=1, reason="estate", final=True
    ),
    control.WalletResult: control.WalletResult(id="02", fingerprint="ab", device=0, used=3, left=253),
    control.MyWhoResult: control.MyWhoResult(
        accesses=(
            control.AccessItem(
                time="t",
                member="02",
                user="u",
                purpose="TREAT",
                grant=None,
                token=TOKEN,
                outcome="refused",
                bytes=0,
            ),
        ),
        unreached=("03",),
        logs=(control.LogItem(member="03", name="clinic-c", state="unreached"),),
    ),
}


def schema() -> str:
    """The JSON schema of everything that crosses the control socket."""
    results = [control.Progress, control.ErrorReply, *{control.result_of(type(r)): None for r in REQUESTS}]
    tops, components = msgspec.json.schema_components([AnyRequest, *results])
    shape = {"request": tops[0], "reply": {"anyOf": list(tops[1:])}, "$defs": components}
    return json.dumps(shape, indent=1, sort_keys=True) + "\n"


def test_the_schema_is_the_committed_one() -> None:
    assert SCHEMA.read_text() == schema(), (
        "the control contract changed: fields may be added, never renamed or removed; "
        "if so, write it anew with: uv run python -m tests.unit.test_control"
    )


def test_no_request_shows_the_words_in_a_message() -> None:
    with_words = [request for request in REQUESTS if hasattr(request, "words")]
    assert len(with_words) == 5
    assert all("abandon" not in f"{request!r} {request}" for request in with_words)


def test_every_request_of_the_contract_is_tried_here() -> None:
    assert {type(request) for request in REQUESTS} == set(get_args(AnyRequest))
    assert {control.result_of(type(request)) for request in REQUESTS} == set(RESULTS)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_a_request_and_its_result_survive_the_trip(request_: control.Ask[Any]) -> None:
    payload = control.encode_request(request_)
    assert len(payload) <= limits.CONTROL_REQUEST_BYTES_MAX
    assert control.decode_request(payload) == request_
    kind: type[control.Ask[Any]] = type(request_)
    result = RESULTS[control.result_of(kind)]
    document = control.encode_document(result)
    assert json.loads(document)["v"] == 1
    assert control.decode_reply(kind, document) == result


def test_progress_and_errors_answer_any_request() -> None:
    for reply in (
        control.Progress(step="sending", done=3, total=None),
        control.ErrorReply(code="refused", error="no"),
    ):
        assert control.decode_reply(control.Status, control.encode_document(reply)) == reply


def test_an_error_document_has_the_shape_that_scripts_rely_on() -> None:
    document = json.loads(control.encode_document(control.ErrorReply(code="stale", error="e", hint="h")))
    assert document == {"v": 1, "type": "error", "code": "stale", "error": "e", "hint": "h"}


def test_a_reply_with_a_field_of_a_later_version_is_still_read() -> None:
    document = json.loads(control.encode_document(RESULTS[control.StatusResult])) | {"later": [1]}
    assert (
        control.decode_reply(control.Status, json.dumps(document).encode()) == RESULTS[control.StatusResult]
    )


def test_a_reply_to_another_request_is_refused() -> None:
    with pytest.raises(Malformed):
        control.decode_reply(control.Status, control.encode_document(RESULTS[control.MyCodeResult]))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"request":"nonsense"}',
        b'{"request":"status","extra":1}',
        b'{"request":"record-show","id":"abc"}',
        b'{"request":"record-show","id":"ABCDEF"}',
        b'{"request":"record-show","id":"' + b"a" * 67 + b'"}',
        b'{"request":"record-add","name":"f","size":0,"code":"C"}',
        b'{"request":"record-add","name":"f","size":1,"code":"C","type":"exe"}',
        b'{"request":"record-get","id":"abcdef","purpose":"","user":"u"}',
        b'{"request":"record-get","id":"abcdef","purpose":"TREAT","user":""}',
        b'{"request":"my-share","records":[],"clinic":"c","for_ms":1,"purposes":["TREAT"]}',
        b'{"request":"my-share","records":["abcdef"],"clinic":"c","for_ms":0,"purposes":["TREAT"]}',
        b'{"request":"my-share","records":["abcdef"],"clinic":"c","for_ms":1,"purposes":[]}',
        b'{"request":"my-code","clinic":"c","count":21}',
        b'{"request":"my-stop"}',
        b'{"request":"network-invite","expires_ms":0}',
        b'{"request":"network-invite","expires_ms":7776000001}',
        b'{"request":"network-apply","code":"CM1","terms_hash":"ab"}',
        b'{"request":"network-suspend","member":"a","reason":"dislike"}',
        b'{"request":"network-remove","member":""}',
    ],
)
def test_a_request_outside_its_limits_is_a_usage_error(payload: bytes) -> None:
    with pytest.raises(ChartmeshError) as caught:
        control.decode_request(payload)
    assert caught.value.code is Code.USAGE
    assert caught.value.hint


def test_an_argument_that_is_no_text_is_a_usage_error() -> None:
    with pytest.raises(ChartmeshError) as caught:
        control.encode_request(control.MyCode(clinic="\udcff"))
    assert caught.value.code is Code.USAGE


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=8), st.integers(1, 64))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    sent: list[tuple[Kind, bytes]], step: int
) -> None:
    sent = [(kind, b"" if kind is Kind.END else payload) for kind, payload in sent]
    raw = b"".join(control.frame(kind, payload) for kind, payload in sent)
    decoder = FrameDecoder(json_limit=300)
    received = []
    for start in range(0, len(raw), step):
        decoder.feed(raw[start : start + step])
        while (got := decoder.next()) is not None:
            received.append(tuple(got))
    assert received == sent


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x00\x00\x65\x00",  # JSON of 101 bytes
        b"\x00\x01\x00\x01\x01",  # DATA of 64 KiB and one byte
        b"\x00\x00\x00\x01\x02",  # END is empty
        b"\x00\x00\x00\x01\x03",  # no such kind
    ],
)
def test_a_frame_over_the_limit_of_its_kind_is_refused_at_its_header(header: bytes) -> None:
    decoder = FrameDecoder(json_limit=100)
    decoder.feed(header)
    with pytest.raises(Malformed):
        decoder.next()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_860_800_007, "2026-01-31T12:00:00.007Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (2**63, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_utc_text_whatever_a_stranger_claims(ms: int, text: str) -> None:
    assert control.utc(ms) == text


if __name__ == "__main__":
    SCHEMA.write_text(schema())
