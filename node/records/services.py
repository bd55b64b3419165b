"""A clinic's part in records wired together, beside its part in the ledger, over the ports."""

import trio

from node.chain.services import LedgerServices
from node.ports import Ports, TaskStatus
from node.records.access_views import AccessViews
from node.records.asked import AskedRequests
from node.records.asking import Asking
from node.records.audit_door import AuditDoor
from node.records.audit_heads import AuditHeads
from node.records.audit_log import AuditLog
from node.records.audit_views import AuditViews
from node.records.copies import Copies
from node.records.copy_challenges import CopyChallenges
from node.records.copy_exchange import CopyExchange
from node.records.fetching import Fetcher
from node.records.gate import Gate
from node.records.grants_inbox import GrantsInbox
from node.records.holders import Holders
from node.records.issued import IssuedRecords
from node.records.issuing import Issuer
from node.records.patient_history import PatientHistory
from node.records.patient_views import PatientViews
from node.records.patients import Patients
from node.records.reading import Reader
from node.records.record_check import RecordCheck
from node.records.record_views import Records
from node.records.serving import BlobServer
from node.records.vault import Vault
from protocol.keys import OpeningKey, SigningKey


class RecordServices:
    """Construct before the transport runs (no tasks start), then `run` beside `ledger_services`.

    `key` is the clinic's identity key, `opening_key` opens what is sealed to it, and `vault` holds its
    ciphertext. The answers to control requests are those of `issuer`, `reader`, `records`, `patient_views`,
    `asking`, `access` and `audit_views`.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        ledger_services: LedgerServices,
        key: SigningKey,
        opening_key: OpeningKey,
        vault: Vault,
    ) -> None:
        self._ports, self._ledger_services = ports, ledger_services
        self._ledger, self._genesis = ledger_services.ledger, ledger_services.genesis
        self._network = ledger_services.network
        self._key = key
        self.vault = vault
        self.audit = AuditLog(store=ports.audit_store, clock=ports.clock, offload=ports.offload)
        self.inbox = GrantsInbox(
            ledger=self._ledger,
            store=ports.ledger_store,
            offload=ports.offload,
            identity=key.public,
            opening_key=opening_key,
        )
        self.issued = IssuedRecords(
            store=ports.ledger_store, opening_key=opening_key, entropy=ports.entropy
        )
        self.patients = Patients(
            store=ports.ledger_store, opening_key=opening_key, clock=ports.clock, entropy=ports.entropy
        )
        self.heads = AuditHeads(
            key=key,
            audit=self.audit,
            ledger=self._ledger,
            submissions=ledger_services.submissions,
            clock=ports.clock,
        )
        self.holders = self._build_holders()
        exchange = self._build_exchange()
        self.server = self._build_server(exchange)
        self.copies, self.challenges = self._build_copies(exchange)
        self.door = self._build_door()
        self.history = self._build_history()
        self.patient_views = PatientViews(
            identity=key.public,
            ledger=self._ledger,
            inbox=self.inbox,
            patients=self.patients,
            history=self.history,
            offload=ports.offload,
        )
        self.issuer, self.reader = self._build_issuer(), self._build_reader()
        self.asked = AskedRequests(
            store=ports.ledger_store, clock=ports.clock, identity=key.public, network=self._network
        )
        self.asking = self._build_asking()
        self.records, self.access, self.audit_views = self._build_views()
        self.check = self._build_check()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Opens what is on the disks, then runs until cancelled.

        Raises:
            StorageError: a store cannot be trusted or failed.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.vault.run)
            await nursery.start(self.audit.run)
            await nursery.start(self.inbox.run)
            await nursery.start(self.heads.run)
            await nursery.start(self.copies.run)
            await nursery.start(self.challenges.run)
            task_status.started()

    def _build_holders(self) -> Holders:
        return Holders(
            transport=self._ports.transport,
            vault=self.vault,
            offload=self._ports.offload,
            key=self._key,
            network=self._network,
            membership=self._ledger.membership,
            copies=self._genesis.limits.holders,
        )

    def _build_exchange(self) -> CopyExchange:
        return CopyExchange(
            transport=self._ports.transport,
            vault=self.vault,
            ledger=self._ledger,
            suspended=self._ledger_services.suspensions,
            freshness=self._ledger_services.freshness,
            offload=self._ports.offload,
        )

    def _build_server(self, exchange: CopyExchange) -> BlobServer:
        gate = Gate(
            identity=self._key.public,
            suspended=self._ledger_services.suspensions,
            ledger=self._ledger,
            vault=self.vault,
            audit=self.audit,
            freshness=self._ledger_services.freshness,
        )
        return BlobServer(
            transport=self._ports.transport,
            gate=gate,
            vault=self.vault,
            audit=self.audit,
            clock=self._ports.clock,
            entropy=self._ports.entropy,
            offload=self._ports.offload,
            receive_push=self.holders.receive,
            give_copy=exchange.give,
        )

    def _build_copies(self, exchange: CopyExchange) -> tuple[Copies, CopyChallenges]:
        copies = Copies(
            exchange=exchange,
            vault=self.vault,
            audit=self.audit,
            ledger=self._ledger,
            ledger_store=self._ports.ledger_store,
            offload=self._ports.offload,
        )
        challenges = CopyChallenges(
            exchange=exchange,
            vault=self.vault,
            ledger=self._ledger,
            ledger_store=self._ports.ledger_store,
            entropy=self._ports.entropy,
            offload=self._ports.offload,
            renew=copies.renew,
        )
        return copies, challenges

    def _build_door(self) -> AuditDoor:
        return AuditDoor(
            transport=self._ports.transport,
            key=self._key,
            ledger=self._ledger,
            audit=self.audit,
            clock=self._ports.clock,
            entropy=self._ports.entropy,
            offload=self._ports.offload,
        )

    def _build_issuer(self) -> Issuer:
        return Issuer(
            key=self._key,
            ledger=self._ledger,
            vault=self.vault,
            holders=self.holders,
            submissions=self._ledger_services.submissions,
            issued=self.issued,
            patients=self.patients,
            clock=self._ports.clock,
            entropy=self._ports.entropy,
            offload=self._ports.offload,
        )

    def _build_history(self) -> PatientHistory:
        return PatientHistory(
            identity=self._key.public,
            ledger=self._ledger,
            issued=self.issued,
            inbox=self.inbox,
            patients=self.patients,
            freshness=self._ledger_services.freshness,
            clock=self._ports.clock,
        )

    def _build_reader(self) -> Reader:
        ports = self._ports
        fetcher = Fetcher(
            transport=ports.transport,
            clock=ports.clock,
            offload=ports.offload,
            network=self._network,
            serve_self=self.server.serve,
        )
        return Reader(
            key=self._key,
            transport=ports.transport,
            ledger=self._ledger,
            store=ports.ledger_store,
            vault=self.vault,
            fetcher=fetcher,
            inbox=self.inbox,
            clock=ports.clock,
        )

    def _build_asking(self) -> Asking:
        return Asking(
            key=self._key,
            name=self._ledger.membership.name_of(self._key.public),
            asked=self.asked,
            ledger=self._ledger,
            store=self._ports.ledger_store,
            inbox=self.inbox,
            issued=self.issued,
            clock=self._ports.clock,
            entropy=self._ports.entropy,
        )

    def _build_check(self) -> RecordCheck:
        return RecordCheck(
            identity=self._key.public,
            ledger=self._ledger,
            store=self._ports.ledger_store,
            vault=self.vault,
            inbox=self.inbox,
            challenges=self.challenges,
            offload=self._ports.offload,
        )

    def _build_views(self) -> tuple[Records, AccessViews, AuditViews]:
        ports = self._ports
        records = Records(
            ledger=self._ledger,
            store=ports.ledger_store,
            inbox=self.inbox,
            issued=self.issued,
            history=self.history,
            patients=self.patients,
            challenges=self.challenges,
            offload=ports.offload,
        )
        access = AccessViews(
            store=ports.ledger_store,
            inbox=self.inbox,
            asking=self.asking,
            name=self._ledger.membership.name_of(self._key.public),
            clock=ports.clock,
            offload=ports.offload,
        )
        audit_views = AuditViews(
            identity=self._key.public,
            audit=self.audit,
            ledger=self._ledger,
            history=self.history,
            offload=ports.offload,
        )
        return records, access, audit_views
