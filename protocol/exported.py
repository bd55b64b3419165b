"""Verifying an export: what its file proves to whoever has the genesis file, and nothing else.

Sections go in one by one, in the order of the file, and nothing that comes out is proven before `finish`.
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum, auto

from protocol import limits
from protocol.audit import AuditEvent, AuditRecord
from protocol.audit_map import FlawedLog, LogFlaw, LogHead, verify_listing
from protocol.blobs import Sealer, check_content
from protocol.blocks import Genesis, NetworkId, genesis_committee, network_id
from protocol.errors import Code, Malformed, ProtocolError, RemoteProtocolError, UserError
from protocol.export import (
    ExportEnd,
    ExportHash,
    ExportHead,
    ExportLog,
    ExportMembers,
    ExportPiece,
    ExportRecord,
    ExportWriter,
    Section,
    decode_section,
    is_signed,
)
from protocol.grants import CONTENT_KEY_BYTES, GrantBody, RecordLabel, decode_grant_body, grant_id
from protocol.keys import PublicKey
from protocol.messages.audit import open_head
from protocol.proofs import ABOUT_TOKEN, Asked, Standing, verify_route, verify_state
from protocol.receipts import has_receipt
from protocol.roll import verify_roll
from protocol.state import MemberState, TokenState
from protocol.transactions import TokenId


@dataclass(frozen=True, slots=True)
class ShownConsent:
    """A grant that the patient gave, and what became of it by the time of the proof."""

    body: GrantBody
    standing: Standing


@dataclass(slots=True)
class ShownRecord:
    """A record as it is proven. `sha256` is that of its content, empty where that is not in the file.

    `are_all`: the ledger counts no more grants under the present keys than `consents` are. `label` is the
    patient's word.
    """

    token: TokenId
    state: TokenState
    label: RecordLabel
    height: int
    time_ms: int
    consents: tuple[ShownConsent, ...]
    are_all: bool
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class ShownAccess:
    """An entry of a clinic's log. `is_receipted`: the reader's signature says the same. `is_posted`: it is
    under the head on the ledger."""

    server: PublicKey
    entry: AuditRecord
    sent_bytes: int
    is_receipted: bool
    is_posted: bool


@dataclass(slots=True)
class ShownLog:
    """What the list of `member` is worth: whole under its head on the ledger, where it `is_posted`, else
    under its own signed head alone; or `flaw`, where it contradicts itself. `missing` are the records about
    which it told nothing."""

    member: MemberState
    is_posted: bool
    flaw: LogFlaw | None = None
    missing: set[TokenId] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ShownExport:
    """What a file proves, as of `time_ms`, the time of the header by which the members are known."""

    network: NetworkId
    made_ms: int
    time_ms: int
    members: tuple[MemberState, ...]
    records: tuple[ShownRecord, ...]
    accesses: tuple[ShownAccess, ...]
    logs: tuple[ShownLog, ...]


def verify_record(section: ExportRecord, genesis: Genesis, now_ms: int) -> ShownRecord:
    """What the ledger says of a record and of the consents to read it. Raises ProtocolError."""
    names = [grant_id(body) for body in section.bodies]
    bodies = [decode_grant_body(body, genesis.limits) for body in section.bodies]
    if any(body.token != section.token for body in bodies) or len(set(names)) != len(names):
        raise Malformed("a consent is not one of this record's, or comes twice")
    asked: list[Asked] = [(section.token, name) for name in (ABOUT_TOKEN, *names)]
    starts = range(0, len(asked), limits.CLAIMS_MAX)
    if len(section.proofs) != len(starts):
        raise Malformed("a record has more or fewer proofs than it needs")
    shown = [
        verify_state(proof, genesis, asked[start : start + limits.CLAIMS_MAX], now_ms=now_ms)
        for proof, start in zip(section.proofs, starts, strict=True)
    ]
    proven = [one for some in shown for one in some.proven]
    token = proven[0].token
    if token is None or token.erased:
        raise Malformed("a record that is not on the ledger, or erased")
    check_content(token.content)
    grants = [one.grant for one in proven[1:] if one.grant is not None]
    return ShownRecord(
        token=section.token,
        state=token,
        label=section.label,
        height=shown[0].height,
        time_ms=shown[0].time_ms,
        consents=tuple(
            ShownConsent(body, one.standing) for body, one in zip(bodies, proven[1:], strict=True)
        ),
        are_all=sum(one.registered_generation == token.generation for one in grants) == token.grants,
    )


def verify_log(
    section: ExportLog, member: MemberState, network: NetworkId
) -> tuple[list[ShownAccess], LogFlaw | None]:
    """The accesses that `member` tells of, and what is wrong with its list by its own heads.

    Raises:
        Malformed: the list is not what the owner could have been given.
    """
    if {one.token for one in section.entries} - set(section.tokens):
        raise Malformed("a log's entry is of another record")
    said = open_head(section.head, member.id_key, network)
    flaw: LogFlaw | None = None
    try:
        _verify_list(section, member, LogHead(said.sequence, said.head))
    except FlawedLog as error:
        flaw = error.flaw
    sent = {one.about: one.bytes for one in section.entries if one.event == AuditEvent.OUTCOME}
    return [
        ShownAccess(
            server=member.id_key,
            entry=entry,
            sent_bytes=sent.get(entry.sequence, 0),
            is_receipted=has_receipt(entry, member.id_key, network),
            is_posted=flaw is None and entry.sequence <= member.audit_sequence,
        )
        for entry in section.entries
        if entry.event in (AuditEvent.INTENT, AuditEvent.DENIAL)
    ], flaw


def _verify_list(section: ExportLog, member: MemberState, said: LogHead) -> None:
    """Raises FlawedLog."""
    posted = LogHead(member.audit_sequence, member.audit_head)
    if said.sequence < posted.sequence:
        raise FlawedLog(LogFlaw.CUT)
    if section.shown is None or (posted.sequence and section.posted is None):
        raise FlawedLog(LogFlaw.UNPROVEN)
    if any(one.sequence > said.sequence for one in section.entries):
        raise FlawedLog(LogFlaw.CHANGED)
    verify_listing(section.tokens, section.entries, said, section.shown)
    if posted.sequence and section.posted is not None:
        verify_listing(section.tokens, section.entries, posted, section.posted)


class ContentCheck:
    """The content of one record, fed in order, sealed again and compared with what its token commits to."""

    def __init__(self, section: ExportRecord, state: TokenState) -> None:
        """Raises Malformed: the key is of another length."""
        if len(section.content_key) != CONTENT_KEY_BYTES:
            raise Malformed("a content key of the wrong length")
        self.token = section.token
        self._content, self._fed = state.content, 0
        self._sealer = Sealer(section.content_key, state.content.salt, state.content.length)
        self._hash = hashlib.sha256()

    @property
    def is_whole(self) -> bool:
        return self._fed == self._content.length

    def feed(self, piece: bytes) -> None:
        """Raises Malformed: more than the record has."""
        for _ in self._sealer.seal(piece):
            pass  # The sealer keeps the hashes of the chunks, which is all that is compared.
        self._fed += len(piece)
        self._hash.update(piece)

    def finish(self) -> bytes:
        """The SHA-256 of the content. Raises Malformed: it is not the one that was minted."""
        if self._sealer.finish() != self._content:
            raise Malformed("a record's content is not the one that was issued")
        return self._hash.digest()


class _Part(Enum):
    """Where in a file the next section is: after its start, the head, the members, the end."""

    START = auto()
    RECORDS = auto()
    LOGS = auto()
    OVER = auto()


class ExportVerifier:
    """Takes the sections of one file. After an error it is of no more use."""

    def __init__(self, genesis: Genesis, now_ms: int) -> None:
        self._genesis, self._now_ms = genesis, now_ms
        self._network = network_id(genesis)
        self._written = ExportWriter()
        self._part = _Part.START
        self._head = ExportHead(self._network, 0, 0)
        self._time_ms = 0
        self._members: dict[PublicKey, MemberState] = {}
        self._records: dict[TokenId, ShownRecord] = {}
        self._content: ContentCheck | None = None
        self._told: set[tuple[PublicKey, TokenId]] = set()
        self._logs: dict[PublicKey, ShownLog] = {}
        self._accesses: list[ShownAccess] = []

    def take(self, raw: bytes) -> Section:
        """The next section, verified as far as it can be alone.

        Raises:
            UserError: EXPORT, it is not what it should be; WRONG_NETWORK.
        """
        try:
            section = decode_section(raw)
            hashed = self._written.hash
            self._written.count(raw)
            self._take(section, hashed)
        except ProtocolError as error:
            raise _damaged(error.message) from error
        return section

    def finish(self) -> ShownExport:
        """What all of the file proves. Raises UserError EXPORT: it is cut short."""
        if self._part is not _Part.OVER:
            raise _damaged("the file is cut short")
        tokens = set(self._records)
        for key, log in self._logs.items():
            log.missing = {token for token in tokens if (key, token) not in self._told}
        return ShownExport(
            network=self._network,
            made_ms=self._head.made_ms,
            time_ms=self._time_ms,
            members=tuple(self._members.values()),
            records=tuple(self._records.values()),
            accesses=tuple(sorted(self._accesses, key=lambda one: one.entry.time_ms)),
            logs=tuple(self._logs.values()),
        )

    def _take(self, section: Section, hashed: ExportHash) -> None:
        match section:
            case ExportHead() if self._part is _Part.START:
                self._take_head(section)
            case ExportPiece(content) if self._content is not None:
                self._take_piece(self._content, content)
            case ExportRecord() if self._part is _Part.RECORDS and self._content is None:
                self._take_record(section)
            case ExportMembers() if self._part is _Part.RECORDS and self._content is None:
                self._take_members(section)
            case ExportLog() if self._part is _Part.LOGS:
                self._take_log(section)
            case ExportEnd(signatures) if self._part is _Part.LOGS:
                self._take_end(signatures, hashed)
            case _:
                raise Malformed("a section is not where it should be")

    def _take_head(self, head: ExportHead) -> None:
        if head.network != self._network:
            raise UserError(
                "the file is of another network than the genesis file",
                "name the genesis file of the network that the records are in",
                code=Code.WRONG_NETWORK,
            )
        self._head, self._part = head, _Part.RECORDS

    def _take_members(self, section: ExportMembers) -> None:
        header = section.route.header
        verify_route(section.route, genesis_committee(self._genesis))
        if header.time_ms > self._now_ms + self._genesis.limits.tolerance_ms:
            raise RemoteProtocolError("a header from a later time than the clock's")
        self._time_ms, self._part = header.time_ms, _Part.LOGS
        self._members = {one.id_key: one for one in verify_roll(header, section.roll)}
        self._logs = {
            key: ShownLog(one, is_posted=bool(one.audit_sequence))
            for key, one in self._members.items()
            if one.is_active
        }

    def _take_record(self, section: ExportRecord) -> None:
        if section.token in self._records:
            raise Malformed("a record comes twice")
        record = verify_record(section, self._genesis, self._now_ms)
        self._records[section.token] = record
        if section.has_content:
            self._content = ContentCheck(section, record.state)

    def _take_piece(self, content: ContentCheck, piece: bytes) -> None:
        content.feed(piece)
        if content.is_whole:
            self._records[content.token].sha256 = content.finish()
            self._content = None

    def _take_log(self, section: ExportLog) -> None:
        log = self._logs.get(section.member)
        pairs = {(section.member, token) for token in section.tokens}
        if log is None or pairs & self._told or not set(section.tokens) <= set(self._records):
            raise Malformed("a log is of no member, of other records, or comes twice")
        accesses, flaw = verify_log(section, log.member, self._network)
        self._accesses += accesses
        log.flaw = log.flaw or flaw
        self._told |= pairs

    def _take_end(self, signatures: tuple[bytes, ...], hashed: ExportHash) -> None:
        owners = [record.state.owner_key for record in self._records.values()]
        if not 1 <= len(owners) == len(signatures) == self._head.records:
            raise Malformed("the file has more or fewer records than it should")
        for owner, signature in zip(owners, signatures, strict=True):
            if not is_signed(hashed, owner, signature, self._network):
                raise Malformed("it was changed after the owner of its records signed it")
        self._part = _Part.OVER


def _damaged(what: str) -> UserError:
    return UserError(
        f"this is no export as its owner made it: {what}",
        "ask her for the file again; nothing that it says is proven",
        code=Code.EXPORT,
    )
