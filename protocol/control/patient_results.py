"""What a patient's light client answers, by the rules of all results."""

from collections.abc import Iterator, Sequence
from typing import Final

from protocol.control.results import Document, GrantItem, Item, RequestItem


class MyCodeResult(Document, frozen=True, kw_only=True):
    code: str
    clinic: str = ""
    clinic_name: str = ""
    count: int = 1
    not_after: str | None = None
    person: str = ""


class PersonItem(Item, frozen=True, kw_only=True):
    """Somebody whose records the wallet holds, and how many. The name stays on the device."""

    name: str
    number: int
    records: int


class MyPersonsResult(Document, frozen=True, kw_only=True):
    persons: tuple[PersonItem, ...]


class MyRecordItem(Item, frozen=True, kw_only=True):
    """`grants` are the live ones: who can see this record. `prior` is the record that it amends, and
    `amended_by` the newest that amends it: together they are one record with a history. `person` is empty
    where the wallet does not know whose it is. Until `keep_until` its clinic has to keep it.
    """

    token: str
    issuer: str
    time: str
    title: str
    type: str
    size: int
    grants: tuple[GrantItem, ...]
    issuer_name: str = ""
    prior: str = ""
    amended_by: str = ""
    person: str = ""
    keep_until: str | None = None


def histories(records: Sequence[MyRecordItem]) -> Iterator[tuple[MyRecordItem, ...]]:
    """Each record as it is now, followed by what it took the place of, newest first."""
    known = {one.token: one for one in records}
    for one in records:
        if one.amended_by not in known:
            history = [one]
            while (earlier := known.get(history[-1].prior)) and earlier.amended_by == history[-1].token:
                history.append(earlier)
            yield tuple(history)


class MyRecordsResult(Document, frozen=True, kw_only=True):
    records: tuple[MyRecordItem, ...]


class MyExportResult(Document, frozen=True, kw_only=True):
    """What was written. `left_out` are records of which no clinic gave the content, `unreached` the names
    of clinics whose logs are missing; `path` is the CLI's."""

    records: int
    bytes: int
    left_out: tuple[str, ...]
    unreached: tuple[str, ...]
    path: str = ""


class VerifiedConsent(Item, frozen=True, kw_only=True):
    """A grant and its `standing` at the time of the proof: `live`, `revoked`, `ended` or `unregistered`."""

    grant: str
    grantee: str
    grantee_name: str
    purposes: tuple[str, ...]
    not_before: str
    not_after: str
    standing: str


class VerifiedRecord(Item, frozen=True, kw_only=True):
    """A record that a file proves, as of `time`. `title`, `kind` and `added` are its owner's word. `sha256`
    is empty where the content is not in the file; `path` is where it was written to. `are_all`: no grant
    under the present keys is missing."""

    token: str
    title: str
    kind: str
    added: str
    issuer: str
    issuer_name: str
    height: int
    time: str
    bytes: int
    sha256: str
    consents: tuple[VerifiedConsent, ...]
    are_all: bool
    path: str = ""


class VerifiedLog(Item, frozen=True, kw_only=True):
    """What a clinic's list is worth: `proven`, `not-posted`, `missing`, or what is wrong with it. `missing`
    counts the records that it told nothing about."""

    member: str
    name: str
    state: str
    missing: int


class VerifyResult(Document, frozen=True, kw_only=True):
    """What an exported file proves about its records, as of `as_of`, and to no later time."""

    network: str
    made: str
    as_of: str
    records: tuple[VerifiedRecord, ...]
    accesses: tuple["AccessItem", ...]
    logs: tuple[VerifiedLog, ...]


class MyShareResult(Document, frozen=True, kw_only=True):
    """Also what was approved: then `told` says whether the clinic that asked knows."""

    grants: tuple[GrantItem, ...]
    told: bool | None = None


class ProvisionItem(Item, frozen=True, kw_only=True):
    """What is shared as it comes: all records of `kind`, of the clinic `issuer` where it is not empty. `id`
    ends it, as a grant's does."""

    id: str
    grantee: str
    grantee_name: str
    kind: str
    issuer: str
    issuer_name: str
    purposes: tuple[str, ...]
    since: str | None
    not_after: str
    person: str


class MyShareKindResult(Document, frozen=True, kw_only=True):
    """What was shared at once; `provision` is null where what comes is not."""

    grants: tuple[GrantItem, ...]
    provision: ProvisionItem | None


class MySharesResult(Document, frozen=True, kw_only=True):
    grants: tuple[GrantItem, ...]
    provisions: tuple[ProvisionItem, ...] = ()


class PreviewVerdict(Item, frozen=True, kw_only=True):
    """Whether somebody can read; if not, `reason` is the code of the refusal and `why` says it."""

    can_read: bool
    reason: str = ""
    why: str = ""


class PreviewItem(Item, frozen=True, kw_only=True):
    """One way to read a record: the owner's where `reader` is empty, else a grant's. One that `is_new` is
    not signed and has no id. `then` is null where no time was asked for."""

    token: str
    title: str
    grant: str
    reader: str
    reader_name: str
    purposes: tuple[str, ...]
    not_after: str | None
    is_new: bool
    now: PreviewVerdict
    then: PreviewVerdict | None


