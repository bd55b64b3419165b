"""What the daemon answers about records and patients. As in `results`: fields are added, never renamed."""

from protocol.control.results import Document, Item


class RecordAdded(Item, frozen=True, kw_only=True):
    """`copies` clinics hold the ciphertext; `missing` names those that should and could not. `structure` is
    `sound`, `damaged` or `unchecked`, and filled in by the CLI, where the plaintext is."""

    file: str
    token: str
    size: int
    type: str
    copies: int
    final: bool
    height: int | None
    final_s: float | None = None
    holders: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    structure: str = ""


class RecordAddResult(Document, frozen=True, kw_only=True):
    """One entry: a request adds one file. The CLI joins the entries of several."""

    records: tuple[RecordAdded, ...]


class RecordItem(Item, frozen=True, kw_only=True):
    """`title`, `type`, `patient` and `prior` are empty where this clinic cannot read the record. `prior` is
    the record that this one amends.
    """

    token: str
    issuer: str
    time: str
    size: int
    title: str = ""
    type: str = ""
    patient: str = ""
    issuer_name: str = ""
    copies: int | None = None
    grants: int = 0
    prior: str = ""


class RecordListResult(Document, frozen=True, kw_only=True):
    """Newest first; `more` where the request's limit cut the list."""

    records: tuple[RecordItem, ...]
    more: bool = False


class PatientItem(Item, frozen=True, kw_only=True):
    """A name of this clinic's own. `reference` is the beginning of what her wallet is known by here."""

    name: str
    reference: str
    since: str


class PatientListResult(Document, frozen=True, kw_only=True):
    """By name. These names stay in this clinic."""

    patients: tuple[PatientItem, ...]


class PatientEnrolResult(Document, frozen=True, kw_only=True):
    patient: PatientItem


class TimelineItem(Item, frozen=True, kw_only=True):
    """A record that this clinic issued or may read. `until` ends the grant, None for its own; `fresh` says
    whether the ledger here is young enough for that grant. `prior` is the record that it amends.
    """

    token: str
    time: str
    type: str
    title: str
    size: int
    issuer: str
    issuer_name: str
    until: str | None = None
    purposes: tuple[str, ...] = ()
    fresh: bool = True
    prior: str = ""


class PatientShowResult(Document, frozen=True, kw_only=True):
    """One patient's records of all issuers, newest first: those that are open to this clinic now, and
    nothing about others. `more` where the request's limit cut the list."""

    patient: str
    records: tuple[TimelineItem, ...]
    more: bool = False


class CopyItem(Item, frozen=True, kw_only=True):
    """A clinic that should hold the ciphertext. `state` is `shown` where it showed a chunk drawn just now,
    `missing` where it did not, `unreachable`, or `unknown` to a clinic that holds none and may not ask.
    """

    member: str
    name: str
    state: str


class RecordShowResult(Document, frozen=True, kw_only=True):
    """`record.grants` counts the live ones; `root` is the hash of the ciphertext's tree. `holders` signed
    for it when it came, `copies` should have it now.
    """

    record: RecordItem
    owner: str
    generation: int
    height: int
    root: str
    holders: tuple[str, ...] = ()
    erased: bool = False
    copies: tuple[CopyItem, ...] = ()


class CopyVerdict(Item, frozen=True, kw_only=True):
    """A clinic that should hold the ciphertext. The one that was asked read every chunk of its own: `state`
    is `whole`, `damaged` or `missing`. Others showed `looked_at` chunks drawn just now, as in CopyItem.
    """

    member: str
    name: str
    state: str
    looked_at: int
    bad: int = 0


class RecordVerifyResult(Document, frozen=True, kw_only=True):
    """`is_proven`: its entry is under the state root of the final block of `height`. Of an erased one no
    copy is looked for.
    """

    token: str
    height: int
    is_proven: bool
    erased: bool
    chunks: int
    copies: tuple[CopyVerdict, ...]


class StudyFileItem(Item, frozen=True, kw_only=True):
    """A file of a study. `modality`, `series` and `instance` are DICOM's, empty for other files."""

    path: str
    bytes: int
    sha256: str
    modality: str = ""
    series: str = ""
    instance: str = ""


class RecordFilesResult(Document, frozen=True, kw_only=True):
    """What files a study has, made by the CLI from the head of its record."""

    token: str
    audit_id: str
    files: tuple[StudyFileItem, ...]


class RecordGetResult(Document, frozen=True, kw_only=True):
    """Follows the record's plaintext. `name` is a file name as its issuer gave it, not yet safe.

    `audit_id` names the entry in the serving clinic's audit log, `source` that clinic. `path` is
    filled in by the CLI.
    """

    token: str
    bytes: int
    sha256: str
    audit_id: str
    path: str = ""
    name: str = ""
    media: str = ""
    source: str = ""
