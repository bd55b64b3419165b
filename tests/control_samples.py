"""One of every request and every result of the control contract."""

from protocol import control, limits
from protocol.control import AnyRequest

TOKEN = "ab" * 32
GRANT = control.GrantItem(
    grant="cd" * 32,
    token=TOKEN,
    grantee="02" * 33,
    purposes=("TREAT",),
    not_after=control.utc(0),
    final=True,
)
REQUEST = control.RequestItem(
    request="ef" * 32,
    asker="03" * 33,
    asker_name="clinic-b",
    purposes=("TREAT",),
    for_s=86_400,
    not_after=control.utc(1),
    kind="all",
    records=(control.RequestedItem(token=TOKEN, title="Letter"),),
)

ERASED = control.EraseResult(
    token=TOKEN,
    final=True,
    deleted_at=("02",),
    unreached=("03",),
    state="erased",
    title="Letter",
    holders=(
        control.HolderItem(member="02", name="clinic-a", state="deleted", time=control.utc(1)),
        control.HolderItem(member="03", name="clinic-c", state="unreached"),
    ),
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
    control.PatientEnrol(name="p", code="CM1ABC", also=True),
    control.PatientList(),
    control.PatientShow(name="p", rows=5),
    control.RecordShow(id="abcdef"),
    control.RecordVerify(id=TOKEN),
    control.RecordGet(id=TOKEN, purpose="TREAT", user="dr.b", grant="00ff"),
    control.RecordGet(id=TOKEN, purpose="TREAT", user="dr.b", file="a/IM1", is_index=True),
    control.RecordGet(id=TOKEN, purpose="TREAT", user="dr.b", earlier_bytes=limits.PIECE_BYTES),
    control.AccessAsk(
        patient="CM1ABC", tokens=(TOKEN,), purposes=("TREAT",), for_ms=1, stands_ms=1, renew=TOKEN
    ),
    control.AccessList(expiring_ms=1),
    control.AccessShow(id=TOKEN),
    control.AuditList(record=TOKEN, patient="p", by="u", since_ms=0),
    control.AuditVerify(),
    control.BackupCreate(path="/mnt/backup", blobs=True),
    control.StoreGc(),
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
    control.MyCode(clinic="clinic-a", count=3, person="Mia"),
    control.MyRecords(person="Mia"),
    control.MyPersons(),
    control.MyPersonAdd(name="Mia"),
    control.MyPersonRename(name="Mia", to="Mia B."),
    control.MyPersonAssign(record=TOKEN, name="Mia"),
    control.MyRecord(id=TOKEN),
    control.MyShare(records=(TOKEN,), clinic="clinic-b", for_ms=1, purposes=("TREAT",)),
    control.MyExport(records=(TOKEN,)),
    control.MyShareKind(
        clinic="clinic-b",
        for_ms=1,
        purposes=("TREAT",),
        kind="fhir",
        issuer="clinic-a",
        since_ms=1,
        is_future=True,
        person="Mia",
    ),
    control.MyShares(),
    control.MyPreview(
        records=(TOKEN,),
        in_ms=1,
        share=control.ShareTerms(clinic="clinic-b", for_ms=1, purposes=("TREAT",)),
    ),
    control.MyStop(id=None),
    control.MyWho(record=TOKEN),
    control.MyErase(record=TOKEN, words="abandon art"),
    control.MyErasures(),
    control.MyRequests(),
    control.MyApprove(id=TOKEN, for_ms=1, records=(TOKEN,)),
    control.MyDecline(id=TOKEN),
    control.MyLostPhone(words="abandon art", keep=(GRANT.grant,)),
    control.MyRecover(words="abandon art"),
    control.KeysRefill(words="abandon art"),
    control.KeysExport(words="abandon art", form="sheets"),
    control.MyTakeCode(name="Ben"),
    control.MyGive(record=TOKEN, to="CM1QQ", reason="majority", words="abandon art"),
    control.MyTake(gift="CM1QQ", is_signed=True),
    control.WalletShow(),
)

PATIENT = control.PatientItem(name="p", reference="01020304", since=control.utc(0))
PROVISION = control.ProvisionItem(
    id="ba" * 16,
    grantee="02",
    grantee_name="clinic-b",
    kind="fhir",
    issuer="01",
    issuer_name="clinic-a",
    purposes=("TREAT",),
    since="2026-01-31T08:00:00Z",
    not_after="2026-02-28T08:00:00Z",
    person="Mia",
)
RESULTS: dict[type, control.Document] = {
    control.MyPersonsResult: control.MyPersonsResult(
        persons=(control.PersonItem(name="Mia", number=1, records=2),)
    ),
    control.PatientEnrolResult: control.PatientEnrolResult(patient=PATIENT),
    control.PatientListResult: control.PatientListResult(patients=(PATIENT,)),
    control.PatientShowResult: control.PatientShowResult(
        patient="p",
        records=(
            control.TimelineItem(
                token=TOKEN, time="t", type="fhir", title="t", size=1, issuer="02", issuer_name="a"
            ),
        ),
    ),
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
    control.RecordVerifyResult: control.RecordVerifyResult(
        token=TOKEN,
        height=4,
        is_proven=True,
        erased=False,
        chunks=9,
        copies=(
            control.CopyVerdict(member="02", name="a", state="whole", looked_at=9),
            control.CopyVerdict(member="03", name="b", state="unreachable", looked_at=0),
        ),
    ),
    control.RecordGetResult: control.RecordGetResult(token=TOKEN, bytes=3, sha256="ff", audit_id="a-7"),
    control.AccessAskResult: control.AccessAskResult(request=REQUEST),
    control.AccessListResult: control.AccessListResult(grants=(GRANT,), requests=(REQUEST,)),
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
    control.StoreGcResult: control.StoreGcResult(
        databases=(control.DatabaseFreed(name="ledger", before_bytes=3, after_bytes=2),)
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
    control.MyExportResult: control.MyExportResult(
        records=2, bytes=1_000, left_out=(TOKEN,), unreached=("clinic-b",)
    ),
    control.MyShareKindResult: control.MyShareKindResult(grants=(GRANT,), provision=PROVISION),
    control.MySharesResult: control.MySharesResult(grants=(GRANT,), provisions=(PROVISION,)),
    control.MyPreviewResult: control.MyPreviewResult(
        now="2026-01-31T08:00:00Z",
        at="2026-02-28T08:00:00Z",
        rows=(
            control.PreviewItem(
                token=TOKEN,
                title="x",
                grant="",
                reader="02",
                reader_name="clinic-b",
                purposes=("TREAT",),
                not_after="2026-02-27T08:00:00Z",
                is_new=True,
                now=control.PreviewVerdict(can_read=True),
                then=control.PreviewVerdict(can_read=False, reason="expired", why="it has run out"),
            ),
        ),
    ),
    control.MyStopResult: control.MyStopResult(
        stops=(control.Stopped(grant=TOKEN, final=True, stopped_at=("02",), unreached=("03",), bound_s=90),)
    ),
    control.EraseResult: ERASED,
    control.MyErasuresResult: control.MyErasuresResult(erasures=(ERASED,)),
    control.MyRequestsResult: control.MyRequestsResult(requests=(REQUEST,), unreached=("03",)),
    control.MyRequestResult: control.MyRequestResult(request=REQUEST, told=False),
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
