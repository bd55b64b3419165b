"""The gateway: what a clinic answers to anyone, members and light clients alike, on their budget.

It answers with what the asker can verify: headers with a finalization, transactions with a path. What
belongs to an owner is shown only under the owner key's signature, and to others looks like nothing.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from node.chain.ledger import Ledger
from node.chain.owner_copies import Registered, owner_copies
from node.chain.proving import answer_proof, route_from
from node.chain.submissions import Submissions
from node.nonces import StreamNonce
from node.ports import Entropy, Stream, Transport
from node.rpc import answer_frames
from protocol import limits
from protocol.access_requests import RequestId
from protocol.blocks import Block, BlockHash, Header, NetworkId, block_hash
from protocol.chain import transaction_tree
from protocol.codec import encode
from protocol.epochs import Opening
from protocol.keys import PublicKey
from protocol.merkle import Tree
from protocol.messages.light import (
    HEADERS_MAX,
    AnswerReply,
    AnswerRequest,
    GenesisReply,
    GenesisRequest,
    GrantsReply,
    GrantsRequest,
    HeadersReply,
    HeadersRequest,
    JoinReply,
    JoinRequest,
    Located,
    LocateReply,
    LocateRequest,
    NonceReply,
    NonceRequest,
    Owned,
    OwnedProof,
    OwnedReply,
    OwnedRequest,
    ProofReply,
    ProofRequest,
    RollReply,
    RollRequest,
    RouteReply,
    RouteRequest,
    Waiting,
    WaitingReply,
    WaitingRequest,
    decode_light_question,
    verify_owned,
)
from protocol.messages.submit import SubmitReply, decode_submit_request
from protocol.ownership import prove_ownership
from protocol.roll import prove_roll
from protocol.state import LedgerState
from protocol.transactions import TransactionId

LIGHT = "light"
SUBMIT = "submit"
RECENT_BLOCKS = 4

_Hashed = tuple[Block, Tree, BlockHash]

Join = Callable[[PublicKey, JoinRequest], JoinReply]
"""How far a clinic's request to be admitted is."""


class Asked(Protocol):
    """The access requests that this clinic made: see `node.records.asked`."""

    def waiting_for(self, key: PublicKey) -> Sequence[Waiting]: ...

    def take_answer(self, name: RequestId, *, is_approved: bool, signature: bytes) -> bool: ...


class NothingAsked:
    """The requests of a node that asks patients for nothing."""

    def waiting_for(self, key: PublicKey) -> Sequence[Waiting]:
        return ()

    def take_answer(self, name: RequestId, *, is_approved: bool, signature: bytes) -> bool:
        return False


