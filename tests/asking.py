"""A peer that speaks the `blob` protocol by hand, and what it asks for."""

from msgspec.structs import replace

from node.ports import Stream
from node.records.audit_chain import AuditChain
from protocol import limits
from protocol.access import FetchRequest, SignedFetchRequest, sign_fetch
from protocol.audit import AuditRecord
from protocol.codec import encode
from protocol.keys import SigningKey
from protocol.messages.blob import (
    FetchCall,
    Nonce,
    NonceRequest,
    PacedCall,
    ReadCall,
    decode_blob_reply,
)
from tests.clinic_world import (
    IDS,
    Clinic,
    Given,
    Record,
    World,
    grant,
    issue,
)
from tests.ledger_world import (
    CLINICS,
    NETWORK,
)

SMALL = 1000


async def shared(world: World, size: int = SMALL, **terms: object) -> tuple[Record, Given]:
    """A final record of clinic 0 and a final grant of it to clinic 1."""
    record = await issue(world.clinics[0], size)
    given = grant(record, 1, **terms)
    await world.finalize(record.minted)
    await world.finalize(given.registration)
    return record, given


class Asker:
    """A peer that speaks the protocol by hand."""

    def __init__(self, stream: Stream, key: SigningKey) -> None:
        self.stream, self.key = stream, key

    async def nonce(self) -> bytes:
        await self.stream.send(encode(NonceRequest()))
        reply = decode_blob_reply(await self.frame())
        assert isinstance(reply, Nonce)
        return reply.nonce

    async def frame(self) -> bytes:
        raw = await self.stream.receive(limits.CHUNK_FRAME_BYTES_MAX)
        assert raw is not None
        return raw

    async def ask(self, request: FetchRequest, **changes: object) -> bytes:
        """The first frame of the answer to this request, some fields of which are changed."""
        changed = replace(request, **({"nonce": await self.nonce()} | changes))
        return await self.call(sign_fetch(changed, self.key, NETWORK))

    async def call(
        self, request: SignedFetchRequest, call: type[FetchCall | PacedCall] = FetchCall
    ) -> bytes:
        await self.stream.send(encode(call(request)))
        return await self.frame()

    async def ask_paced(self, request: FetchRequest) -> bytes:
        """As `ask`, for chunks that `read` asks for."""
        changed = replace(request, nonce=await self.nonce())
        return await self.call(sign_fetch(changed, self.key, NETWORK), PacedCall)

    async def read(self, first_chunk: int, chunk_count: int) -> None:
        await self.stream.send(encode(ReadCall(first_chunk, chunk_count)))


async def asker(world: World, key: SigningKey = CLINICS[1], *, server: int = 0) -> Asker:
    transport = world.net.transports.get(key.public) or world.net.transports[IDS[1]]
    return Asker(await transport.open_stream(IDS[server], "blob"), key)


def request(record: Record, given: Given, **changes: object) -> FetchRequest:
    made = FetchRequest(
        record.token, given.body, IDS[1], IDS[0], bytes(32), "TREAT", "dr b", 0, record.content.chunks, 1
    )
    return replace(made, **changes)


def log(clinic: Clinic) -> list[AuditRecord]:
    """What is durable in the clinic's audit log: a copy of the disk is read, as after a power cut."""
    chain = AuditChain(clinic.disk.audit)
    assert clinic.disk.audit.unsynced == 0
    return [record for n in range(1, clinic.audit.sequence + 1) if (record := chain.get(n)) is not None]
