"""This node's part in its network, wired from the configuration: the only place that knows the adapters."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from node import paths
from node.clinic import Clinic
from node.config import Config
from node.control.joining import Part
from node.dialling import Dialling
from node.founding import read_signed_card
from node.keystore import Keyring
from node.light.client import LightClient
from node.members.applicant import Applicant
from node.members.application import Application
from node.members.vote_keys import VoteKeys
from node.net.libp2p_host import Libp2pTransport
from node.ports import Clock, Entropy, Offload, PeerAddress, Ports, Store, TaskStatus
from node.records.audit_chain import KEEP_EVIDENCE
from node.store.leveldb import LEDGER_TUNING, LevelDbTuning, blob_tuning, open_leveldb
from node.store.rebuild import condemn, is_condemned, open_rebuildable
from node.store.votefile import open_vote_file
from node.wallet_file import WalletFile
from protocol.blocks import Genesis, NetworkId, network_id
from protocol.errors import Code, StorageError
from protocol.invitations import Invitation
from protocol.keys import SEED_BYTES, SigningKey

# What to do where the wallet's database is damaged: no clinic can give it again.
KEEP_WALLET: Final = "restore it from a backup: it holds which keys are used, which nobody else knows"


@dataclass(frozen=True, slots=True)
class RunningPart:
    """This node's part in its network, the transport that carries it, and the databases under it."""

    node: Part
    transport: Libp2pTransport
    resources: ExitStack
    leaving: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until `leaving` is set or it is cancelled. The services outlive the transport: what a
        connection that ends has to say is still written down."""
        with self.resources:
            async with trio.open_nursery() as services:
                await services.start(self.node.run)
                async with trio.open_nursery() as network:
                    await network.start(self.transport.run)
                    task_status.started()
                    await self.leaving.wait()
                    network.cancel_scope.cancel()
                services.cancel_scope.cancel()
        self.left.set()


class Parts:
    """Makes the parts that this node can have in a network."""

    def __init__(self, config: Config, clock: Clock, entropy: Entropy, offload: Offload) -> None:
        self._config, self._clock, self._entropy, self._offload = config, clock, entropy, offload

    def visitor(self, invitation: Invitation, identity_seed: bytes) -> Libp2pTransport:
        """A way to the member that invited this clinic, and to nobody else."""
        return Libp2pTransport(
            seed=identity_seed,
            network=invitation.network,
            clock=self._clock,
            members=[PeerAddress(invitation.inviter, invitation.addresses)],
        )

    def applicant(self, genesis: Genesis, application: Application, keys: VoteKeys) -> RunningPart:
        transport = self.visitor(application.invitation, keys.clinic.identity_seed)
        applicant = Applicant(
            transport=transport,
            genesis=genesis,
            signed=application.signed,
            card=read_signed_card(paths.card(self._config.node.data_dir)),
            key=SigningKey(keys.clinic.identity_seed),
        )
        return RunningPart(applicant, transport, ExitStack())

    def clinic(self, genesis: Genesis, keys: VoteKeys, application: Application | None) -> RunningPart:
        """A member, or one to be, that follows the ledger. Raises StorageError, UserError."""
        ledger = paths.ledger_db(self._config.node.data_dir)
        try:
            return self._build_clinic(genesis, keys, application)
        except StorageError:
            if not is_condemned(ledger):
                raise
            # It is set aside now, and the second time there is a new one.
            return self._build_clinic(genesis, keys, application)

    def _build_clinic(
        self, genesis: Genesis, keys: VoteKeys, application: Application | None
    ) -> RunningPart:
        """Raises StorageError; a ledger that does not hold together is condemned then."""
        data_dir, network, own = self._config.node.data_dir, network_id(genesis), keys.clinic
        transport = Libp2pTransport(
            seed=own.identity_seed,
            network=network,
            clock=self._clock,
            listen=self._config.network.listen,
        )
        with ExitStack() as opened:
            ports = self._open_ports(opened, transport, network, own.generation)
            try:
                clinic = Clinic(
                    ports=ports,
                    genesis=genesis,
                    keys=Keyring.of(own),
                    quota_bytes=self._config.storage.quota_bytes,
                    invitation=None if application is None else application.invitation,
                )
            except StorageError as error:
                if error.code is Code.STORE_DAMAGED:
                    condemn(paths.ledger_db(data_dir))
                raise
            return RunningPart(clinic, transport, opened.pop_all())

    def _open_ports(
        self, opened: ExitStack, transport: Libp2pTransport, network: NetworkId, generation: int
    ) -> Ports:
        """The world of a clinic; its databases and its vote file are closed by `opened`."""
        data_dir = self._config.node.data_dir
        votes = open_vote_file(paths.votes(data_dir, generation))
        opened.callback(votes.close)
        blobs = blob_tuning(self._config.storage.blob_write_buffer_bytes)

        def rebuildable(path: Path, tuning: LevelDbTuning) -> Store:
            store = open_rebuildable(path, tuning=tuning, network=network)
            opened.callback(store.close)
            return store

        ledger_store = rebuildable(paths.ledger_db(data_dir), LEDGER_TUNING)
        blob_store = rebuildable(paths.blob_db(data_dir), blobs)
        audit = paths.audit_db(data_dir)
        audit_store = open_leveldb(audit, tuning=LEDGER_TUNING, network=network, remedy=KEEP_EVIDENCE)
        opened.callback(audit_store.close)
        return Ports(
            transport=transport,
            ledger_store=ledger_store,
            blob_store=blob_store,
            audit_store=audit_store,
            votes=votes,
            clock=self._clock,
            entropy=self._entropy,
            offload=self._offload,
            visit=lambda: Libp2pTransport(
                seed=self._entropy.bytes(SEED_BYTES), network=network, clock=self._clock
            ),
        )

    def light(self, genesis: Genesis, wallet: WalletFile) -> RunningPart:
        """A patient's light client. Raises StorageError, UserError."""
        network = network_id(genesis)
        transport = Libp2pTransport(
            seed=self._entropy.bytes(SEED_BYTES),
            network=network,
            clock=self._clock,
            listen=self._config.network.listen,
        )
        with ExitStack() as opened:
            store = open_leveldb(
                paths.ledger_db(self._config.node.data_dir),
                tuning=LEDGER_TUNING,
                network=network,
                remedy=KEEP_WALLET,
            )
            opened.callback(store.close)
            client = LightClient(
                genesis=genesis,
                keys=wallet.keys,
                keep=wallet.keep,
                transport=transport,
                store=store,
                clock=self._clock,
                entropy=self._entropy,
                offload=self._offload,
                dialling=Dialling(self._config.network.clinics),
            )
            return RunningPart(client, transport, opened.pop_all())
