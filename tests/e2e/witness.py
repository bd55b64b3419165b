"""A clinic in the test's own process beside three daemons: it takes part in all, and keeps what it hears.

It is never killed, so what it has heard is evidence of whatever the others signed.
"""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node import paths
from node.adapters import SystemClock, SystemEntropy, ThreadOffload
from node.bench.workload import Workload
from node.clinic import Clinic
from node.demo.stage import Actor, Stage
from node.keystore import Keyring
from node.net.libp2p_host import Libp2pTransport
from node.ports import DatagramHandler, PeerAddress, Ports
from node.rpc import Caller
from node.store.leveldb import BLOB_TUNING, LEDGER_TUNING, LevelDbStore, LevelDbTuning, open_leveldb
from node.store.votefile import open_vote_file
from protocol import limits
from protocol.blocks import Committee, Phase, Statement, block_hash, network_id, verify_statement
from protocol.codec import decode, encode
from protocol.errors import Malformed, TransportError
from protocol.keys import SEED_BYTES, PublicKey
from protocol.messages.consensus import Proposal, Vote, decode_consensus
from protocol.messages.light import TRANSACTIONS_MAX, WAIT_MS_MAX, LocateReply, LocateRequest
from protocol.messages.submit import SubmitRequest, decode_submit_reply
from protocol.transactions import TransactionId, transaction_id
from tests.e2e.clinics import genesis_of, keys_of, until

BATCH = 4
RETRY_S = 0.05
WITNESS = "clinic-d"


class ListeningTransport(Libp2pTransport):
    """A transport that also keeps every consensus message that comes in."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.heard: list[bytes] = []

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        async def listen(peer: PublicKey, payload: bytes) -> None:
            self.heard.append(payload)
            await handler(peer, payload)

        super().serve_datagrams(protocol, listen if protocol == "consensus" else handler, limit=limit)


@dataclass
class Scene:
    """Three daemons and the witness, and what was acknowledged so far, by whom it was taken."""

    stage: Stage
    clinic: Clinic
    transport: ListeningTransport
    acknowledged: dict[TransactionId, PublicKey] = field(default_factory=dict)

    @property
    def daemons(self) -> dict[PublicKey, Actor]:
        genesis = self.clinic.genesis
        actors = self.stage.clinics
        own = self.transport.identity
        return {one.id_key: actors[one.name] for one in genesis.members if one.id_key != own}

    def committee(self) -> Committee:
        return self.clinic.services.membership.committee

    async def load(self, target: PublicKey, workload: Workload) -> None:
        """Submits mints to one clinic for ever, and notes what it takes."""
        submit = Caller(self.transport, "submit", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        while True:
            batch = workload.mints(BATCH)
            try:
                raw = await submit.call(target, encode(SubmitRequest(tuple(batch))))
            except TransportError:
                await trio.sleep(0.05)
                continue
            for item, is_taken in zip(batch, decode_submit_reply(raw, BATCH).taken, strict=True):
                if is_taken:
                    self.acknowledged[TransactionId(transaction_id(item.transaction))] = target

    async def wait_acknowledged(self, more: int) -> None:
        """Returns when so many more transactions were taken."""
        wanted = len(self.acknowledged) + more
        await until(lambda: len(self.acknowledged) >= wanted, "more transactions to be taken")

    async def wait_all_final_at(self, target: PublicKey) -> None:
        """Returns when one clinic shows all that was acknowledged as final."""
        light = Caller(self.transport, "light", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        names = list(self.acknowledged)
        while names:
            some, rest = names[:TRANSACTIONS_MAX], names[TRANSACTIONS_MAX:]
            request = encode(LocateRequest(tuple(some), WAIT_MS_MAX))
            # The clinic may be only just back.
            try:
                raw = await light.call(target, request)
            except TransportError:
                await trio.sleep(RETRY_S)
                continue
            located = decode(LocateReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).located
            names = [name for name, found in zip(some, located, strict=True) if found is None] + rest

    def statements(self) -> list[tuple[int, Statement]]:
        """Every statement heard whose signature holds, a leader's vote in its proposal included."""
        committee = self.committee()
        found: list[tuple[int, Statement]] = []
        for raw in self.transport.heard:
            try:
                message = decode_consensus(raw)
            except Malformed:
                continue
            match message:
                case Vote(statement, signer, signature):
                    pass
                case Proposal(block, signature=signature):
                    view, name = block.header.view, block_hash(block.header)
                    statement = Statement(committee.epoch, view, Phase.VOTE, name)
                    signer = committee.leader(view)
                case _:
                    continue
            if verify_statement(statement, signature, committee.validators[signer], committee.network):
                found.append((signer, statement))
        return found


@asynccontextmanager
async def three_daemons_and_a_witness(root: Path) -> AsyncIterator[Scene]:
    """A network of four: three started through the CLI, the fourth in this process."""
    stage = Stage(root)
    stage.build()
    clinics = list(stage.clinics.values())
    daemons = [actor for actor in clinics if actor.name != WITNESS]
    await stage.each_clinic(lambda one: one.ask("init"))
    cards = [str(paths.card(actor.data_dir)) for actor in clinics]
    await clinics[0].ask("network", "create", "--name", "kill", "-o", str(stage.genesis), *cards)
    with ExitStack() as stores:
        scene = _scene(stage, stage.clinics[WITNESS], stores)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(scene.clinic.run)
                await nursery.start(scene.transport.run)
                async with trio.open_nursery() as starting:
                    for actor in daemons:
                        starting.start_soon(actor.ask, "start")
                await until(lambda: len(scene.transport.connected()) == 3, "all clinics to be connected")
                yield scene
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await stage.close(keep=False)


def _scene(stage: Stage, own: Actor, stores: ExitStack) -> Scene:
    genesis, keys = genesis_of(stage), keys_of(own)
    network = network_id(genesis)
    transport = ListeningTransport(
        seed=keys.identity_seed,
        network=network,
        clock=SystemClock(),
        listen=next(one.addresses for one in genesis.members if one.name == own.name),
        members=[PeerAddress(one.id_key, one.addresses) for one in genesis.members],
    )
    votes = open_vote_file(paths.votes(own.data_dir))
    stores.callback(votes.close)

    def opened(path: Path, tuning: LevelDbTuning = LEDGER_TUNING) -> LevelDbStore:
        store = open_leveldb(path, tuning=tuning, network=network)
        stores.callback(store.close)
        return store

    ports = Ports(
        transport=transport,
        ledger_store=opened(paths.ledger_db(own.data_dir)),
        blob_store=opened(paths.blob_db(own.data_dir), BLOB_TUNING),
        audit_store=opened(paths.audit_db(own.data_dir)),
        votes=votes,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        offload=ThreadOffload(),
        visit=lambda: Libp2pTransport(
            seed=SystemEntropy().bytes(SEED_BYTES), network=network, clock=SystemClock()
        ),
    )
    clinic = Clinic(ports=ports, genesis=genesis, keys=Keyring.of(keys), quota_bytes=limits.GIB)
    return Scene(stage, clinic, transport)
