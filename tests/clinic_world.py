"""Some clinics in one process for tests of the record services: real services, memory stores, streams in
memory, virtual time. In place of consensus, `finalize` makes a block final at every clinic at once.

Left out: latency, connections that come and go, and what a transport does to a peer it drops, which is
only noted in `Net.dropped`. Run under a mock clock.
"""

import hashlib
from dataclasses import dataclass, field, replace

import trio

from node.adapters import InlineOffload
from node.chain.ledger import ExecutedBlock, Ledger
from node.chain.suspensions import Suspensions
from node.ports import Offload
from node.records.audit_log import AuditLog
from node.records.copy_exchange import CopyExchange
from node.records.fetch_run import FetchAsk, Fetched
from node.records.fetching import Fetcher
from node.records.gate import Gate
from node.records.holders import Holders
from node.records.serving import BlobServer
from node.records.vault import Vault
from node.store.memory import MemoryStore
from protocol import limits
from protocol.at_rest import AtRest
from protocol.blobs import Sealer
from protocol.blocks import NO_BLOCK, Certificate, Finality, Phase, Statement
from protocol.codec import digest, encode
from protocol.grants import GrantBody, RecordLabel, SealedKey, seal_grant, seal_key
from protocol.keys import SigningKey
from protocol.transactions import (
    Content,
    Enrolment,
    Grant,
    GrantId,
    Mint,
    TokenId,
    next_key_hash,
    sealed_hash,
    sign_enrolment,
)
from tests.ledger_world import (
    CLINICS,
    CREATED_MS,
    FAR_MS,
    GENESIS,
    NETWORK,
    Signed,
    build,
    execute,
    keys,
    opening,
    signed,
)
from tests.memory_net import MemoryTransport, Net
from tests.sim.clock import EPOCH_MS, SimClock
from tests.sim.entropy import SimEntropy

IDS = tuple(clinic.public for clinic in CLINICS)
NO_FINALITY = Finality(Certificate(Statement(0, 0, Phase.FINALIZE, NO_BLOCK), 0, ()))
QUOTA_BYTES = limits.GIB
REFERENCE = b"known here as 16"
LABEL = RecordLabel("a title", "fhir", "bundle.json", 1, CREATED_MS, b"")


@dataclass
class Disk:
    ledger: MemoryStore = field(default_factory=MemoryStore)
    blobs: MemoryStore = field(default_factory=MemoryStore)
    audit: MemoryStore = field(default_factory=MemoryStore)

    def crash(self) -> "Disk":
        """What is left after a power cut: only what was synced."""
        return Disk(self.ledger.crash(0), self.blobs.crash(0), self.audit.crash(0))


class Clinic:
    """The record services of one clinic, wired; `run` serves until cancelled."""

    def __init__(
        self,
        net: Net,
        index: int,
        disk: Disk | None = None,
        *,
        audit_type: type[AuditLog] = AuditLog,
        audit_offload: Offload | None = None,
        quota_bytes: int = QUOTA_BYTES,
    ) -> None:
        self.index, self.key, self.identity = index, CLINICS[index], IDS[index]
        self.disk = disk or Disk()
        self.clock = world_clock()
        self.entropy = SimEntropy(f"clinic {index}")
        self.transport = MemoryTransport(net, self.identity)
        offload = InlineOffload()
        self.ledger = Ledger(genesis=GENESIS, store=self.disk.ledger, clock=self.clock, offload=offload)
        self.vault = Vault(
            store=self.disk.blobs,
            at_rest=AtRest(digest("test-at-rest", self.identity)),
            entropy=self.entropy,
            offload=offload,
            quota_bytes=quota_bytes,
        )
        self.audit = audit_type(store=self.disk.audit, clock=self.clock, offload=audit_offload or offload)
        self.clock_is_good = True
        self.suspensions = Suspensions(self.ledger, self.disk.ledger)
        self.gate = Gate(
            identity=self.identity,
            suspended=self.suspensions,
            ledger=self.ledger,
            vault=self.vault,
            audit=self.audit,
            freshness=lambda: self.ledger.freshness(clock_is_good=self.clock_is_good),
        )
        self.holders = Holders(
            transport=self.transport,
            vault=self.vault,
            offload=offload,
            key=self.key,
            network=NETWORK,
            membership=self.ledger.membership,
            copies=GENESIS.limits.holders,
        )
        exchange = CopyExchange(
            transport=self.transport,
            vault=self.vault,
            ledger=self.ledger,
            suspended=self.suspensions,
            freshness=lambda: self.ledger.freshness(clock_is_good=self.clock_is_good),
            offload=offload,
        )
        self.server = BlobServer(
            transport=self.transport,
            gate=self.gate,
            vault=self.vault,
            audit=self.audit,
            clock=self.clock,
            entropy=self.entropy,
            offload=offload,
            receive_push=self.holders.receive,
            give_copy=exchange.give,
        )
        self.fetcher = Fetcher(
            transport=self.transport,
            clock=self.clock,
            offload=offload,
            network=NETWORK,
            serve_self=self.server.serve,
        )

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.vault.run)
        await nursery.start(self.audit.run)


