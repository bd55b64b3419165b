"""One clinic: every service that a member runs, wired together over the ports.

What it needs from the world comes as `Ports`, so the simulator runs the same clinic.
"""

import trio

from node.chain.gateway import Gateway
from node.chain.services import LedgerServices
from node.keystore import Keyring
from node.members.checkpoint import Checkpoint
from node.members.services import MemberServices
from node.ports import Ports, TaskStatus
from node.records.services import RecordServices
from node.records.vault import Vault
from node.version import program_version
from protocol.at_rest import AtRest
from protocol.blocks import Genesis
from protocol.invitations import Invitation


class Clinic:
    """A member's services. Construct (no tasks start), run the transport and this, cancel to stop.

    `invitation` is the one by which it came, if it is no founder. Raises StorageError at construction where
    the store cannot be trusted, or is not of the chain that the invitation pins.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        genesis: Genesis,
        keys: Keyring,
        quota_bytes: int,
        invitation: Invitation | None = None,
    ) -> None:
        self.ports, self.genesis = ports, genesis
        self.services = LedgerServices(
            ports=ports, genesis=genesis, vote_key=keys.vote, invitation=invitation
        )
        if invitation is not None:
            Checkpoint(self.services.ledger, invitation.checkpoint_height, invitation.checkpoint_hash)
        self.network, ports = self.services.network, self.services.ports
        self.records = RecordServices(
            ports=ports,
            ledger_services=self.services,
            key=keys.identity,
            opening_key=keys.opening,
            vault=Vault(
                store=ports.blob_store,
                at_rest=AtRest(keys.at_rest_key),
                entropy=ports.entropy,
                offload=ports.offload,
                quota_bytes=quota_bytes,
            ),
        )
        self.members = MemberServices(
            ports=ports, ledger_services=self.services, key=keys.identity, software=program_version()
        )
        self.gateway = Gateway(
            transport=ports.transport,
            ledger=self.services.ledger,
            submissions=self.services.submissions,
            network=self.network,
            entropy=ports.entropy,
            join=self.members.invites.join,
            registered=self.records.inbox.registered,
            asked=self.records.asked,
        )

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled.

        Raises:
            StorageError: a database is damaged or failed: nothing may be served any more.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.records.run)
            await nursery.start(self.services.run)
            await nursery.start(self.members.run)
            task_status.started()

    async def drain(self) -> None:
        """Begins no more transfers, and returns when those that run have ended."""
        await self.records.server.drain()
