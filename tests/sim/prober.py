"""A reader that asks by hand, whatever it knows: it keeps the grant that it was given and presents it
again and again, also after it heard that the grant ended."""

import trio

from node.records.serving import PROTOCOL
from protocol import limits
from protocol.access import FetchRequest, SignedFetchRequest, sign_fetch
from protocol.codec import encode
from protocol.errors import TransportError
from protocol.messages.blob import FetchCall, Nonce, NonceRequest, Refusal, decode_blob_reply
from protocol.transactions import TokenId
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import clinic, whole
from tests.sim.streams import SimStream


class Prober:
    """Presents the grant of one record that `reader` holds now, from `asker`, which is the reader itself
    where none is named, for `purpose`."""

    def __init__(
        self,
        cluster: Cluster,
        reader: SimNode,
        token: str,
        *,
        asker: SimNode | None = None,
        purpose: str = "TREAT",
    ) -> None:
        self._cluster, self._asker = cluster, asker or reader
        self._token = TokenId(bytes.fromhex(token))
        self._purpose = purpose
        [self._grant] = clinic(reader).inbox.held_for(self._token)
        held = whole(reader).services.ledger.state.token(self._token)
        assert held is not None
        self._chunks = held.content.chunks

    async def ask(self, server: SimNode, *, pause_s: float = 0.0, times: int = 1) -> int | None:
        """How many chunks came, read one every `pause_s`; None where nothing but a refusal did. One
        request is sent `times` over, and the last answer counts.

        Raises:
            TransportError: the server cannot be reached, or broke off.
        """
        if self._asker.life is None:
            raise TransportError("the asker is down", "")
        stream = await self._asker.life.transport.open_stream(server.identity, PROTOCOL)
        try:
            nonce = await self._nonce(stream)
            call = encode(FetchCall(self._request(server, nonce)))
            count: int | None = None
            for _ in range(times):
                count = await self._ask(stream, call, pause_s)
            return count
        finally:
            stream.close()

    async def served(self, server: SimNode, *, times: int = 1) -> bool:
        """Whether anything comes of asking now."""
        try:
            return await self.ask(server, times=times) is not None
        except TransportError:
            return False

    async def _nonce(self, stream: SimStream) -> bytes:
        await stream.send(encode(NonceRequest()))
        reply = decode_blob_reply(await _frame(stream))
        assert isinstance(reply, Nonce)
        return reply.nonce

    def _request(self, server: SimNode, nonce: bytes) -> SignedFetchRequest:
        key = self._asker.seat.id_key
        request = FetchRequest(
            self._token,
            self._grant.raw_body,
            key.public,
            server.identity,
            nonce,
            self._purpose,
            "dr b",
            0,
            self._chunks,
            self._asker.clock.wall_ms(),
        )
        return sign_fetch(request, key, self._cluster.network_id)

    async def _ask(self, stream: SimStream, call: bytes, pause_s: float) -> int | None:
        await stream.send(call)
        if isinstance(decode_blob_reply(await _frame(stream)), Refusal):
            return None
        for count in range(self._chunks):
            await trio.sleep(pause_s)
            if await _frame(stream) == encode(Refusal()):
                return count
        return self._chunks


async def _frame(stream: SimStream) -> bytes:
    raw = await stream.receive(limits.CHUNK_FRAME_BYTES_MAX)
    if raw is None:
        raise TransportError("the server ended the stream", "")
    return raw
