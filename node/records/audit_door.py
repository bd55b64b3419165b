"""The `audit` protocol's server: an owner asks who asked for her records here.

Everyone gets an answer of the same form, with this node's signed head. Records are in it only for tokens
whose present owner key signed the question, and one without any comes after the same time whatever the
reason. With the last of the records comes what shows that they are all.
"""

from collections.abc import Sequence
from typing import Final

import trio

from node.chain.ledger import Ledger
from node.nonces import StreamNonce
from node.ports import Clock, Entropy, Offload, Stream, Transport
from node.records.audit_log import AuditLog
from node.records.pacing import wait_refusal_time
from node.rpc import answer_frames
from protocol import limits
from protocol.audit_map import LogHead, show_log
from protocol.codec import encode
from protocol.excerpt import Excerpt
from protocol.keys import PublicKey, SigningKey, verify
from protocol.messages.audit import (
    AuditHeadBody,
    AuditProof,
    AuditQuestion,
    AuditReply,
    Nonce,
    NonceRequest,
    SignedHead,
    decode_audit_ask,
    sign_head,
)
from protocol.transactions import TokenId

PROTOCOL: Final = "audit"
QUESTION: Final = "audit-question"
RECORDS_BYTES_MAX: Final = limits.AUDIT_REPLY_BYTES_MAX - 128 * limits.KIB


class AuditDoor:
    """Serves the `audit` protocol. `key` is the clinic's identity key."""

    def __init__(
        self,
        *,
        transport: Transport,
        key: SigningKey,
        ledger: Ledger,
        audit: AuditLog,
        clock: Clock,
        entropy: Entropy,
        offload: Offload,
    ) -> None:
        self._key, self._ledger, self._audit = key, ledger, audit
        self._clock, self._entropy, self._offload = clock, entropy, offload
        transport.serve(PROTOCOL, self._serve, strangers=True)

    async def _serve(self, stream: Stream) -> None:
        nonce = StreamNonce(self._entropy)

        async def answer(peer: PublicKey, frame: bytes) -> bytes:
            match decode_audit_ask(frame):
                case NonceRequest():
                    return encode(Nonce(nonce.draw()))
                case AuditQuestion() as question:
                    nonce.spend(question.nonce)
                    return await self._answer(question)

        await answer_frames(stream, answer, limit=limits.CONTROL_FRAME_BYTES_MAX)

    async def _answer(self, question: AuditQuestion) -> bytes:
        came_s = trio.current_time()
        tokens = [
            token
            for token, key, signature in zip(
                question.tokens, question.keys, question.signatures, strict=True
            )
            if self._is_owner(question.nonce, token, key, signature)
        ]
        sequence, entries = self._audit.sequence, self._audit.map
        records, more = await self._offload.run(
            lambda: self._audit.chain.for_tokens(
                tokens, after=question.after, through=sequence, bytes_max=RECORDS_BYTES_MAX
            )
        )
        if not records:
            await wait_refusal_time(came_s)
        shown, posted = None, None
        if tokens and not more:
            shown = show_log(entries, tokens)
            posted = await self._show_posted(question.posted, tokens)
        head = self._signed_head(LogHead(sequence, entries.root))
        return encode(AuditReply(tuple(records), head, more, shown, posted))

    async def _show_posted(self, sequence: int, tokens: Sequence[TokenId]) -> Excerpt | None:
        member = self._ledger.state.member(self._key.public)
        is_posted = member is not None and member.audit_sequence == sequence
        entries = await self._audit.map_at(sequence, is_posted=is_posted)
        return None if entries is None else show_log(entries, tokens)

    def _is_owner(self, nonce: bytes, token: TokenId, key: PublicKey, signature: bytes) -> bool:
        proof = encode(AuditProof(self._key.public, nonce, token))
        known = self._ledger.state.token(token)
        is_signed = verify(key, QUESTION, self._ledger.state.network, proof, signature)
        return is_signed and known is not None and known.owner_key == key

    def _signed_head(self, head: LogHead) -> SignedHead:
        body = AuditHeadBody(self._key.public, head.sequence, head.root, self._clock.wall_ms())
        return sign_head(body, self._key, self._ledger.state.network)
