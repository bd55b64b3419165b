"""Verifying an exported file, by anyone who has the network's genesis file, and saving what is in it."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final, Self

from node.founding import read_genesis_file
from protocol import limits
from protocol.audit import AuditEvent
from protocol.audit_map import LogFlaw
from protocol.blocks import Genesis
from protocol.codec import encode
from protocol.control import (
    AccessItem,
    VerifiedConsent,
    VerifiedLog,
    VerifiedRecord,
    VerifyResult,
    encode_document,
    plain,
    utc,
)
from protocol.errors import Code, UserError
from protocol.exits import DONE, IN_PART
from protocol.export import LENGTH_BYTES, MAGIC, ExportPiece, ExportRecord
from protocol.exported import ExportVerifier, ShownAccess, ShownExport, ShownLog, ShownRecord
from protocol.grants import grant_id
from protocol.keys import PublicKey
from protocol.records import safe_name
from protocol.transactions import TokenId

PROVEN: Final = "proven"
NOT_POSTED: Final = "not-posted"
MISSING: Final = "missing"
OWNER: Final = "the owner"
LOG_WORDS: Final = {
    PROVEN: "all, by the head that it posted to the ledger",
    NOT_POSTED: "all, by its own word: it has posted no head to the ledger yet",
    MISSING: "not all in the file: it was not asked about each record, or did not answer",
    LogFlaw.CHANGED.value: "its list is NOT what its own head says",
    LogFlaw.CUT.value: "its log is CUT",
    LogFlaw.FORKED.value: "its log was REWRITTEN",
    LogFlaw.UNPROVEN.value: "NOT PROVEN against the head that it posted",
}
Names = dict[PublicKey, str]


def verify_export(path: Path, genesis: Path, folder: Path | None, *, is_json: bool) -> int:
    """Says what a file proves, and saves its records in `folder` once all is verified.

    Raises:
        UserError: EXPORT, the file is not as its owner made it; RECORD_FILE, it cannot be read, or nothing
            be written; GENESIS; WRONG_NETWORK.
    """
    known = read_genesis_file(genesis)
    try:
        with path.open("rb") as file, Saving(folder) if folder else nullcontext() as saving:
            result = result_of(_verified(file, known, saving), {} if saving is None else saving.keep())
    except OSError as error:
        raise UserError(
            f"cannot read {path} or save what is in it: {error.strerror}",
            "check both paths, and the room on the disk",
            code=Code.RECORD_FILE,
        ) from error
    if is_json:
        print(encode_document(result).decode())
    else:
        describe(result)
    is_whole = all(one.sha256 and one.are_all for one in result.records)
    return DONE if is_whole and all(one.state in (PROVEN, NOT_POSTED) for one in result.logs) else IN_PART


class Saving(AbstractContextManager["Saving"]):
    """The contents of a file's records, hidden in a folder until `keep` names them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._hidden = Path(tempfile.mkdtemp(dir=self._folder, prefix=".chartmesh-"))
        self._names: dict[str, str] = {}
        self._open: BinaryIO | None = None

    def begin(self, record: ExportRecord) -> None:
        """What comes next is of this record."""
        self._close()
        token = record.token.hex()
        self._names[token] = safe_name(token, record.label.file_name)
        (self._hidden / token).touch(0o600)
        self._open = (self._hidden / token).open("wb")

    def write(self, content: bytes) -> None:
        assert self._open is not None
        self._open.write(content)

    def keep(self) -> dict[str, str]:
        """The path of each record that has content. What has a name there already is replaced."""
        self._close()
        paths = dict[str, str]()
        for token, name in self._names.items():
            (self._hidden / token).replace(self._folder / name)
            paths[token] = str(self._folder / name)
        return paths

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        shutil.rmtree(self._hidden)


