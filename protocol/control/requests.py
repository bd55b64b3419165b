"""What the CLI asks of the daemon. Every string and list has a limit; unknown fields are refused."""

from typing import Annotated, get_args

from msgspec import Meta

from protocol import limits
from protocol.control.asking import (
    Ask,
    Digest,
    Duration,
    EarlierBytes,
    GrantBodyHex,
    Id,
    Invitation,
    InvitationLife,
    Moment,
    Name,
    Purpose,
    R,
    ReceiveCode,
    RecordType,
    RequestKind,
    Rows,
    StudyPath,
    SuspendReason,
    User,
)
from protocol.control.keeping import BackupResult, StoreGcResult, StoreStatResult, StoreVerifyResult
from protocol.control.membership import (
    KeysResult,
    MembersResult,
    NetworkChangeResult,
    NetworkEvidenceResult,
    NetworkInvitationResult,
    NetworkInviteResult,
    NetworkJoinResult,
)
from protocol.control.page import PageOpenResult
from protocol.control.patient_requests import PatientRequest
from protocol.control.record_results import (
    PatientEnrolResult,
    PatientListResult,
    PatientShowResult,
    RecordAddResult,
    RecordGetResult,
    RecordListResult,
    RecordShowResult,
    RecordVerifyResult,
)
from protocol.control.results import (
    AccessAskResult,
    AccessListResult,
    AccessShowResult,
    AuditListResult,
    AuditVerifyResult,
    PeersResult,
    StatusResult,
    StopResult,
)


class Status(Ask[StatusResult], frozen=True, kw_only=True, tag="status"):
    pass


class Peers(Ask[PeersResult], frozen=True, kw_only=True, tag="peers"):
    pass


class PeerBlock(Ask[PeersResult], frozen=True, kw_only=True, tag="peer-block"):
    """Keeps a peer out for `for_ms`; with 0 it may come in again, and its offences are forgotten."""

    id: Id
    for_ms: Annotated[int, Meta(ge=0, le=limits.GRANT_LIFE_MS_MAX)]


class Members(Ask[MembersResult], frozen=True, kw_only=True, tag="members"):
    pass


class Stop(Ask[StopResult], frozen=True, kw_only=True, tag="stop"):
    """Answered at once; the daemon then finishes what is running and exits."""


class PageOpen(Ask[PageOpenResult], frozen=True, kw_only=True, tag="page-open"):
    """A link to this node's page, which is served from then on."""


class RecordAdd(Ask[RecordAddResult], frozen=True, kw_only=True, tag="record-add"):
    """Followed by exactly `size` bytes of content. `name` is the file's name without its folder, `prior`
    the record of this clinic's that the new one amends. Until `keep_until_ms` its owner's wallet does not
    erase it.
    """

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=1, le=limits.RECORD_BYTES_MAX)]
    code: ReceiveCode
    type: RecordType = "auto"
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)] = ""
    patient: Annotated[str, Meta(max_length=limits.CONTROL_NAME_CHARS_MAX)] = ""
    prior: Id | None = None
    keep_until_ms: Moment | None = None


class RecordList(Ask[RecordListResult], frozen=True, kw_only=True, tag="record-list"):
    patient: Name | None = None
    since_ms: Moment | None = None
    type: RequestKind = "all"
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class RecordShow(Ask[RecordShowResult], frozen=True, kw_only=True, tag="record-show"):
    id: Id


class RecordVerify(Ask[RecordVerifyResult], frozen=True, kw_only=True, tag="record-verify"):
    id: Id


class RecordGet(Ask[RecordGetResult], frozen=True, kw_only=True, tag="record-get"):
    """Answered with the plaintext, then the result. `grant` presents that body, not one of ours.

    Of a study `file` asks for one file alone, `is_index` for its head, which says what files there are.
    Where an earlier run broke off, `earlier_bytes` of what it brought follow as content, and what comes
    after them is answered with; whether they were right shows in the end.
    """

    id: Id
    purpose: Purpose
    user: User
    grant: GrantBodyHex | None = None
    file: StudyPath | None = None
    is_index: bool = False
    earlier_bytes: EarlierBytes = 0


class AccessAsk(Ask[AccessAskResult], frozen=True, kw_only=True, tag="access-ask"):
    """Asks a patient, named by a receive code or by a record of hers that this clinic knows.

    What is asked for is a `kind`, or `tokens` where there are any; or that the grant `renew` runs on, which
    names the patient, the record and the purposes itself.
    """

    for_ms: Duration
    patient: ReceiveCode | None = None
    kind: RequestKind = "all"
    tokens: Annotated[tuple[Id, ...], Meta(max_length=limits.REQUEST_TOKENS_MAX)] = ()
    purposes: Annotated[tuple[Purpose, ...], Meta(max_length=limits.PURPOSES_MAX)] = ()
    stands_ms: Annotated[int, Meta(ge=1, le=limits.REQUEST_LIFE_MS_MAX)] = limits.REQUEST_LIFE_MS
    renew: Id | None = None


class PatientEnrol(Ask[PatientEnrolResult], frozen=True, kw_only=True, tag="patient-enrol"):
    """Binds this clinic's own name to the person whose receive code it is; `also` where the name has
    somebody already: the same person with a new wallet."""

    name: Name
    code: ReceiveCode
    also: bool = False


