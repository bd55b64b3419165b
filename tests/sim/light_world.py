"""A patient's light client in the simulated world, beside clinics that run the ledger and a gateway."""

from dataclasses import dataclass

import trio

from node.adapters import InlineOffload
from node.chain.gateway import Gateway
from node.chain.services import LedgerServices
from node.dialling import Dialling
from node.keystore import WalletKeys
from node.light.client import LightClient
from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.my import My
from node.light.wallet import Wallet
from node.ports import Ports, TaskStatus
from node.records.asked import AskedRequests
from node.records.grants_inbox import GrantsInbox
from node.store.memory import MemoryStore
from protocol import limits
from protocol.blocks import Genesis, network_id
from protocol.codec import digest
from protocol.codes import check_code, decode_code
from protocol.control import MyCode
from protocol.grants import RecordLabel, SealedKey, seal_key
from protocol.keys import SigningKey
from protocol.messages.light import JoinReply
from protocol.transactions import (
    Content,
    Mint,
    TransactionId,
    sealed_hash,
    sign_transaction,
)
from protocol.wallet import cold_master, hot_master, next_key_hashes
from tests.sim.clock import SimClock
from tests.sim.entropy import SimEntropy
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, Seat, SimNode
from tests.sim.transport import SimTransport

ENTROPY = bytes(range(32))
CONTENT = Content(1, limits.CHUNK_BYTES, 1_000, 1, bytes(32), bytes(32), bytes(32), bytes(32))


class LedgerClinic:
    """A clinic without records: ledger, grants and gateway. `gateway` may be one that lies."""

    gateway_type: type[Gateway] = Gateway

    def __init__(self, ports: Ports, genesis: Genesis, seat: Seat) -> None:
        self.services = LedgerServices(ports=ports, genesis=genesis, vote_key=seat.vote_key)
        self.inbox = GrantsInbox(
            ledger=self.services.ledger,
            store=ports.ledger_store,
            offload=ports.offload,
            identity=seat.id_key.public,
            opening_key=seat.enc_key,
        )
        self.gateway = self.gateway_type(
            transport=self.services.ports.transport,
            ledger=self.services.ledger,
            submissions=self.services.submissions,
            network=network_id(genesis),
            entropy=ports.entropy,
            join=lambda peer, request: JoinReply(False, False, 0, 0),
            registered=self.inbox.registered,
            asked=AskedRequests(
                store=ports.ledger_store,
                clock=ports.clock,
                identity=seat.id_key.public,
                network=network_id(genesis),
            ),
        )

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.inbox.run)
            await self.services.run(task_status=task_status)


@dataclass
class Someone:
    """A running light client, with its transport and store."""

    store: MemoryStore
    transport: SimTransport
    patient: LightClient

    @property
    def clinics(self) -> Clinics:
        return self.patient.clinics

    @property
    def chain(self) -> LightChain:
        return self.patient.chain

    @property
    def wallet(self) -> Wallet:
        return self.patient.wallet

    @property
    def my(self) -> My:
        return self.patient.my

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            await nursery.start(self.patient.run)
            task_status.started()


async def keep_nothing(keys: WalletKeys) -> None:
    """The wallet's file, which no simulated device has."""
    await trio.lowlevel.checkpoint()


def someone_new(
    cluster: Cluster,
    network: SimNetwork,
    *,
    store: MemoryStore | None = None,
    keys: WalletKeys | None = None,
    name: str = "patient",
    dialling: Dialling | None = None,
) -> Someone:
    """A light client with the genesis file, not running yet; `store` and `keys` are what it had before."""
    identity = SigningKey(digest("sim-light", b"" if name == "patient" else name.encode()))
    network.name(identity.public, name)
    store = store or MemoryStore()
    transport = SimTransport(network, identity.public, members=(), dials=())
    hashes = next_key_hashes(cold_master(ENTROPY), 0, 8)
    patient = LightClient(
        transport=transport,
        store=store,
        clock=SimClock(cluster.world.timeline.now_ms),
        entropy=SimEntropy(name),
        offload=InlineOffload(),
        genesis=cluster.genesis,
        keys=keys or WalletKeys((hot_master(ENTROPY).secret,), hashes),
        keep=keep_nothing,
        dialling=dialling,
    )
    return Someone(store, transport, patient)


def services(node: SimNode) -> LedgerServices:
    """The running ledger services of a clinic."""
    assert node.life is not None
    assert isinstance(node.life.service, LedgerClinic)
    return node.life.service.services


async def issue(someone: Someone, node: SimNode, title: str) -> TransactionId:
    """A record that `node` mints to the patient with a fresh receive code; final when this returns."""
    code = decode_code((await someone.my.code(MyCode(clinic=node.name))).code)
    network, now_ms = someone.chain.network, node.clock.wall_ms()
    [enrolment] = check_code(
        code, network=network, clinic=node.identity, now_ms=now_ms, used=lambda key: False
    )
    terms = enrolment.terms
    label = RecordLabel(title, "fhir", "record.json", 1_000, now_ms, b"")
    held = SealedKey(digest("key", title.encode()), label, code.reference)
    sealed = seal_key(held, to=terms.enc_key, entropy=bytes(32))
    body = Mint(
        digest("nonce", title.encode())[:16],
        node.identity,
        terms.owner_key,
        terms.next_key_hash,
        terms.enc_key,
        CONTENT,
        sealed_hash(sealed),
        enrolment.signed,
    )
    raw = sign_transaction(body, (node.seat.id_key,), network)
    name = await services(node).submissions.submit(raw, sealed, sender=node.identity)
    await services(node).submissions.wait_final(name)
    return name
