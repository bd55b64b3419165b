"""Hostile validators: the real services behind a transport that twists what they say.

A traitor holds its own vote key and signs whatever suits it. In each view it draws one of its tricks.
What it says to whom follows from the seed. The machine inside stays honest, so that it keeps up with
the network; only what leaves the node is false.
"""

import random
from collections import deque
from collections.abc import Callable, Collection, Container, Sequence

import trio
from msgspec.structs import replace

from node.chain import clockcheck
from node.chain.consensus import PROTOCOL as CONSENSUS
from node.ports import DatagramHandler, GossipMessage, PeerAddress, Stream, StreamHandler, Transport
from protocol import merkle
from protocol.blocks import (
    NO_BLOCK,
    Block,
    BlockHash,
    Certificate,
    Committee,
    Genesis,
    Header,
    Phase,
    Statement,
    block_hash,
    genesis_committee,
    network_id,
    sign_statement,
)
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.keys import PublicKey, SigningKey
from protocol.messages.consensus import (
    BlockReply,
    ConsensusMessage,
    Proposal,
    Relay,
    Vote,
    decode_consensus,
)
from protocol.transactions import (
    Grant,
    GrantId,
    TokenId,
    TransactionId,
    sealed_hash,
    sign_transaction,
    transaction_id,
)
from tests.sim.lying import LyingStream
from tests.sim.nodes import Seat
from tests.sim.tricks import TWISTS, epoch_of, view_of

KEPT_MESSAGES = 200


