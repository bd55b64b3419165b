"""One clinic: every service that a member runs, wired together over the ports.

What it needs from the world comes as `Ports`, so the simulator runs the same clinic.
"""

import trio

from node.audit_log import AuditLog
from node.fetching import Fetcher
from node.gate import Gate
from node.gateway import Gateway
from node.holders import Holders
from node.keystore import Keyring
from node.ports import Ports, TaskStatus
from node.services import LedgerServices
from node.serving import BlobServer
from node.vault import Vault
from protocol.blocks import Genesis, network_id


class Clinic:
    """A member's services. Construct (no tasks start), run the transport and this, cancel to stop.

    Raises StorageError at construction where the store cannot be trusted.
    """

    def __init__(self, *, ports: Ports, genesis: Genesis, keys: Keyring, quota_bytes: int) -> None:
        self.ports, self.genesis, self.network = ports, genesis, network_id(genesis)
        self.member_keys = [member.id_key for member in genesis.members]
        self.services = LedgerServices(ports=ports, genesis=genesis, vote_key=keys.vote)
        self.vault = Vault(
            store=ports.blob_store, entropy=ports.entropy, offload=ports.offload, quota_bytes=quota_bytes
        )
        self.audit = AuditLog(store=ports.audit_store, clock=ports.clock, offload=ports.offload)
        self.gateway = Gateway(
            transport=ports.transport,
            ledger=self.services.ledger,
            submissions=self.services.submissions,
            network=self.network,
            entropy=ports.entropy,
        )
        self.holders = Holders(
            transport=ports.transport,
            vault=self.vault,
            offload=ports.offload,
            key=keys.identity,
            network=self.network,
            members=self.member_keys,
            copies=genesis.limits.holders,
        )
        self.server = self._build_server()
        self.fetcher = Fetcher(
            transport=ports.transport,
            clock=ports.clock,
            offload=ports.offload,
            network=self.network,
            serve_self=self.server.serve,
        )

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled.

        Raises:
            StorageError: a database is damaged or failed: nothing may be served any more.
        """
        async with trio.open_nursery() as nursery:
            for service in (self.vault, self.audit, self.services):
                await nursery.start(service.run)
            task_status.started()

    async def drain(self) -> None:
        """Begins no more transfers, and returns when those that run have ended."""
        await self.server.drain()

    def _build_server(self) -> BlobServer:
        gate = Gate(
            identity=self.ports.transport.identity,
            members=self.member_keys,
            ledger=self.services.ledger,
            vault=self.vault,
            audit=self.audit,
            freshness=self.services.freshness,
        )
        return BlobServer(
            transport=self.ports.transport,
            gate=gate,
            vault=self.vault,
            audit=self.audit,
            entropy=self.ports.entropy,
            offload=self.ports.offload,
            receive_push=self.holders.receive,
        )
