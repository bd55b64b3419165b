"""What the CLI asks of a patient's light client, by the rules of all requests."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol import limits
from protocol.control.asking import (
    Ask,
    Duration,
    EarlierBytes,
    GiveReason,
    Id,
    Name,
    PersonName,
    Purpose,
    ReceiveCode,
    RequestKind,
    Rows,
    StudyPath,
    Words,
)
from protocol.control.patient_results import (
    EraseResult,
    MyCodeResult,
    MyErasuresResult,
    MyExportResult,
    MyPersonsResult,
    MyPreviewResult,
    MyRecordsResult,
    MyRequestResult,
    MyRequestsResult,
    MyShareKindResult,
    MyShareResult,
    MySharesResult,
    MyStopResult,
    MyWhoResult,
)
from protocol.control.record_results import RecordGetResult
from protocol.control.results import Item
from protocol.control.wallet import (
    GiveResult,
    KeysExportResult,
    LostPhoneResult,
    RecoverResult,
    TakeCodeResult,
    TakeResult,
    WalletResult,
)


class MyCode(Ask[MyCodeResult], frozen=True, kw_only=True, tag="my-code"):
    clinic: Name
    count: Annotated[int, Meta(ge=1, le=limits.ENROLMENTS_PER_CODE_MAX)] = 1
    person: PersonName | None = None


class MyRecords(Ask[MyRecordsResult], frozen=True, kw_only=True, tag="my-records"):
    person: PersonName | None = None


class MyRecord(Ask[RecordGetResult], frozen=True, kw_only=True, tag="my-record"):
    """Answered with the plaintext, then the result; the other fields as in RecordGet."""

    id: Id
    file: StudyPath | None = None
    is_index: bool = False
    earlier_bytes: EarlierBytes = 0


class MyExport(Ask[MyExportResult], frozen=True, kw_only=True, tag="my-export"):
    """Answered with a file (`protocol.export`) of some records, or of all, and then the result."""

    records: Annotated[tuple[Id, ...], Meta(max_length=limits.KEEP_GRANTS_MAX)] = ()


class MyShare(Ask[MyShareResult], frozen=True, kw_only=True, tag="my-share"):
    records: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=limits.KEEP_GRANTS_MAX)]
    clinic: Name
    for_ms: Duration
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=limits.PURPOSES_MAX)]


class MyShareKind(Ask[MyShareKindResult], frozen=True, kw_only=True, tag="my-share-kind"):
    """Shares the records of a kind that a clinic, or any, added since then; with `is_future` also those
    that come until the share ends."""

    clinic: Name
    for_ms: Duration
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=limits.PURPOSES_MAX)]
    kind: RequestKind = "all"
    issuer: Name | None = None
    since_ms: Annotated[int, Meta(ge=0)] = 0
    is_future: bool = False
    person: PersonName | None = None


class MyShares(Ask[MySharesResult], frozen=True, kw_only=True, tag="my-shares"):
    pass


class ShareTerms(Item, frozen=True, kw_only=True):
    """A share that is thought of, and not signed."""

    clinic: Name
    for_ms: Duration
    purposes: Annotated[tuple[Purpose, ...], Meta(min_length=1, max_length=limits.PURPOSES_MAX)]


class MyPreview(Ask[MyPreviewResult], frozen=True, kw_only=True, tag="my-preview"):
    """Who could read `records`, or all that are shared where there are none: now and after `in_ms`,
    and if `share` were given too."""

    records: Annotated[tuple[Id, ...], Meta(max_length=limits.KEEP_GRANTS_MAX)] = ()
    in_ms: Duration | None = None
    share: ShareTerms | None = None


class MyStop(Ask[MyStopResult], frozen=True, kw_only=True, tag="my-stop"):
    """Ends one grant, or every one where `id` is None."""

    id: Id | None


class MyWho(Ask[MyWhoResult], frozen=True, kw_only=True, tag="my-who"):
    record: Id | None = None
    rows: Rows = limits.CONTROL_ROWS_DEFAULT


class MyErase(Ask[EraseResult], frozen=True, kw_only=True, tag="my-erase"):
    """Erases a record; without `words` only says what that would end. Of one that is erased: what its
    holders attest."""

    record: Id
    words: Words | None = None

    def __repr__(self) -> str:
        return "MyErase(…)"


class MyErasures(Ask[MyErasuresResult], frozen=True, kw_only=True, tag="my-erasures"):
    """The records that were erased, and what their holders attest."""


class MyRequests(Ask[MyRequestsResult], frozen=True, kw_only=True, tag="my-requests"):
    """What clinics ask for, and what was answered as long as that could be asked again."""


class MyApprove(Ask[MyShareResult], frozen=True, kw_only=True, tag="my-approve"):
    """Shares what a request asks for, or less of it: some `records`, or a shorter time."""

    id: Id
    for_ms: Duration | None = None
    records: Annotated[tuple[Id, ...], Meta(max_length=limits.KEEP_GRANTS_MAX)] = ()


class MyDecline(Ask[MyRequestResult], frozen=True, kw_only=True, tag="my-decline"):
    id: Id


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
    person: PersonName | None = None


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


class MyPersons(Ask[MyPersonsResult], frozen=True, kw_only=True, tag="my-persons"):
    """Whose records this wallet holds."""


class MyPersonAdd(Ask[MyPersonsResult], frozen=True, kw_only=True, tag="my-person-add"):
    name: PersonName


class MyPersonRename(Ask[MyPersonsResult], frozen=True, kw_only=True, tag="my-person-rename"):
    name: PersonName
    to: PersonName


class MyPersonAssign(Ask[MyPersonsResult], frozen=True, kw_only=True, tag="my-person-assign"):
    """Says whose a record is where its issuer did not, or wrongly; on this device alone."""

    record: Id
    name: PersonName


class WalletShow(Ask[WalletResult], frozen=True, kw_only=True, tag="wallet-show"):
    """What is public of a patient's wallet."""


PatientRequest = (
    MyCode
    | MyRecords
    | MyRecord
    | MyExport
    | MyShare
    | MyShareKind
    | MyShares
    | MyPreview
    | MyStop
    | MyWho
    | MyErase
    | MyErasures
    | MyRequests
    | MyApprove
    | MyDecline
    | MyLostPhone
    | MyRecover
    | KeysRefill
    | KeysExport
    | MyTakeCode
    | MyGive
    | MyTake
    | MyPersons
    | MyPersonAdd
    | MyPersonRename
    | MyPersonAssign
    | WalletShow
)