def _verified(file: BinaryIO, genesis: Genesis, saving: Saving | None) -> ShownExport:
    verifier = ExportVerifier(genesis, time.time_ns() // 1_000_000)
    for raw in _sections(file):
        section = verifier.take(raw)
        if saving is not None and isinstance(section, ExportRecord) and section.has_content:
            saving.begin(section)
        elif saving is not None and isinstance(section, ExportPiece):
            saving.write(section.content)
    return verifier.finish()


def _sections(file: BinaryIO) -> Iterator[bytes]:
    """Raises UserError EXPORT."""
    if file.read(len(MAGIC)) != MAGIC:
        raise UserError("this is no export", "give a file that chartmesh my export made", code=Code.EXPORT)
    while header := file.read(LENGTH_BYTES):
        length = int.from_bytes(header, "big")
        raw = file.read(length) if length <= limits.EXPORT_SECTION_BYTES_MAX else b""
        if len(header) != LENGTH_BYTES or len(raw) != length:
            raise UserError(
                "this is no export as its owner made it: it is cut short, or a length in it is wrong",
                "ask her for the file again; nothing that it says is proven",
                code=Code.EXPORT,
            )
        yield raw


def result_of(shown: ShownExport, paths: dict[str, str]) -> VerifyResult:
    """What was shown, as the contract has it."""
    names = {one.id_key: one.name for one in shown.members}
    return VerifyResult(
        network=shown.network.hex(),
        made=utc(shown.made_ms),
        as_of=utc(shown.time_ms),
        records=tuple(_record(one, names, paths) for one in shown.records),
        accesses=tuple(_access(one, names, shown.records) for one in shown.accesses),
        logs=tuple(map(_log, shown.logs)),
    )


def _record(one: ShownRecord, names: Names, paths: dict[str, str]) -> VerifiedRecord:
    return VerifiedRecord(
        token=one.token.hex(),
        title=one.label.title,
        kind=one.label.type,
        added=utc(one.label.time_ms),
        issuer=one.state.issuer.hex(),
        issuer_name=names.get(one.state.issuer, ""),
        height=one.height,
        time=utc(one.time_ms),
        bytes=one.state.content.length,
        sha256=one.sha256.hex(),
        consents=tuple(
            VerifiedConsent(
                grant=grant_id(encode(consent.body)).hex(),
                grantee=consent.body.grantee_key.hex(),
                grantee_name=names.get(consent.body.grantee_key, ""),
                purposes=consent.body.purposes,
                not_before=utc(consent.body.not_before_ms),
                not_after=utc(consent.body.not_after_ms),
                standing=consent.standing.name.lower(),
            )
            for consent in one.consents
        ),
        are_all=one.are_all,
        path=paths.get(one.token.hex(), ""),
    )


def _access(one: ShownAccess, names: Names, records: Sequence[ShownRecord]) -> AccessItem:
    entry, owners = one.entry, {record.state.owner_key for record in records}
    titles = {record.token: record.label.title for record in records}
    return AccessItem(
        time=utc(entry.time_ms),
        member=entry.reader.hex(),
        member_name=OWNER if entry.reader in owners else names.get(PublicKey(entry.reader), ""),
        user=entry.user,
        purpose=entry.purpose,
        grant=entry.grant.hex() or None,
        token=entry.token.hex(),
        outcome="served" if entry.event == AuditEvent.INTENT else "refused",
        bytes=one.sent_bytes,
        server=one.server.hex(),
        server_name=names.get(one.server, ""),
        title=titles.get(TokenId(entry.token), ""),
        is_proven=one.is_receipted,
        is_posted=one.is_posted,
        count=max(1, entry.count),
    )


def _log(one: ShownLog) -> VerifiedLog:
    state = PROVEN if one.is_posted else NOT_POSTED
    if one.missing:
        state = MISSING
    if one.flaw is not None:
        state = one.flaw.value
    return VerifiedLog(
        member=one.member.id_key.hex(), name=one.member.name, state=state, missing=len(one.missing)
    )


def describe(result: VerifyResult) -> None:
    """What a file proves, in lines for people."""
    _say(f"proven as of {result.as_of}, under the genesis file of network {result.network[:12]}")
    for record in result.records:
        _describe_record(record)
    for access in result.accesses:
        proof = ", ".join(["signed"] * access.is_proven + ["posted"] * access.is_posted)
        who = access.member_name or access.member[:12]
        who = who if who == OWNER else f"{access.user} of {who}"
        _say(
            f"{access.time}  {access.token[:12]}  {who}, {access.purpose}, "
            f"{access.outcome} by {access.server_name or access.server[:12]}: {proof or 'its word alone'}"
        )
    for log in result.logs:
        _say(f"accesses at {log.name}: {LOG_WORDS[log.state]}")


def _describe_record(one: VerifiedRecord) -> None:
    content = f"sha256 {one.sha256}" if one.sha256 else "its content is not in the file"
    _say(f"{one.token[:12]}  issued by {one.issuer_name or one.issuer[:12]}, {one.bytes} bytes, {content}")
    _say(f"  called {one.title!r}, {one.kind}, of {one.added}: by its owner's word")
    if one.path:
        _say(f"  saved to {one.path}")
    for consent in one.consents:
        who = consent.grantee_name or consent.grantee[:12]
        _say(
            f"  consent {consent.grant[:12]}: {who}, {', '.join(consent.purposes)}, "
            f"{consent.not_before} to {consent.not_after}: {consent.standing}"
        )
    if not one.are_all:
        _say("  the ledger counts other consents under the same keys: they are not in the file")


def _say(line: str) -> None:
    """One line, without what a terminal would obey: much of it is text of others."""
    print(plain(line))
