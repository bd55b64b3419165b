"""Who read, or tried to: every clinic's audit records of our tokens, and what each log is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from node.light.clinics import Clinics
from node.light.logs import ClinicLog, Logs
from node.light.members import Members
from node.light.wallet import OwnRecord, Wallet
from protocol.audit import AuditEvent
from protocol.blocks import NetworkId
from protocol.control import AccessItem, LogItem, utc
from protocol.errors import Code, ProtocolError, UserError
from protocol.keys import PublicKey
from protocol.receipts import has_receipt
from protocol.state import MemberState
from protocol.transactions import TokenId

CONNECTED_S: Final = 2.0
PROVEN: Final = "proven"
UNREACHED: Final = "unreached"
NOT_POSTED: Final = "not-posted"


Asked = list[tuple[MemberState, ClinicLog | None]]
"""Every active member with its log, None where that could not be had."""


@dataclass(frozen=True, slots=True)
class Told:
    """Accesses, newest first, and what each clinic's log is worth."""

    accesses: list[AccessItem]
    logs: list[LogItem]


class Who:
    """Collects accesses from all clinics at once."""

    def __init__(
        self, *, clinics: Clinics, members: Members, wallet: Wallet, network: NetworkId, logs: Logs
    ) -> None:
        self._clinics, self._members, self._wallet = clinics, members, wallet
        self._network, self._logs = network, logs

    async def told(self, records: Sequence[OwnRecord]) -> Told:
        """Every access to `records` that the clinics tell of. Raises as `asked`."""
        return self.told_by(await self.asked(records), records)

    async def asked(self, records: Sequence[OwnRecord]) -> Asked:
        """Every clinic's log as far as it is about `records`.

        Raises:
            UserError: STALE: no clinic proves what heads are on the ledger.
        """
        members = await self._members.refresh()
        if not members:
            raise UserError(
                "no clinic proves which audit heads are on the ledger",
                "check the network, and try again in a minute",
                code=Code.STALE,
            )
        return await self.ask(members, records)

    async def ask(self, members: Sequence[MemberState], records: Sequence[OwnRecord]) -> Asked:
        """The log of each of `members` as far as it is about `records`."""
        found: dict[PublicKey, ClinicLog] = {}

        async def read(member: MemberState) -> None:
            await self._clinics.wait_connected(member.id_key, CONNECTED_S)
            # A clinic that cannot be asked, or does not answer as a clinic would, is named as missing.
            try:
                found[member.id_key] = await self._logs.read(member, records)
            except ProtocolError:
                self._clinics.avoid(member.id_key)

        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(read, member)
        return [(member, found.get(member.id_key)) for member in members]

    def told_by(self, asked: Asked, records: Sequence[OwnRecord]) -> Told:
        """The accesses to `records` in these logs."""
        found = sorted([(member.id_key, log) for member, log in asked if log], key=lambda one: one[0])
        items = [item for peer, log in found for item in self._items(peer, records, log)]
        return Told(
            sorted(items, key=lambda item: item.time, reverse=True),
            [_log_item(member, log) for member, log in asked],
        )

    def _items(self, peer: PublicKey, records: Sequence[OwnRecord], log: ClinicLog) -> list[AccessItem]:
        own = {self._wallet.owner_key(record).public for record in records}
        titles = {record.token: self._wallet.open(record).label.title for record in records}
        sent = {entry.about: entry.bytes for entry in log.entries if entry.event == AuditEvent.OUTCOME}
        return [
            AccessItem(
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
                is_proven=has_receipt(entry, peer, self._network),
                is_posted=log.flaw is None and entry.sequence <= log.posted,
                count=max(1, entry.count),
            )
            for entry in log.entries
            if entry.event in (AuditEvent.INTENT, AuditEvent.DENIAL)
        ]


def log_state(log: ClinicLog | None) -> str:
    """What a clinic's list is worth, in the contract's word."""
    if log is None:
        return UNREACHED
    if log.flaw is not None:
        return log.flaw.value
    return PROVEN if log.posted else NOT_POSTED


def _log_item(member: MemberState, log: ClinicLog | None) -> LogItem:
    return LogItem(
        member=member.id_key.hex(),
        name=member.name,
        state=log_state(log),
        posted=member.audit_sequence,
        posted_time=utc(member.audit_time_ms) if member.audit_sequence else None,
    )
