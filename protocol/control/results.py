"""What the daemon answers. Each result's JSON is the document that `--json` prints (`"v": 1`).

Fields may be added, never renamed or removed. Sizes are bytes, `_s` seconds, ids full lower-case
hex, times UTC as `2026-01-31T12:00:00.000Z` (see `utc`). Names beside ids are for people: they
come from others and are not checked. A reader ignores fields that it does not know.
"""

import msgspec


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One row inside a document."""


class Document(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """Base of everything the daemon sends as JSON; `type` is progress, error or result."""

    v: int = 1


class Progress(Document, frozen=True, kw_only=True, tag="progress"):
    """How far a long run is. `total` is None where it is not known; `unit` is what `done` counts."""

    step: str
    done: int = 0
    total: int | None = None
    unit: str = "bytes"


class RefusalItem(Item, frozen=True, kw_only=True):
    """A member refused; `sha256` is the hash of what it sent, to see that all refusals are alike."""

    member: str
    sha256: str


class ErrorReply(Document, frozen=True, kw_only=True, tag="error"):
    """The request failed. `code` is a value of `protocol.errors.Code`. `refusals` only of a refused
    fetch."""

    code: str
    error: str
    hint: str = ""
    refusals: tuple[RefusalItem, ...] | msgspec.UnsetType = msgspec.UNSET


class StatusResult(Document, frozen=True, kw_only=True):
    """`network`, `final_age_s` and `state_root` are None before the node has a network or a block.

    `members` counts all of the network, `reachable` those heard from lately (this one included),
    `quorum` how many are needed. `fresh` says whether the node may serve.
    `known_height` is how far the ledger is by what members say; while this node catches up it does
    `catch_up_blocks_per_s` and will be there in `catch_up_left_s`. `owed_sealed` counts the sealed keys
    that blocks came without and that it asks members for. `halted` is the error code for which
    this node has stopped for good, empty where it runs; `warnings` say why, and what to do.
    """

    role: str
    id: str
    network: str | None
    epoch: int
    height: int
    final_age_s: float | None
    members: int
    reachable: int
    quorum: int
    fresh: bool
    peers: int
    mempool: int
    disk_bytes: int
    warnings: tuple[str, ...] = ()
    name: str = ""
    version: str = ""
    running_s: float = 0
    state_root: str | None = None
    disk_total_bytes: int | None = None
    known_height: int | None = None
    catch_up_blocks_per_s: float | None = None
    catch_up_left_s: float | None = None
    owed_sealed: int = 0
    halted: str = ""


class PeerItem(Item, frozen=True, kw_only=True):
    """`direction` is `in` or `out`; `role` is `member` or `stranger`."""

    id: str
    name: str
    role: str
    address: str
    direction: str
    round_trip_ms: float | None = None
    agent: str = ""
    fresh_since: str | None = None


class OffenderItem(Item, frozen=True, kw_only=True):
    """Who broke a rule lately. `id` is None where only an address is known.

    `count` is of all offences still remembered, `last` the time of the newest and `reason` what it was;
    `blocked_until` is None unless the offender is kept out now.
    """

    id: str | None
    name: str
    role: str
    address: str
    reason: str
    count: int
    last: str
    blocked_until: str | None = None


class PeersResult(Document, frozen=True, kw_only=True):
    """Who is connected, the oldest connection first; who misbehaved lately, the newest offence first."""

    peers: tuple[PeerItem, ...]
    offenders: tuple[OffenderItem, ...] = ()


class StopResult(Document, frozen=True, kw_only=True):
    """The daemon is stopping. `drained_s` is filled in by the CLI when the daemon is gone."""

    drained_s: float | None = None


class GrantItem(Item, frozen=True, kw_only=True):
    """A grant, held by us or given by us. `state` is `live`, `pending`, `expired` or `ended`; one that
    `ends_soon` is live and runs out within seven days.

    `body` is the hex of the grant's body, in `access show` alone.
    """

    grant: str
    token: str
    grantee: str
    purposes: tuple[str, ...]
    not_after: str
    final: bool
    not_before: str | None = None
    state: str = "live"
    grantee_name: str = ""
    title: str = ""
    actions: tuple[str, ...] = ()
    max_stale_s: int | None = None
    body: str = ""
    ends_soon: bool = False


class RequestedItem(Item, frozen=True, kw_only=True):
    """A record that is asked for; `title` is empty where it cannot be read."""

    token: str
    title: str = ""


class RequestItem(Item, frozen=True, kw_only=True):
    """A clinic's request to be let read.

    It asks for `kind`, `all` or a type of record, or else for named records. `records` are those named; to
    the patient, those of hers that she would share. It stands until `not_after`; what she approves lasts
    for `for_s` from then on. `state` is `waiting`, `approved`, `declined` or `lapsed`; `renews` is the
    grant that would run on.
    """

    request: str
    asker: str
    purposes: tuple[str, ...]
    for_s: int
    not_after: str
    kind: str = ""
    records: tuple[RequestedItem, ...] = ()
    state: str = "waiting"
    asker_name: str = ""
    renews: str | None = None


class AccessAskResult(Document, frozen=True, kw_only=True):
    request: RequestItem


class AccessListResult(Document, frozen=True, kw_only=True):
    """`requests` are those of this clinic; none where the question was what ends soon."""

    grants: tuple[GrantItem, ...]
    requests: tuple[RequestItem, ...] = ()


class AccessShowResult(Document, frozen=True, kw_only=True):
    """One grant or one request: the other is None."""

    grant: GrantItem | None = None
    request: RequestItem | None = None


class AuditItem(Item, frozen=True, kw_only=True):
    """One record of our own audit log. `member` is who asked, `reason` the true one, kept local."""

    sequence: int
    time: str
    event: str
    outcome: str
    hash: str
    member: str = ""
    member_name: str = ""
    user: str = ""
    purpose: str = ""
    grant: str | None = None
    token: str | None = None
    reason: str = ""
    bytes: int = 0


class AuditListResult(Document, frozen=True, kw_only=True):
    """Newest first. `ok` says that the entries listed chain; `head` is the hash of the newest of all."""

    entries: tuple[AuditItem, ...]
    ok: bool
    head: str
    more: bool = False


class AuditVerifyResult(Document, frozen=True, kw_only=True):
    """The whole chain re-read: `entries` counts it, `bad` is the first sequence that breaks it.

    `posted` is the newest sequence whose hash is on the ledger and agrees, None where none is.
    """

    entries: int
    ok: bool
    head: str
    bad: int | None = None
    posted: int | None = None