class Traitor:
    """A `ports.Transport` around an honest node's own."""

    def __init__(
        self, inner: Transport, genesis: Genesis, seat: Seat, tricks: Sequence[str], dice: random.Random
    ) -> None:
        self._inner, self._seat, self._tricks, self._dice = inner, seat, tricks, dice
        self._network = network_id(genesis)
        self._others = [m.id_key for m in genesis.members if m.id_key != inner.identity]
        self.committee: Callable[[], Committee] = lambda: genesis_committee(genesis)
        """That of the epoch which is open at the node."""
        self._mood_view, self._mood = 0, ""
        self._half: frozenset[PublicKey] = frozenset()
        self._said: deque[ConsensusMessage] = deque(maxlen=KEPT_MESSAGES)
        self._certificates: deque[Certificate] = deque(maxlen=KEPT_MESSAGES)
        self._blocks: dict[int, dict[BlockHash, Block]] = {}
        self._twins: dict[BlockHash, Proposal] = {}
        self._bad: dict[BlockHash, Proposal] = {}

    # The port: all but sending is the honest transport's.

    @property
    def identity(self) -> PublicKey:
        return self._inner.identity

    def set_members(self, members: Sequence[PeerAddress]) -> None:
        self._others = [one.id_key for one in members if one.id_key != self.identity]
        self._inner.set_members(members)

    def serve(self, protocol: str, handler: StreamHandler, *, strangers: bool = False) -> None:
        async def serve(stream: Stream) -> None:
            await handler(LyingStream(stream, self._dice))

        lies = protocol == clockcheck.PROTOCOL and "lie_on_streams" in self._tricks
        self._inner.serve(protocol, serve if lies else handler, strangers=strangers)

    def serve_datagrams(self, protocol: str, handler: DatagramHandler, *, limit: int) -> None:
        async def listen(sender: PublicKey, payload: bytes) -> None:
            if protocol == CONSENSUS:
                self._listen(payload)
            await handler(sender, payload)

        self._inner.serve_datagrams(protocol, listen, limit=limit)

    async def open_stream(self, peer: PublicKey, protocol: str) -> Stream:
        return await self._inner.open_stream(peer, protocol)

    def subscribe(self, topic: str) -> trio.MemoryReceiveChannel[GossipMessage]:
        return self._inner.subscribe(topic)

    async def publish(self, topic: str, payload: bytes) -> None:
        if self._dice.random() < 0.5:
            await self._inner.publish(topic, payload)
        else:
            await trio.lowlevel.checkpoint()

    def subscribers(self, topic: str) -> Collection[PublicKey]:
        return self._inner.subscribers(topic)

    def connected(self) -> Sequence[PublicKey]:
        return self._inner.connected()

    def on_connected(self, callback: Callable[[PublicKey], None]) -> None:
        self._inner.on_connected(callback)

    def shut_out(self, peers: Container[PublicKey]) -> None:
        self._inner.shut_out(peers)

    def drop(self, peer: PublicKey) -> None:
        self._inner.drop(peer)

    def send(self, peer: PublicKey, protocol: str, payload: bytes) -> None:
        if protocol != CONSENSUS:
            self._inner.send(peer, protocol, payload)
            return
        message = decode_consensus(payload)
        self._enter(message)
        for twisted in TWISTS[self._mood](self, peer, message):
            self._inner.send(peer, protocol, encode(twisted))

    # What it knows.

    def _listen(self, payload: bytes) -> None:
        """Remembers blocks and certificates of others, to vote for all and to send the stale."""
        try:
            message = decode_consensus(payload)
        except Malformed:
            return
        if isinstance(message, Proposal | BlockReply):
            self._keep(message.block)
        if isinstance(message, Relay):
            self._certificates.append(message.certificate)

    def _keep(self, block: Block) -> None:
        self._blocks.setdefault(block.header.view, {})[block_hash(block.header)] = block
        while len(self._blocks) > KEPT_MESSAGES:
            del self._blocks[min(self._blocks)]

    def _enter(self, message: ConsensusMessage) -> None:
        """A mood for each view, and another half of the network to deceive."""
        view = view_of(message)
        if view > self._mood_view or not self._mood:
            self._mood_view, self._mood = view, self._dice.choice(self._tricks)
            self._half = frozenset(self._dice.sample(self._others, (len(self._others) + 1) // 2))
        if isinstance(message, Proposal):
            self._keep(message.block)
        self._said.append(message)

    def is_near(self, peer: PublicKey) -> bool:
        """Whether the peer is of the half that hears one story; the others hear another or nothing."""
        return peer in self._half

    def one_in(self, count: int) -> bool:
        return self._dice.randrange(count) == 0

    def vote(self, view: int, phase: Phase, block: BlockHash, epoch: int) -> Vote:
        statement = Statement(epoch, view, int(phase), block)
        signature = sign_statement(statement, self._seat.vote_key, self._network)
        return Vote(statement, self._signer, signature)

    @property
    def _signer(self) -> int:
        """Its place in the committee; one that has none any more claims its first."""
        index = self.committee().index(self._seat.vote_key.public)
        return self._seat.index if index is None else index

    def propose(self, proposal: Proposal, header: Header, block: Block | None = None) -> Proposal:
        """The proposal with another header, signed again."""
        block = replace(block or proposal.block, header=header)
        self._keep(block)
        vote = self.vote(header.view, Phase.VOTE, block_hash(header), header.epoch)
        return replace(proposal, block=block, signature=vote.signature)

    def twin(self, proposal: Proposal) -> Proposal:
        """Another valid block for the same view: the time differs."""
        name = block_hash(proposal.block.header)
        if name not in self._twins:
            header = proposal.block.header
            self._twins[name] = self.propose(proposal, replace(header, time_ms=header.time_ms + 1))
        return self._twins[name]

    def votes_for_all(self, view: int, epoch: int) -> list[Vote]:
        """Every statement about every block of a view."""
        votes = [
            self.vote(view, phase, name, epoch)
            for name in self._blocks.get(view, {})
            for phase in (Phase.VOTE, Phase.FINALIZE)
        ]
        return [*votes, self.vote(view, Phase.NULL, NO_BLOCK, epoch)]

    def earlier(self) -> list[ConsensusMessage]:
        """Something said long ago, and new votes in a past view."""
        view = max(1, self._mood_view - self._dice.randint(1, 20))
        said = self._dice.choice(self._said)
        return [said, *self.votes_for_all(view, epoch_of(said))]

    def stale(self) -> Certificate | None:
        return self._dice.choice(self._certificates) if self._certificates else None

    def bad_block(self, proposal: Proposal) -> Proposal:
        """A block that is right but for one transaction that the ledger must refuse: the same one to
        everybody, so that a careless quorum could take it."""
        name = block_hash(proposal.block.header)
        if name not in self._bad:
            self._bad[name] = self._spoil(proposal)
        return self._bad[name]

    def _spoil(self, proposal: Proposal) -> Proposal:
        stranger = SigningKey(self._dice.randbytes(32))
        sealed = self._dice.randbytes(40)
        token, grant = self._dice.randbytes(32), self._dice.randbytes(32)
        body = Grant(TokenId(TransactionId(token)), GrantId(grant), sealed_hash(sealed))
        raws = (*proposal.block.transactions, sign_transaction(body, (stranger,), self._network))
        block = replace(proposal.block, transactions=raws, sealed=(*proposal.block.sealed, sealed))
        root = merkle.root([transaction_id(raw) for raw in raws])
        return self.propose(proposal, replace(proposal.block.header, tx_root=root), block)

    def forged(self, message: ConsensusMessage) -> list[ConsensusMessage]:
        """Certificates that only a careless node counts: one signature many times, or a few too few."""
        view, epoch, count = view_of(message), epoch_of(message), len(self.committee().validators)
        everyone = (1 << count) - 1
        forged: list[ConsensusMessage] = []
        for vote in self.votes_for_all(view, epoch):
            own = 1 << self._signer
            forged.append(Relay(Certificate(vote.statement, everyone, (vote.signature,) * count)))
            forged.append(Relay(Certificate(vote.statement, own, (vote.signature,))))
            forged.append(Relay(Certificate(vote.statement, own, (vote.signature,) * count)))
        return forged
