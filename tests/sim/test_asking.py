"""What an owner alone is told, asked for by hand: each key signs for itself, this clinic and this nonce."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio

from node.ports import Stream
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import TransportError
from protocol.keys import PublicKey, SigningKey
from protocol.messages.light import (
    GrantsReply,
    GrantsRequest,
    NonceReply,
    NonceRequest,
    OwnedProof,
    OwnedReply,
    OwnedRequest,
    ProofReply,
    ProofRequest,
    Subject,
    sign_owned,
)
from protocol.proofs import ABOUT_TOKEN
from protocol.transactions import GrantId, TokenId
from tests.sim.light_world import Someone, issue
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.test_light import play, share

THIEF = SigningKey(b"t" * 32)


@dataclass
class Asker:
    """A stream of the patient's device to a clinic, and the key that owns her one record."""

    stream: Stream
    server: PublicKey
    network: bytes
    owner: SigningKey
    token: TokenId

    async def nonce(self) -> bytes:
        """A new nonce of this stream."""
        return decode(NonceReply, await self._call(encode(NonceRequest())), limit=limits.KIB).nonce

    def sign(
        self, nonce: bytes, *, key: SigningKey | None = None, server: PublicKey | None = None
    ) -> bytes:
        """As the owner should, but for what is given."""
        return sign_owned(OwnedProof(server or self.server, nonce), key or self.owner, self.network)

    async def is_owned(self, nonce: bytes, signature: bytes) -> bool:
        """Whether the clinic says what the owner's key owns."""
        raw = await self._call(encode(OwnedRequest(nonce, (self.owner.public,), (signature,))))
        [owned] = decode(OwnedReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).owned
        return owned is not None

    async def is_proven(self, nonce: bytes, signature: bytes) -> bool:
        """Whether the clinic proves what is so of the record."""
        subject = Subject(self.token, ABOUT_TOKEN)
        request = ProofRequest(nonce, 0, (subject,), (self.owner.public,), (signature,))
        raw = await self._call(encode(request))
        return decode(ProofReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).proof is not None

    async def is_told(self, nonce: bytes, signature: bytes) -> bool:
        """Whether the clinic tells to whom the record was given."""
        request = GrantsRequest(nonce, self.owner.public, signature, GrantId(b""))
        raw = await self._call(encode(request))
        return bool(decode(GrantsReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).copies)

    async def _call(self, request: bytes) -> bytes:
        """Raises TransportError where the clinic ends the stream instead of answering."""
        await self.stream.send(request)
        reply = await self.stream.receive(limits.LIGHT_REPLY_BYTES_MAX, limits.REQUEST_S)
        if reply is None:
            raise TransportError("the clinic ended the stream")
        return reply


Question = Callable[[Asker, bytes, bytes], Awaitable[bool]]
QUESTIONS = pytest.mark.parametrize(
    "ask", [Asker.is_owned, Asker.is_proven, Asker.is_told], ids=["owned", "proof", "grants"]
)
Opening = Callable[[], Awaitable[Asker]]


def play_asking(story: Callable[[Opening, list[PublicKey]], Awaitable[None]]) -> None:
    """`story` with a way to open one more stream of the record's owner to the first clinic, and with all
    clinics."""

    async def tell(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.share(share(token))
        [record] = someone.wallet.records()
        server = cluster.nodes[0].identity

        async def opened() -> Asker:
            stream = await someone.transport.open_stream(server, "light")
            owner = someone.wallet.owner_key(record)
            return Asker(stream, server, someone.chain.network, owner, record.token)

        await story(opened, [node.identity for node in cluster.nodes])

    play(tell)


@QUESTIONS
def test_the_owner_is_told_under_each_nonce_once(ask: Question) -> None:
    async def story(opened: Opening, clinics: list[PublicKey]) -> None:
        asker = await opened()
        for _ in range(2):
            nonce = await asker.nonce()
            assert await ask(asker, nonce, asker.sign(nonce))
        with pytest.raises(TransportError):
            await ask(asker, nonce, asker.sign(nonce))

    play_asking(story)


@QUESTIONS
def test_whoever_does_not_hold_the_owner_key_is_told_nothing(ask: Question) -> None:
    async def story(opened: Opening, clinics: list[PublicKey]) -> None:
        asker = await opened()
        nonce = await asker.nonce()
        assert not await ask(asker, nonce, asker.sign(nonce, key=THIEF))
        nonce = await asker.nonce()
        assert not await ask(asker, nonce, asker.sign(nonce, server=clinics[1]))
        used = nonce
        nonce = await asker.nonce()
        assert not await ask(asker, nonce, asker.sign(used))

    play_asking(story)


async def drawn_on_another_stream(asker: Asker, other: Asker) -> bytes:
    await asker.nonce()
    return await other.nonce()


async def drawn_before_the_last(asker: Asker, other: Asker) -> bytes:
    nonce = await asker.nonce()
    await asker.nonce()
    return nonce


async def made_up(asker: Asker, other: Asker) -> bytes:
    await asker.nonce()
    return b"n" * 32


async def made_up_before_any_was_drawn(asker: Asker, other: Asker) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"n" * 32


@QUESTIONS
@pytest.mark.parametrize(
    "draw", [drawn_on_another_stream, drawn_before_the_last, made_up, made_up_before_any_was_drawn]
)
def test_no_nonce_counts_but_the_last_of_its_stream(
    ask: Question, draw: Callable[[Asker, Asker], Awaitable[bytes]]
) -> None:
    async def story(opened: Opening, clinics: list[PublicKey]) -> None:
        asker = await opened()
        nonce = await draw(asker, await opened())
        with pytest.raises(TransportError):
            await ask(asker, nonce, asker.sign(nonce))

    play_asking(story)
