"""A light client that was away: what it asks of a clinic to know the newest final header again.

The ledger is made up: heartbeats from the genesis block to the present, and vote keys that rotate at equal
distances, each of which closes an epoch. A real gateway serves it over libp2p on loopback to a real light
client that has the genesis file alone, and every reply is counted. Beside it the same gateway is asked for
all headers one after the other, as for a client that cannot leave any out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node.adapters import InlineOffload, SystemClock, SystemEntropy
from node.bench.chain import ChainMaker, MadeBlock
from node.bench.founders import Founders, found
from node.bench.load import CONNECTED_S
from node.bench.workload import seed
from node.chain.gateway import Gateway, NothingAsked
from node.chain.ledger import ExecutedBlock, Ledger
from node.chain.services import LedgerServices
from node.config import Clinic
from node.dialling import Dialling
from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.net.libp2p_host import Libp2pTransport
from node.ports import Ports, Visitor
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from node.store.memory import MemoryStore
from protocol import limits
from protocol.blocks import network_id
from protocol.codec import decode, encode
from protocol.keys import PublicKey, SigningKey
from protocol.limits import DAY_MS, NetworkLimits
from protocol.membership import RotateVoteKey
from protocol.messages.consensus import Submission
from protocol.messages.light import (
    HeadersReply,
    HeadersRequest,
    JoinReply,
    LightQuestion,
    RouteReply,
    decode_light_question,
)
from protocol.transactions import GrantId, TokenId, sign_transaction

LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"
CAUGHT_UP_S: Final = 60.0
_TOGETHER: Final = 240  # heartbeats under one certificate, an hour of them


@dataclass(slots=True)
class Fetched:
    """How many headers replies brought, and how many bytes those replies are."""

    headers: int = 0
    size: int = 0

    def count(self, question: LightQuestion, raw: bytes) -> None:
        self.size += len(raw)
        match question:
            case HeadersRequest():
                reply = decode(HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
                self.headers += len(reply.headers)
            case _:
                route = decode(RouteReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).route
                self.headers += 0 if route is None else len(route.ends) + 1


@dataclass(frozen=True, slots=True)
class Absence:
    """What catching up after it cost: with what may be left out left out, and with every header.
    `blocks` and `epochs` were missed."""

    days: int
    blocks: int
    epochs: int
    leaping: Fetched
    following: Fetched


class CountingClinics(Clinics):
    """Adds up what is asked and answered."""

    fetched: Fetched

    async def call(
        self,
        peer: PublicKey,
        protocol: str,
        request: bytes,
        then: Callable[[bytes], bytes] | None = None,
    ) -> bytes | None:
        raw = await super().call(peer, protocol, request, then)
        if raw is not None:
            self.fetched.count(decode_light_question(request), raw)
        return raw


async def measure_absence(directory: Path, *, days: int, epochs: int) -> Absence:
    """Makes the ledger in `directory`, and catches up twice."""
    clock = SystemClock()
    founders = found(created_ms=clock.wall_ms() - days * DAY_MS)
    network = network_id(founders.genesis)
    store = open_leveldb(directory / f"away-{days}", tuning=LEDGER_TUNING, network=network)
    transport = Libp2pTransport(seed=seed("identity", 0), network=network, clock=clock, listen=[LOOPBACK])
    try:
        services = LedgerServices(
            ports=Ports(
                transport=transport,
                ledger_store=store,
                blob_store=MemoryStore(),
                audit_store=MemoryStore(),
                votes=None,
                clock=clock,
                entropy=SystemEntropy(),
                offload=InlineOffload(),
                visit=_nobody,
            ),
            genesis=founders.genesis,
            vote_key=None,
        )
        await _write(services.ledger, founders, days * DAY_MS // NetworkLimits().heartbeat_ms, epochs)
        _serve(services)
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run)
            absence = Absence(
                days,
                services.ledger.height,
                epochs,
                await _leap(services.ledger, transport),
                await _follow(services.ledger, transport),
            )
            nursery.cancel_scope.cancel()
    finally:
        store.close()
    return absence


async def _write(ledger: Ledger, founders: Founders, blocks: int, epochs: int) -> None:
    """So many blocks, of which `epochs` close an epoch; the newest is a heartbeat."""
    maker = ChainMaker(founders.genesis, founders.voters)
    every_ms, network = NetworkLimits().heartbeat_ms, maker.committee.network
    for epoch in range(epochs + 1):
        left = blocks // (epochs + 1)
        while left > 0:
            made = maker.heartbeats(min(left, _TOGETHER), every_ms=every_ms)
            left -= len(made)
            await _commit(ledger, made)
        if epoch < epochs:
            await _commit(ledger, list(maker.blocks([_rotation(maker, founders, epoch, network)])))


def _rotation(maker: ChainMaker, founders: Founders, epoch: int, network: bytes) -> Submission:
    """Another vote key for the members in turn."""
    issuer, voter = founders.issuers[epoch % len(founders.issuers)], SigningKey(seed("next vote", epoch))
    maker.learn(voter)
    body = RotateVoteKey(issuer.public, voter.public)
    return Submission(sign_transaction(body, (issuer, voter), network), b"")


async def _commit(ledger: Ledger, made: list[MadeBlock]) -> None:
    executed = [ExecutedBlock(one.block, one.transactions, one.execution) for one in made]
    await ledger.commit(executed, made[-1].finality)


def _serve(services: LedgerServices) -> None:
    Gateway(
        transport=services.ports.transport,
        ledger=services.ledger,
        submissions=services.submissions,
        network=services.network,
        entropy=services.ports.entropy,
        join=lambda peer, request: JoinReply(False, False, 0, 0),
        registered=_no_grants,
        asked=NothingAsked(),
    )


async def _leap(ledger: Ledger, server: Libp2pTransport) -> Fetched:
    """As a light client does it."""
    async with trio.open_nursery() as nursery:
        clinics = await _dial(ledger, server, nursery, "leaping")
        chain = LightChain(
            genesis=ledger.genesis, store=MemoryStore(), clinics=clinics, clock=SystemClock()
        )
        nursery.start_soon(chain.run)
        with trio.fail_after(CAUGHT_UP_S):
            await chain.wait_height(ledger.height)
        nursery.cancel_scope.cancel()
    return clinics.fetched


async def _follow(ledger: Ledger, server: Libp2pTransport) -> Fetched:
    """Every header, without looking at it."""
    async with trio.open_nursery() as nursery:
        clinics = await _dial(ledger, server, nursery, "following")
        while clinics.fetched.headers < ledger.height:
            request = encode(HeadersRequest(clinics.fetched.headers + 1, 0))
            await clinics.call(server.identity, "light", request)
        nursery.cancel_scope.cancel()
    return clinics.fetched


async def _dial(
    ledger: Ledger, server: Libp2pTransport, nursery: trio.Nursery, name: str
) -> CountingClinics:
    transport = Libp2pTransport(
        seed=seed("client", name), network=ledger.state.network, clock=SystemClock()
    )
    await nursery.start(transport.run)
    clinics = CountingClinics(
        transport=transport,
        members=ledger.genesis.members,
        reply_limit=limits.LIGHT_REPLY_BYTES_MAX,
        dialling=Dialling([Clinic(name="clinic-0", address=server.listening[0], id=server.identity.hex())]),
    )
    clinics.fetched = Fetched()
    await clinics.wait_reachable(CONNECTED_S)
    return clinics


async def _no_grants(token: TokenId, after: GrantId, count: int) -> list[GrantId]:
    """Nobody asks for what was shared."""
    return []


def _nobody() -> Visitor:
    raise AssertionError("nothing here visits a member")
