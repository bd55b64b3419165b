"""A quorum of traitors with one voice: all keys of a committee, and a second chain that is final."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from node.ports import Stream
from node.rpc import answer_frames
from protocol import limits
from protocol.blocks import (
    Block,
    Certificate,
    Finality,
    Header,
    NetworkId,
    Phase,
    Statement,
    block_hash,
    sign_statement,
)
from protocol.chain import build_block, genesis_header
from protocol.codec import encode
from protocol.epochs import prove_opening
from protocol.errors import TransportError
from protocol.keys import PublicKey, SigningKey
from protocol.merkle import EMPTY_ROOT
from protocol.messages.blocks import (
    BlocksReply,
    BlocksRequest,
    FinalBlock,
    SealedReply,
    SealedRequest,
    TimeReply,
    decode_question,
)
from protocol.messages.consensus import Relay
from protocol.messages.light import (
    HeadersReply,
    HeadersRequest,
    RouteReply,
    RouteRequest,
    decode_light_question,
)
from protocol.proofs import EpochEnd, Route
from protocol.state import genesis_state
from protocol.transactions import decode_transaction, verify_transaction
from tests.sim.changes import rotation
from tests.sim.epoch_world import Changing
from tests.sim.nodes import SimNode
from tests.sim.transport import SimTransport


class Liar(ABC):
    """In the place of `node`, under its identity. `told` counts how often it was asked for blocks or
    headers; what it answers is its own."""

    def __init__(self, changing: Changing, node: SimNode) -> None:
        self._network = changing.cluster.network_id
        changing.liars.add(node.identity)
        members = [one.identity for one in changing.nodes]
        self.transport = SimTransport(changing.network, node.identity, members=members, dials=members)
        self.transport.subscribe("blocks")
        self.told = 0

    def serve_blocks(self) -> None:
        """Before the transport runs."""
        self.transport.serve("blocks", self._serve_blocks)

    def serve_light(self) -> None:
        """Before the transport runs."""
        self.transport.serve("light", self._serve_light, strangers=True)

    async def _serve_blocks(self, stream: Stream) -> None:
        await answer_frames(stream, self._answer_blocks, limit=limits.CONTROL_FRAME_BYTES_MAX)

    async def _serve_light(self, stream: Stream) -> None:
        await answer_frames(stream, self._answer_light, limit=limits.CONTROL_FRAME_BYTES_MAX)

    @abstractmethod
    async def _answer_blocks(self, peer: PublicKey, frame: bytes) -> bytes: ...

    @abstractmethod
    async def _answer_light(self, peer: PublicKey, frame: bytes) -> bytes: ...


class Forger(Liar):
    """In the place of `node`, with `keys` of a committee: other blocks instead of `instead` and after it.

    Whatever it is asked for, it answers with them; while it `is_hiding`, with no headers.
    """

    def __init__(
        self, changing: Changing, node: SimNode, keys: Sequence[SigningKey], instead: Header, count: int = 3
    ) -> None:
        super().__init__(changing, node)
        self._clock = node.clock
        header = replace(instead, time_ms=instead.time_ms + 1, tx_root=EMPTY_ROOT)
        self.headers = [header]
        while len(self.headers) < count:
            header = replace(
                header,
                view=header.view + 1,
                height=header.height + 1,
                parent=block_hash(header),
                time_ms=header.time_ms + 1,
            )
            self.headers.append(header)
        self.finality = [Finality(certify(one, keys, self._network)) for one in self.headers]
        self.led = 0
        self.is_hiding = False
        self.route: Route | None = None

    async def publish(self) -> None:
        await self.transport.publish("blocks", encode(FinalBlock(self._block(0), self.finality[0])))

    def relay(self, peers: Sequence[PublicKey]) -> None:
        for peer in peers:
            self.transport.send(peer, "consensus", encode(Relay(self.finality[-1].certificate)))

    def _block(self, index: int) -> Block:
        return Block(self.headers[index], (), ())

    def _from(self, height: int) -> int:
        """The place of the first header from `height` on."""
        return min(max(0, height - self.headers[0].height), len(self.headers))

    async def _answer_blocks(self, peer: PublicKey, frame: bytes) -> bytes:
        head = self.headers[-1].height
        match decode_question(frame):
            case BlocksRequest(height):
                self.told += 1
                blocks = [self._block(index) for index in range(self._from(height), len(self.headers))]
                return encode(BlocksReply(tuple(blocks), self.finality[-1] if blocks else None, head))
            case SealedRequest(wanted):
                return encode(SealedReply((b"",) * len(wanted)))
            case question:
                return encode(TimeReply(question.nonce, self._clock.wall_ms(), head))

    async def _answer_light(self, peer: PublicKey, frame: bytes) -> bytes:
        question = decode_light_question(frame)
        if isinstance(question, RouteRequest):
            self.led += 1
            return encode(RouteReply(self.route))  # Without one it is asked for headers then.
        if not isinstance(question, HeadersRequest):
            raise TransportError("it has nothing to say to this")
        self.told += 1
        if self.is_hiding:
            return encode(HeadersReply((), None, None, None, 0))
        headers = tuple(self.headers[self._from(question.height) :])
        finality = self.finality[-1] if headers else None
        return encode(HeadersReply(headers, finality, None, None, self.headers[-1].height))


def certify(header: Header, keys: Sequence[SigningKey], network: NetworkId) -> Certificate:
    """What makes a block final, if these are all keys of its epoch."""
    statement = Statement(header.epoch, header.view, int(Phase.FINALIZE), block_hash(header))
    signatures = tuple(sign_statement(statement, key, network) for key in keys)
    return Certificate(statement, (1 << len(keys)) - 1, signatures)


def other_past(changing: Changing, node: SimNode, keys: Sequence[SigningKey], *, height: int = 2) -> Route:
    """What all `keys` of epoch 0 could say came after the genesis file: that `node` changed its vote key in
    the first block, and a block of `height`, of now, by the next committee."""
    genesis, network, now_ms = changing.cluster.genesis, changing.cluster.network_id, node.clock.wall_ms()
    raw, next_key = rotation(changing.cluster, node)
    built = build_block(
        parent=genesis_header(genesis),
        state=genesis_state(genesis),
        view=1,
        proposer=keys[0].public,
        time_ms=now_ms - 1,
        candidates=[(verify_transaction(decode_transaction(raw), network), b"")],
    )
    first, state = built.block.header, built.execution.state
    next_keys = [next_key if key.public == node.seat.vote_key.public else key for key in keys]
    second = replace(
        first, epoch=1, view=2, height=height, parent=block_hash(first), time_ms=now_ms, tx_root=EMPTY_ROOT
    )
    end = EpochEnd(first, Finality(certify(first, keys, network)), prove_opening(state))
    return Route((end,), second, Finality(certify(second, next_keys, network)))