class PatientList(Ask[PatientListResult], frozen=True, kw_only=True, tag="patient-list"):
    pass


class PatientShow(Ask[PatientShowResult], frozen=True, kw_only=True, tag="patient-show"):
    name: Name
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class AccessList(Ask[AccessListResult], frozen=True, kw_only=True, tag="access-list"):
    """Grants held by this clinic; with `expiring_ms`, those that end within it."""

    expiring_ms: Duration | None = None


class AccessShow(Ask[AccessShowResult], frozen=True, kw_only=True, tag="access-show"):
    id: Id


class AuditList(Ask[AuditListResult], frozen=True, kw_only=True, tag="audit-list"):
    """`by` is a user's name or a member; `patient` a local name. `before` is the number of an entry: only
    earlier ones are wanted, as on the next page."""

    record: Id | None = None
    patient: Name | None = None
    by: User | None = None
    since_ms: Moment | None = None
    before: Annotated[int, Meta(ge=1)] | None = None
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class AuditVerify(Ask[AuditVerifyResult], frozen=True, kw_only=True, tag="audit-verify"):
    pass


class BackupCreate(Ask[BackupResult], frozen=True, kw_only=True, tag="backup-create"):
    """`path` is an absolute path of a folder that is new or empty, on the daemon's side."""

    path: Annotated[str, Meta(pattern="^/", max_length=limits.PATH_CHARS_MAX)]
    blobs: bool = False


class StoreStat(Ask[StoreStatResult], frozen=True, kw_only=True, tag="store-stat"):
    pass


class StoreVerify(Ask[StoreVerifyResult], frozen=True, kw_only=True, tag="store-verify"):
    """Reads every entry of every database."""


class StoreGc(Ask[StoreGcResult], frozen=True, kw_only=True, tag="store-gc"):
    """Gives the room of what was deleted back to the disk."""


class NetworkJoin(Ask[NetworkJoinResult], frozen=True, kw_only=True, tag="network-join"):
    """`genesis` is the genesis file's text."""

    genesis: Annotated[str, Meta(min_length=1, max_length=limits.GENESIS_CHARS_MAX)]


class NetworkInvite(Ask[NetworkInviteResult], frozen=True, kw_only=True, tag="network-invite"):
    """An invitation for one clinic, good for `expires_ms` from now."""

    expires_ms: InvitationLife = limits.INVITATION_LIFE_MS


class NetworkInvitation(Ask[NetworkInvitationResult], frozen=True, kw_only=True, tag="network-invitation"):
    """What the invitation `code` leads to: the inviter is asked for the network's genesis file."""

    code: Invitation


class NetworkApply(Ask[NetworkJoinResult], frozen=True, kw_only=True, tag="network-apply"):
    """Accepts the terms of this hash and asks to be admitted, now and after every start until it is."""

    code: Invitation
    terms_hash: Digest


class NetworkApprove(Ask[NetworkChangeResult], frozen=True, kw_only=True, tag="network-approve"):
    """Approves that `member` (who asked to join) is admitted; with `validator`, that a follower votes.

    `member` here and in the next two is an id, a prefix of one, or a name.
    """

    member: Name
    validator: bool = False


class NetworkSuspend(Ask[NetworkChangeResult], frozen=True, kw_only=True, tag="network-suspend"):
    member: Name
    reason: SuspendReason


class NetworkRemove(Ask[NetworkChangeResult], frozen=True, kw_only=True, tag="network-remove"):
    member: Name


class NetworkEvidence(Ask[NetworkEvidenceResult], frozen=True, kw_only=True, tag="network-evidence"):
    """The evidence against one member, or against all where `member` is None."""

    member: Name | None = None


class KeysShow(Ask[KeysResult], frozen=True, kw_only=True, tag="keys-show"):
    pass


class KeysRotate(Ask[KeysResult], frozen=True, kw_only=True, tag="keys-rotate"):
    """A new vote key in place of the present one."""


AnyRequest = (
    Status
    | Peers
    | PeerBlock
    | Members
    | Stop
    | PageOpen
    | RecordAdd
    | RecordList
    | RecordShow
    | RecordVerify
    | RecordGet
    | AccessAsk
    | PatientEnrol
    | PatientList
    | PatientShow
    | AccessList
    | AccessShow
    | AuditList
    | AuditVerify
    | BackupCreate
    | StoreGc
    | StoreStat
    | StoreVerify
    | NetworkJoin
    | NetworkInvite
    | NetworkInvitation
    | NetworkApply
    | NetworkApprove
    | NetworkSuspend
    | NetworkRemove
    | NetworkEvidence
    | KeysShow
    | KeysRotate
    | PatientRequest
)


def result_of(request: type[Ask[R]]) -> type[R]:
    """The type of result that answers this type of request."""
    base = request.__orig_bases__[0]  # type: ignore[attr-defined]
    result: type[R] = get_args(base)[0]
    return result


def takes_content(request: AnyRequest) -> bool:
    """Whether DATA frames follow the request."""
    return isinstance(request, RecordAdd)
