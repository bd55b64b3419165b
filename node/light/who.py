"""Who read, or tried to: every clinic's audit records of our tokens, asked for under our owner keys."""

from collections.abc import Sequence

import trio

from node.light.clinics import Clinics
from node.light.wallet import OwnRecord, Wallet
from protocol import limits
from protocol.access import SignedFetchRequest, verify_fetch
from protocol.audit import AuditEvent, AuditRecord
from protocol.blocks import NetworkId
from protocol.codec import decode, encode
from protocol.control import AccessItem, utc
from protocol.errors import Malformed, ProtocolError
from protocol.keys import PublicKey, verify
from protocol.messages.audit import (
    TOKENS_MAX,
    AuditHeadBody,
    AuditProof,
    AuditQuestion,
    AuditReply,
    Nonce,
    NonceRequest,
    decode_audit_reply,
)
from protocol.transactions import TokenId

PROTOCOL = "audit"
PAGES_MAX = 256
QUESTION = "audit-question"
HEAD = "audit-head"
CONNECTED_S = 2.0


class Who:
    """Collects accesses from all clinics at once."""

    def __init__(self, *, clinics: Clinics, wallet: Wallet, network: NetworkId) -> None:
        self._clinics, self._wallet, self._network = clinics, wallet, network

    async def accesses(self, records: Sequence[OwnRecord]) -> tuple[list[AccessItem], list[PublicKey]]:
        """Every access to `records`, newest first, and the clinics whose logs are missing from it."""
        found: dict[PublicKey, list[AccessItem]] = {}

        async def ask(peer: PublicKey) -> None:
            await self._clinics.wait_connected(peer, CONNECTED_S)
            # A clinic that cannot be asked, or whose answer does not verify, is named as missing.
            try:
                found[peer] = await self._ask_all(peer, records)
            except ProtocolError:
                self._clinics.avoid(peer)

        async with trio.open_nursery() as nursery:
            for member in self._clinics.members:
                nursery.start_soon(ask, member.id_key)
        missing = [member.id_key for member in self._clinics.members if member.id_key not in found]
        items = [item for peer in sorted(found) for item in found[peer]]
        return sorted(items, key=lambda item: item.time, reverse=True), missing

    async def _ask_all(self, peer: PublicKey, records: Sequence[OwnRecord]) -> list[AccessItem]:
        items: list[AccessItem] = []
        for start in range(0, len(records), TOKENS_MAX):
            some = records[start : start + TOKENS_MAX]
            after, entries = 0, list[AuditRecord]()
            for _ in range(PAGES_MAX):
                reply = await self._ask(peer, some, after)
                entries.extend(reply.records)
                if not reply.more or not reply.records:
                    break
                after = reply.records[-1].sequence
            items.extend(self._items(peer, some, entries))
        return items

    async def _ask(self, peer: PublicKey, records: Sequence[OwnRecord], after: int) -> AuditReply:
        keys = [self._wallet.owner_key(record) for record in records]

        def sign(raw: bytes) -> bytes:
            nonce = decode(Nonce, raw, limit=limits.KIB).nonce
            signatures = tuple(
                key.sign(QUESTION, self._network, encode(AuditProof(peer, nonce, record.token)))
                for key, record in zip(keys, records, strict=True)
            )
            tokens = tuple(record.token for record in records)
            return encode(
                AuditQuestion(nonce, tokens, tuple(key.public for key in keys), signatures, after)
            )

        raw = await self._clinics.call(peer, PROTOCOL, encode(NonceRequest()), sign)
        if raw is None:
            raise Malformed("the clinic did not answer")
        reply = decode_audit_reply(raw)
        head = decode(AuditHeadBody, reply.head.body, limit=limits.KIB)
        signed = verify(peer, HEAD, self._network, reply.head.body, reply.head.signature)
        if not signed or head.server != peer:
            raise Malformed("the clinic's audit head is not signed by it")
        sequences = [record.sequence for record in reply.records]
        ordered = sequences == sorted(set(sequences)) and all(item > after for item in sequences)
        if not ordered or any(item > head.sequence for item in sequences):
            raise Malformed("the clinic's audit records are not in order")
        if {record.token for record in reply.records} - {record.token for record in records}:
            raise Malformed("the clinic's audit records are of other tokens")
        return reply

    def _items(
        self, peer: PublicKey, records: Sequence[OwnRecord], entries: Sequence[AuditRecord]
    ) -> list[AccessItem]:
        own = {self._wallet.owner_key(record).public for record in records}
        titles = {record.token: self._wallet.open(record).label.title for record in records}
        sent = {entry.about: entry.bytes for entry in entries if entry.event == AuditEvent.OUTCOME}
        items: list[AccessItem] = []
        for entry in entries:
            if entry.event not in (AuditEvent.INTENT, AuditEvent.DENIAL):
                continue
            item = AccessItem(
                time=utc(entry.time_ms),
                member=entry.reader.hex(),
                member_name="you" if entry.reader in own else self._clinics.name_of(entry.reader),
                user=entry.user,
                purpose=entry.purpose,
                grant=entry.grant.hex() or None,
                token=entry.token.hex(),
                outcome="served" if entry.event == AuditEvent.INTENT else "refused",
                bytes=sent.get(entry.sequence, 0),
                server=peer.hex(),
                server_name=self._clinics.name_of(peer),
                title=titles[TokenId(entry.token)],
                is_proven=self._has_receipt(peer, entry),
            )
            items.append(item)
        return items

    def _has_receipt(self, peer: PublicKey, entry: AuditRecord) -> bool:
        """Whether the reader's own signed request, made to this clinic for this token, is in the record."""
        try:
            signed = decode(SignedFetchRequest, entry.request, limit=limits.CONTROL_FRAME_BYTES_MAX)
            request = verify_fetch(signed, self._network).request
        except ProtocolError:
            return False
        return (request.server, request.token, request.signer) == (peer, entry.token, entry.reader)