class World:
    """Clinics that agree on every block."""

    def __init__(self, nursery: trio.Nursery, clinics: int = 4) -> None:
        self.nursery = nursery
        self.net = Net(nursery)
        self.clinics = [Clinic(self.net, index) for index in range(clinics)]

    async def start(self) -> None:
        for clinic in self.clinics:
            await clinic.start(self.nursery)

    async def finalize(self, *items: Signed) -> int:
        """Makes `items` final everywhere, in a block of the present time; the height."""
        await trio.sleep(0.002)
        first = self.clinics[0]
        head, state = first.ledger.head.header, first.ledger.state
        built = build(head, state, items, time_ms=first.clock.wall_ms())
        assert not built.rejected
        for clinic in self.clinics:
            execution = execute(clinic.ledger.head.header, clinic.ledger.state, built.block)
            block = ExecutedBlock(built.block, tuple(item.transaction for item in items), execution)
            await clinic.ledger.commit([block], NO_FINALITY)
        return first.ledger.height


def world_clock() -> SimClock:
    """Wall time from the genesis block on, by the clock of the test."""
    return SimClock(lambda: round(trio.current_time() * 1000), offset_ms=CREATED_MS - EPOCH_MS)


@dataclass(frozen=True)
class Record:
    """A record of a patient of this world: what only she and its issuer's import know."""

    patient: str
    plaintext: bytes
    content: Content
    content_key: bytes
    minted: Signed

    @property
    def token(self) -> TokenId:
        return self.minted.token

    def ask(self, given: "Given | None" = None, **changes: object) -> FetchAsk:
        """A request of the grantee, or of the owner where none is given, with some fields changed."""
        by_owner = (keys(self.patient).owner, b"", "PATRQT", "the patient")
        signer, body, purpose, user = by_owner if given is None else (given.to, given.body, "TREAT", "dr b")
        asked = FetchAsk(self.token, self.content, self.content_key, signer, body, purpose, user)
        return replace(asked, **changes)  # type: ignore[arg-type]


def plaintext(size: int, seed: str = "") -> bytes:
    """`size` bytes that do not repeat."""
    return hashlib.shake_256(seed.encode()).digest(size)


async def issue(clinic: Clinic, size: int, *, patient: str = "ann") -> Record:
    """A record sealed into the clinic's vault, with its mint, which is not final yet."""
    record = plaintext(size, patient)
    content_key, salt = digest("test-key", patient.encode()), digest("test-salt", patient.encode())
    sealer = Sealer(content_key, salt, size)
    chunks = list(sealer.seal(record))
    content = sealer.finish()
    arriving = clinic.vault.create(clinic.identity, size)
    arriving.write(chunks, bytes(sealer.leaf_hashes))
    arriving.finish(content)
    await clinic.vault.close(arriving)
    return Record(patient, record, content, content_key, mint(clinic, content, content_key, patient))


def mint(clinic: Clinic, content: Content, content_key: bytes, patient: str) -> Signed:
    own = keys(patient)
    next_hash = next_key_hash(own.next.public)
    sealed = seal_key(SealedKey(content_key, LABEL, REFERENCE), to=own.enc.public, entropy=bytes(32))
    terms = Enrolment(clinic.identity, own.owner.public, next_hash, own.enc.public, FAR_MS)
    body = Mint(
        bytes(16),
        clinic.identity,
        own.owner.public,
        next_hash,
        own.enc.public,
        content,
        sealed_hash(sealed),
        sign_enrolment(terms, own.owner, NETWORK),
    )
    return signed(body, clinic.key, sealed=sealed)


@dataclass(frozen=True)
class Given:
    """A grant with the body that its grantee presents."""

    to: SigningKey
    grant_id: GrantId
    body: bytes
    registration: Signed


def grant(record: Record, to: int, **changes: object) -> Given:
    """The patient's grant to clinic number `to` for treatment, for ten days, with some fields changed."""
    fields = {
        "token": record.token,
        "grantee_key": IDS[to],
        "actions": ("read",),
        "purposes": ("TREAT",),
        "not_before_ms": CREATED_MS,
        "not_after_ms": CREATED_MS + 10 * limits.DAY_MS,
        "max_stale_s": 60,
        "scope": ("record",),
        "obligations": (),
        "break_glass": False,
        "salt": bytes(16),
    }
    body = GrantBody(**(fields | changes))  # type: ignore[arg-type]
    name, sealed = seal_grant(
        body,
        record.content_key,
        LABEL,
        REFERENCE,
        to=opening(to).public,
        owner=keys(record.patient).enc.public,
        network_limits=GENESIS.limits,
        entropy=digest("test-entropy", encode(body)),
    )
    registration = signed(
        Grant(record.token, name, sealed_hash(sealed)), keys(record.patient).owner, sealed=sealed
    )
    return Given(CLINICS[to], name, encode(body), registration)


class Sink:
    """Takes plaintext in; `pieces` as they came."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, piece: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.pieces.append(piece)

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


async def fetch(clinic: Clinic, ask: FetchAsk, *sources: int) -> tuple[Fetched, bytes]:
    """What `clinic` gets from these clinics."""
    sink = Sink()
    fetched = await clinic.fetcher.fetch(ask, [IDS[index] for index in sources], sink.write)
    return fetched, sink.content
