"""What the CLI asks of the daemon. Every string and list has a limit; unknown fields are refused.

Ids are lower-case hex and may be any unique prefix of at least six characters. A clinic is given by
its name or such a prefix. Times are Unix milliseconds, durations milliseconds.
"""

from typing import Annotated, Generic, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from protocol import limits
from protocol.control.keeping import BackupResult, StoreStatResult, StoreVerifyResult
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
from protocol.control.results import (
    AccessListResult,
    AccessShowResult,
    AuditListResult,
    AuditVerifyResult,
    Document,
    MyCodeResult,
    MyRecordsResult,
    MyShareResult,
    MySharesResult,
    MyStopResult,
    MyWhoResult,
    PeersResult,
    RecordAddResult,
    RecordGetResult,
    RecordListResult,
    RecordShowResult,
    StatusResult,
    StopResult,
)
from protocol.control.wallet import (
    GiveResult,
    KeysExportResult,
    LostPhoneResult,
    RecoverResult,
    TakeCodeResult,
    TakeResult,
    WalletResult,
)

R = TypeVar("R", bound=Document)

ID_PREFIX_CHARS_MIN = 6

Id = Annotated[str, Meta(pattern="^[0-9a-f]+$", min_length=ID_PREFIX_CHARS_MIN, max_length=66)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.CONTROL_NAME_CHARS_MAX)]
User = Annotated[str, Meta(min_length=1, max_length=limits.USER_CHARS_MAX)]
Purpose = Annotated[str, Meta(pattern="^[A-Z]+$", max_length=16)]
ReceiveCode = Annotated[str, Meta(min_length=1, max_length=limits.RECEIVE_CODE_CHARS_MAX)]
Invitation = Annotated[str, Meta(min_length=1, max_length=limits.RECEIVE_CODE_CHARS_MAX)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
GrantBodyHex = Annotated[str, Meta(pattern="^([0-9a-f]{2})+$", max_length=2 * limits.GRANT_BODY_BYTES_MAX)]
Words = Annotated[str, Meta(min_length=1, max_length=limits.WORDS_CHARS_MAX)]
Moment = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Duration = Annotated[int, Meta(ge=1, le=limits.GRANT_LIFE_MS_MAX)]
Rows = Annotated[int, Meta(ge=1, le=limits.CONTROL_ROWS_MAX)]
SuspendReason = Literal["contract", "evidence", "key-compromised", "other", "unreachable"]
InvitationLife = Annotated[int, Meta(ge=1, le=limits.INVITATION_LIFE_MS_MAX)]
GiveReason = Literal["estate", "guardian", "majority", "merge"]
RecordType = Literal["auto", "fhir", "dicom", "cda", "pdf"]


class Ask(
    msgspec.Struct, Generic[R], frozen=True, kw_only=True, tag_field="request", forbid_unknown_fields=True
):
    """A request that is answered by an `R`."""


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
    the record of this clinic's that the new one amends.
    """

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=1, le=limits.RECORD_BYTES_MAX)]
    code: ReceiveCode
    type: RecordType = "auto"
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)] = ""
    patient: Annotated[str, Meta(max_length=limits.CONTROL_NAME_CHARS_MAX)] = ""
    prior: Id | None = None


class RecordList(Ask[RecordListResult], frozen=True, kw_only=True, tag="record-list"):
    patient: Name | None = None
    since_ms: Moment | None = None
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class RecordShow(Ask[RecordShowResult], frozen=True, kw_only=True, tag="record-show"):
    id: Id


class RecordGet(Ask[RecordGetResult], frozen=True, kw_only=True, tag="record-get"):
    """Answered with the plaintext, then the result. `grant` presents that body, not one of ours."""

    id: Id
    purpose: Purpose
    user: User
    grant: GrantBodyHex | None = None


class AccessList(Ask[AccessListResult], frozen=True, kw_only=True, tag="access-list"):
    """Grants held by this clinic; with `expiring_ms`, those that end within it."""

    expiring_ms: Duration | None = None


class AccessShow(Ask[AccessShowResult], frozen=True, kw_only=True, tag="access-show"):
    id: Id


class AuditList(Ask[AuditListResult], frozen=True, kw_only=True, tag="audit-list"):
    """`by` is a user's name or a member; `patient` a local name."""

    record: Id | None = None
    patient: Name | None = None
    by: User | None = None
    since_ms: Moment | None = None
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


class MyCode(Ask[MyCodeResult], frozen=True, kw_only=True, tag="my-code"):
    clinic: Name
    count: Annotated[int, Meta(ge=1, le=limits.ENROLMENTS_PER_CODE_MAX)] = 1


class MyRecords(Ask[MyRecordsResult], frozen=True, kw_only=True, tag="my-records"):
    pass


class MyRecord(Ask[RecordGetResult], frozen=True, kw_only=True, tag="my-record"):
    """Answered with the plaintext, then the result."""

    id: Id


class MyShare(Ask[MyShareResult], frozen=True, kw_only=True, tag="my-share"):
    records: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=limits.KEEP_GRANTS_MAX)]
    clinic: Name
    for_ms: Duration
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=limits.PURPOSES_MAX)]