class MyPreviewResult(Document, frozen=True, kw_only=True):
    """Who could read `now`, and `at` a time to come if nothing else is shared or stopped until then."""

    now: str
    at: str | None
    rows: tuple[PreviewItem, ...]


class Stopped(Document, frozen=True, kw_only=True):
    """One grant ended. `unreached` members stop within `bound_s` of `final`, by staleness: at `ends_by` at
    the latest, which is null until it is final."""

    grant: str
    final: bool
    stopped_at: tuple[str, ...]
    unreached: tuple[str, ...]
    bound_s: int
    token: str = ""
    grantee_name: str = ""
    unreached_names: tuple[str, ...] = ()
    ends_by: str | None = None


class MyStopResult(Document, frozen=True, kw_only=True):
    """One document a grant; the CLI prints each on its own line. `ended` are the provisions."""

    stops: tuple[Stopped, ...]
    ended: tuple[str, ...] = ()


class MyRequestsResult(Document, frozen=True, kw_only=True):
    """Those that wait first, those that lapse first before others. `unreached` are clinics that may have
    asked and could not be reached."""

    requests: tuple[RequestItem, ...]
    unreached: tuple[str, ...] = ()


class MyRequestResult(Document, frozen=True, kw_only=True):
    """A request that was answered; `told` says that its clinic knows."""

    request: RequestItem
    told: bool


class AccessItem(Item, frozen=True, kw_only=True):
    """One access to a record of ours. `member` is the clinic that read or asked, `user` the human.

    `server` is the clinic whose audit log tells it; `outcome` is `served` or `refused`. `is_proven`: the
    reader's signed request says the same. `is_posted`: it is under the head on the ledger, so that it can
    neither be changed nor taken out any more. `count` is how many refusals this stands for.
    """

    time: str
    member: str
    user: str
    purpose: str
    grant: str | None
    token: str
    outcome: str
    bytes: int
    member_name: str = ""
    server: str = ""
    server_name: str = ""
    title: str = ""
    is_proven: bool = False
    is_posted: bool = False
    count: int = 1


class LogItem(Item, frozen=True, kw_only=True):
    """What a clinic's list is worth.

    `state` is `proven` (whole under the head that it posted to the ledger, of its first `posted` entries),
    `not-posted` (whole under the head that it signed; none is on the ledger yet), `unreached`, or what is
    wrong with it: `changed`, `cut`, `forked` or `unproven`.
    """

    member: str
    name: str
    state: str
    posted: int = 0
    posted_time: str | None = None


_MISTRUST: Final = "do not rely on what it lists, and tell the network's members"
LOG_WORDS: Final = {
    "unreached": "could not be reached: what it served is missing here",
    "not-posted": "has posted nothing to the ledger yet: that its list is whole is only its word",
    "changed": f"HIDES OR HAS CHANGED ENTRIES: its list is not what its own audit head says; {_MISTRUST}",
    "cut": f"HAS CUT ITS LOG: it shows fewer entries than it had before; {_MISTRUST}",
    "forked": f"HAS REWRITTEN ITS LOG: it shows another history than it did before; {_MISTRUST}",
    "unproven": f"DOES NOT PROVE that its list is what it posted to the ledger; {_MISTRUST}",
}
"""What to say of a clinic by the `state` of its list, where there is something to say."""


class MyWhoResult(Document, frozen=True, kw_only=True):
    """Newest first. `unreached` are the clinics whose logs are missing from this answer; `flawed` counts
    those of `logs` with which something is wrong."""

    accesses: tuple[AccessItem, ...]
    unreached: tuple[str, ...] = ()
    more: bool = False
    logs: tuple[LogItem, ...] = ()
    flawed: int = 0


class HolderItem(Item, frozen=True, kw_only=True):
    """A clinic that should hold an erased record's ciphertext, or attests that it did.

    `state` is `holds` before the erasure; then `deleted` where its audit log attests that at `time`,
    `waiting` where it does not yet, `unreached`, or what is wrong with its log as in `LogItem`.
    `is_posted`: the entry is under its head on the ledger.
    """

    member: str
    name: str
    state: str
    time: str | None = None
    is_posted: bool = False


class EraseResult(Document, frozen=True, kw_only=True):
    """A record that is erased, if `final`; of `state` `owned` that is only looked at, of `sent` not final
    yet.

    Before the erasure `grants` and `accesses` say who can read it and who did, `prior` and `amended_by`
    which others it is one with, and `unreached` names the clinics that could not be asked. Afterwards
    `deleted_at` are those that attest its deletion, and `unreached` the holders that could not be asked.
    """

    token: str
    final: bool
    deleted_at: tuple[str, ...]
    unreached: tuple[str, ...]
    state: str = "owned"
    title: str = ""
    time: str | None = None
    issuer: str = ""
    issuer_name: str = ""
    holders: tuple[HolderItem, ...] = ()
    grants: tuple[GrantItem, ...] = ()
    accesses: tuple[AccessItem, ...] = ()
    prior: str = ""
    amended_by: str = ""


class MyErasuresResult(Document, frozen=True, kw_only=True):
    """Those erased last come first."""

    erasures: tuple[EraseResult, ...]