class Gateway:
    """Serves the `light` and `submit` protocols."""

    def __init__(
        self,
        *,
        transport: Transport,
        ledger: Ledger,
        submissions: Submissions,
        network: NetworkId,
        entropy: Entropy,
        join: Join,
        registered: Registered,
        asked: Asked,
    ) -> None:
        self._server, self._ledger, self._submissions = transport.identity, ledger, submissions
        self._network, self._entropy, self._join = network, entropy, join
        self._registered, self._asked = registered, asked
        self._recent: dict[int, _Hashed] = {}
        transport.serve(LIGHT, self._serve_light, strangers=True)
        transport.serve(SUBMIT, self._serve_submit, strangers=True)

    async def _serve_submit(self, stream: Stream) -> None:
        await answer_frames(stream, self._submit, limit=limits.LIGHT_REPLY_BYTES_MAX)

    async def _submit(self, peer: PublicKey, frame: bytes) -> bytes:
        request = decode_submit_request(frame)
        await self._submissions.check([item.transaction for item in request.submissions])
        # Why the ledger would refuse one is not for strangers, and a full mempool looks the same.
        taken = await self._submissions.submit_all(request.submissions, sender=peer)
        return encode(SubmitReply(tuple(taken)))

    async def _serve_light(self, stream: Stream) -> None:
        nonce = StreamNonce(self._entropy)

        async def answer(peer: PublicKey, frame: bytes) -> bytes:
            match decode_light_question(frame):
                case HeadersRequest(height, wait_ms):
                    return encode(await self._headers(height, wait_ms))
                case LocateRequest(transactions, wait_ms):
                    return encode(await self._locate(transactions, wait_ms))
                case NonceRequest():
                    return encode(NonceReply(nonce.draw()))
                case OwnedRequest() as request:
                    nonce.spend(request.nonce)
                    return encode(await self._owned(request))
                case GenesisRequest():
                    return encode(GenesisReply(encode(self._ledger.genesis)))
                case RollRequest():
                    return encode(self._roll())
                case RouteRequest(epoch):
                    return encode(self._route(epoch))
                case ProofRequest() as request:
                    nonce.spend(request.nonce)
                    return encode(self._proof(request))
                case GrantsRequest() as request:
                    nonce.spend(request.nonce)
                    return encode(await self._grants(request))
                case WaitingRequest() as request:
                    nonce.spend(request.nonce)
                    return encode(await self._waiting(request))
                case AnswerRequest(name, is_approved, signature):
                    taken = self._asked.take_answer(name, is_approved=is_approved, signature=signature)
                    return encode(AnswerReply(taken))
                case JoinRequest() as request:
                    return encode(self._join(peer, request))

        await answer_frames(stream, answer, limit=limits.CONTROL_FRAME_BYTES_MAX)

    def _roll(self) -> RollReply:
        return RollReply(self._ledger.height, prove_roll(self._ledger.state))

    def _route(self, epoch: int) -> RouteReply:
        return RouteReply(route_from(self._ledger, epoch))

    def _proof(self, request: ProofRequest) -> ProofReply:
        return ProofReply(answer_proof(self._ledger, request, server=self._server, network=self._network))

    async def _grants(self, request: GrantsRequest) -> GrantsReply:
        return await owner_copies(
            self._ledger, self._registered, request, server=self._server, network=self._network
        )

    async def _waiting(self, request: WaitingRequest) -> WaitingReply:
        """What waits for those of the keys that signed."""
        proof = OwnedProof(self._server, request.nonce)
        waiting: list[Waiting] = []
        for key, signature in zip(request.keys, request.signatures, strict=True):
            await trio.lowlevel.checkpoint()
            if verify_owned(proof, key, signature, self._network):
                waiting.extend(self._asked.waiting_for(key))
        return WaitingReply(tuple(waiting[: limits.REQUESTS_REPLY_MAX]))

    async def _headers(self, height: int, wait_ms: int) -> HeadersReply:
        with trio.move_on_after(wait_ms / 1000):
            while self._ledger.height < height:
                await self._ledger.wait_advanced()
        headers: list[Header] = []
        certified, finality = 0, None
        while height <= self._ledger.height and len(headers) < HEADERS_MAX:
            header = self._ledger.header(height)
            if header is None or (headers and header.epoch != headers[0].epoch):
                break
            headers.append(header)
            own = self._ledger.finality(height)
            if own is not None:
                certified, finality = len(headers), own
            height += 1
        headers = headers[:certified]
        closing = self._ledger.opening(headers[-1]) if headers else None
        return HeadersReply(tuple(headers), finality, self._opening(headers), closing, self._ledger.height)

    def _opening(self, headers: Sequence[Header]) -> Opening | None:
        """What shows the committee of `headers`, where the one before them closes its epoch."""
        before = self._ledger.header(headers[0].height - 1) if headers else None
        return None if before is None else self._ledger.opening(before)

    async def _locate(self, transactions: Sequence[TransactionId], wait_ms: int) -> LocateReply:
        with trio.move_on_after(wait_ms / 1000):
            missing = transactions
            while missing := [name for name in missing if self._ledger.position(name) is None]:
                await self._ledger.wait_advanced()
        return LocateReply(await self._located(transactions))

    async def _located(self, names: Sequence[TransactionId]) -> tuple[Located | None, ...]:
        """What shows where each is final. A block is read and hashed once for all that it holds."""
        located: dict[TransactionId, Located] = {}
        by_height: dict[int, list[tuple[int, TransactionId]]] = {}
        for name in names:
            position = self._ledger.position(name)
            if position is not None:
                by_height.setdefault(position[0], []).append((position[1], name))
        for height, placed in by_height.items():
            # A stranger may ask for many blocks: what else this node does goes on between them.
            await trio.lowlevel.checkpoint()
            hashed = self._hashed(height)
            if hashed is None:
                continue
            block, tree, own_hash = hashed
            for index, name in placed:
                raw = block.transactions[index]
                located[name] = Located(raw, height, own_hash, index, tree.size, tree.path(index))
        return tuple(map(located.get, names))

    def _hashed(self, height: int) -> _Hashed | None:
        """A final block with what places its transactions. Many ask about the newest at once."""
        kept = self._recent.get(height)
        if kept is not None:
            return kept
        block = self._ledger.bare_block(height)
        if block is None:
            return None
        hashed = block, transaction_tree(block), block_hash(block.header)
        if height > self._ledger.height - RECENT_BLOCKS:
            self._recent[height] = hashed
            while len(self._recent) > RECENT_BLOCKS:
                del self._recent[min(self._recent)]
        return hashed

    async def _owned(self, request: OwnedRequest) -> OwnedReply:
        proof = OwnedProof(self._server, request.nonce)
        height, state = self._ledger.height, self._ledger.state
        owned: list[Owned | None] = []
        for key, signature in zip(request.keys, request.signatures, strict=True):
            await trio.lowlevel.checkpoint()
            is_theirs = verify_owned(proof, key, signature, self._network)
            owned.append(self._owned_by(key, state) if is_theirs else None)
        return OwnedReply(height, tuple(owned))

    def _owned_by(self, key: PublicKey, state: LedgerState) -> Owned:
        """What `state` says of `key`; the sealed key is for whoever owns the token now."""
        held = state.owner_key(key)
        token = None if held is None else state.token(held.token)
        sealed_key = None
        if held is not None and token is not None and token.owner_key == key:
            sealed_key = self._ledger.sealed(held.token, token.sealed_key_hash)
        return Owned(prove_ownership(state, key), sealed_key or b"")