class MyShares(Ask[MySharesResult], frozen=True, kw_only=True, tag="my-shares"):
    pass


class MyStop(Ask[MyStopResult], frozen=True, kw_only=True, tag="my-stop"):
    """Ends one grant, or every one where `id` is None."""

    id: Id | None


class MyWho(Ask[MyWhoResult], frozen=True, kw_only=True, tag="my-who"):
    record: Id | None = None
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class MyLostPhone(Ask[LostPhoneResult], frozen=True, kw_only=True, tag="my-lost-phone"):
    """New keys for every record; grants end but those of `keep`. `words` are the 24."""

    words: Words
    keep: Annotated[tuple[Id, ...], Meta(max_length=limits.KEEP_GRANTS_MAX)] = ()

    def __repr__(self) -> str:
        return "MyLostPhone(…)"


class MyRecover(Ask[RecoverResult], frozen=True, kw_only=True, tag="my-recover"):
    """Finds everything of these 24 words on the ledger."""

    words: Words

    def __repr__(self) -> str:
        return "MyRecover(…)"


class KeysRefill(Ask[WalletResult], frozen=True, kw_only=True, tag="keys-refill"):
    """Fills a wallet's pool of one-time keys."""

    words: Words

    def __repr__(self) -> str:
        return "KeysRefill(…)"


class KeysExport(Ask[KeysExportResult], frozen=True, kw_only=True, tag="keys-export"):
    """The 24 words, from themselves or from three sheets; or five new sheets. No device keeps them."""

    words: Words
    form: Literal["words", "sheets"]

    def __repr__(self) -> str:
        return "KeysExport(…)"


class MyTakeCode(Ask[TakeCodeResult], frozen=True, kw_only=True, tag="my-take-code"):
    """A code to be given a record with; `name` is what the receiver calls himself in it."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]


class MyGive(Ask[GiveResult], frozen=True, kw_only=True, tag="my-give"):
    """A gift for a code; without `words` only what it would be."""

    record: Id
    to: ReceiveCode
    reason: GiveReason
    words: Words | None = None

    def __repr__(self) -> str:
        return "MyGive(…)"


class MyTake(Ask[TakeResult], frozen=True, kw_only=True, tag="my-take"):
    """Takes a gift if it `is_signed` by the receiver too; otherwise says what it is."""

    gift: ReceiveCode
    is_signed: bool = False


class WalletShow(Ask[WalletResult], frozen=True, kw_only=True, tag="wallet-show"):
    """What is public of a patient's wallet."""


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
    | RecordGet
    | AccessList
    | AccessShow
    | AuditList
    | AuditVerify
    | BackupCreate
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
    | MyCode
    | MyRecords
    | MyRecord
    | MyShare
    | MyShares
    | MyStop
    | MyWho
    | MyLostPhone
    | MyRecover
    | KeysRefill
    | KeysExport
    | MyTakeCode
    | MyGive
    | MyTake
    | WalletShow
)


def result_of(request: type[Ask[R]]) -> type[R]:
    """The type of result that answers this type of request."""
    base = request.__orig_bases__[0]  # type: ignore[attr-defined]
    result: type[R] = get_args(base)[0]
    return result


def takes_content(request: AnyRequest) -> bool:
    """Whether DATA frames follow the request."""
    return isinstance(request, RecordAdd)
