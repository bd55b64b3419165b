"""One clinic's audit log as far as it is about our tokens: asked for, and held against its heads.

The list it gives must be whole under the head that it signs now, under the head that the ledger has for
it, and go on from what it showed this device before. What does not is its own contradiction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from node.light.asking import ask_under_nonce
from node.light.clinics import Clinics
from node.light.wallet import OwnRecord, Wallet
from node.ports import Put, Store
from node.store import layout
from protocol import limits
from protocol.audit import AuditRecord
from protocol.audit_map import (
    FlawedLog,
    LogFlaw,
    LogHead,
    LogSeen,
    fold,
    verify_continued,
    verify_listing,
)
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed
from protocol.keys import PublicKey
from protocol.messages.audit import (
    TOKENS_MAX,
    AuditHeadBody,
    AuditProof,
    AuditQuestion,
    AuditReply,
    Nonce,
    NonceRequest,
    decode_audit_reply,
    open_head,
)
from protocol.state import MemberState
from protocol.transactions import TokenId

PROTOCOL: Final = "audit"
QUESTION: Final = "audit-question"
PAGES_MAX: Final = 256
_SEEN: Final = b"log-seen/"


@dataclass(slots=True)
class ClinicLog:
    """What one clinic told, and what is wrong with it; `posted` is how many records its head on the ledger
    covers."""

    posted: int
    entries: list[AuditRecord] = field(default_factory=list)
    flaw: LogFlaw | None = None
    told: list["Told"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """All entries about some tokens, and the reply that they ended with."""

    tokens: tuple[TokenId, ...]
    entries: tuple[AuditRecord, ...]
    reply: AuditReply


class StoredLogSeen(Wire, frozen=True):
    """A `LogSeen` of one clinic and token, as it is kept."""

    sequence: int
    root: bytes
    count: int
    fold: bytes


class Logs:
    """Asks clinics for their logs of our tokens."""

    def __init__(self, *, clinics: Clinics, wallet: Wallet, network: NetworkId, store: Store) -> None:
        self._clinics, self._wallet, self._network, self._store = clinics, wallet, network, store

    async def read(self, member: MemberState, records: Sequence[OwnRecord]) -> ClinicLog:
        """The log of the clinic that is `member` on the ledger, as far as it is about `records`.

        Raises:
            ProtocolError: it does not answer, or not with what is signed by it.
        """
        log = ClinicLog(member.audit_sequence)
        for start in range(0, len(records), TOKENS_MAX):
            some = records[start : start + TOKENS_MAX]
            reply, entries = await self._ask_all(member, some)
            log.entries += entries
            log.told.append(Told(tuple(one.token for one in some), tuple(entries), reply))
            # A log that is wrong in one place is shown whole, as what it says and what is wrong with it.
            try:
                self._judge(member, some, entries, reply)
            except FlawedLog as error:
                log.flaw = log.flaw or error.flaw
        return log

    def _judge(
        self,
        member: MemberState,
        records: Sequence[OwnRecord],
        entries: Sequence[AuditRecord],
        reply: AuditReply,
    ) -> None:
        """Raises FlawedLog."""
        said = decode(AuditHeadBody, reply.head.body, limit=limits.KIB)
        head = LogHead(said.sequence, said.head)
        posted = LogHead(member.audit_sequence, member.audit_head)
        tokens = [record.token for record in records]
        if head.sequence < posted.sequence:
            raise FlawedLog(LogFlaw.CUT)
        if reply.shown is None:
            raise FlawedLog(LogFlaw.UNPROVEN)
        verify_listing(tokens, entries, head, reply.shown)
        if posted.sequence and reply.posted is None:
            raise FlawedLog(LogFlaw.UNPROVEN)
        if posted.sequence and reply.posted is not None:
            verify_listing(tokens, entries, posted, reply.posted)
        self._compare(member.id_key, records, entries, head)

    def _compare(
        self,
        peer: PublicKey,
        records: Sequence[OwnRecord],
        entries: Sequence[AuditRecord],
        head: LogHead,
    ) -> None:
        """Holds them against what was seen before, and remembers them. Raises FlawedLog."""
        puts: list[Put] = []
        for record in records:
            of_token = [entry for entry in entries if entry.token == record.token]
            key = layout.wallet(_SEEN + peer + record.token)
            raw = self._store.get(key)
            if raw is not None:
                before = decode(StoredLogSeen, raw, limit=limits.KIB)
                known = LogHead(before.sequence, before.root)
                verify_continued(LogSeen(known, before.count, before.fold), head, of_token)
            seen = encode(StoredLogSeen(head.sequence, head.root, len(of_token), fold(of_token)))
            if seen != raw:
                puts.append((key, seen))
        self._store.write(puts)

    async def _ask_all(
        self, member: MemberState, records: Sequence[OwnRecord]
    ) -> tuple[AuditReply, list[AuditRecord]]:
        """The last reply, and the records of all. Raises ProtocolError."""
        after, entries = 0, list[AuditRecord]()
        for _ in range(PAGES_MAX):
            reply = await self._ask(member, records, after)
            entries.extend(reply.records)
            if not reply.more:
                return reply, entries
            if not reply.records:
                break
            after = reply.records[-1].sequence
        raise Malformed("the clinic's audit records do not come to an end")

    async def _ask(self, member: MemberState, records: Sequence[OwnRecord], after: int) -> AuditReply:
        """Raises ProtocolError."""
        peer = member.id_key
        keys = [self._wallet.owner_key(record) for record in records]

        def sign(raw: bytes) -> AuditQuestion:
            nonce = decode(Nonce, raw, limit=limits.KIB).nonce
            signatures = tuple(
                key.sign(QUESTION, self._network, encode(AuditProof(peer, nonce, record.token)))
                for key, record in zip(keys, records, strict=True)
            )
            tokens, public = tuple(one.token for one in records), tuple(key.public for key in keys)
            return AuditQuestion(nonce, tokens, public, signatures, after, member.audit_sequence)

        reply = decode_audit_reply(
            await ask_under_nonce(self._clinics, peer, PROTOCOL, NonceRequest(), sign)
        )
        head = open_head(reply.head, peer, self._network)
        sequences = [record.sequence for record in reply.records]
        ordered = sequences == sorted(set(sequences)) and all(item > after for item in sequences)
        if not ordered or any(item > head.sequence for item in sequences):
            raise Malformed("the clinic's audit records are not in order")
        if {record.token for record in reply.records} - {record.token for record in records}:
            raise Malformed("the clinic's audit records are of other tokens")
        return reply
