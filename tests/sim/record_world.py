"""Clinics with their record services in the simulated world, and a patient beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from node.clinic import Clinic
from node.keystore import Keyring
from node.light.transact import Transactor
from node.ports import Ports
from node.records.services import RecordServices
from protocol import limits
from protocol.blocks import Genesis
from protocol.codec import digest
from protocol.control import MyCode, MyShare, RecordAdd, RecordAdded, RecordGet, RecordGetResult
from protocol.keys import PublicKey
from protocol.limits import DAY_MS, NetworkLimits
from protocol.messages.consensus import Submission
from protocol.transactions import Erase, TokenId, sign_transaction
from protocol.wallet import cold_master, next_key
from tests.clinic_world import plaintext
from tests.sim.light_world import ENTROPY, Someone, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import BuildNode, Cluster, Seat, SimNode
from tests.sim.serve_watch import ServeWatch
from tests.sim.world import World, simulate

QUOTA_BYTES = limits.GIB
Story = Callable[[Cluster, Someone, SimNetwork], Awaitable[None]]
RECORD = b'{"resourceType": "Bundle", ' + plaintext(3 * limits.CHUNK_BYTES).hex().encode()


def at_rest_key(identity: PublicKey) -> bytes:
    """The key under which a clinic of the simulator keeps ciphertext."""
    return digest("test-at-rest", identity)


def build_clinic(ports: Ports, genesis: Genesis, seat: Seat) -> Clinic:
    """A whole clinic: the ledger, the gateway and the records, as the daemon runs it."""
    keys = Keyring(seat.id_key, seat.vote_key, seat.enc_key, at_rest_key(seat.id_key.public))
    return Clinic(ports=ports, genesis=genesis, keys=keys, quota_bytes=QUOTA_BYTES)


class Screen:
    """A `control.Exchange`: gives `content`, and keeps what is shown."""

    def __init__(self, content: bytes = b"", *, piece_bytes: int = 100_000) -> None:
        self._content, self._piece_bytes = content, piece_bytes
        self.steps: list[str] = []
        self.shown = bytearray()

    async def progress(
        self, step: str, *, done: int = 0, total: int | None = None, unit: str = "bytes"
    ) -> None:
        await trio.lowlevel.checkpoint()
        self.steps.append(step)

    def read_data(self) -> AsyncIterator[bytes]:
        starts = range(0, len(self._content), self._piece_bytes)
        send, receive = trio.open_memory_channel[bytes](len(starts))
        for start in starts:
            send.send_nowait(self._content[start : start + self._piece_bytes])
        send.close()
        return receive

    async def write_data(self, chunk: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.shown += chunk


def clinic(node: SimNode) -> RecordServices:
    """The running record services of a clinic."""
    return whole(node).records


def whole(node: SimNode) -> Clinic:
    assert node.life is not None
    assert isinstance(node.life.service, Clinic)
    return node.life.service


async def receive_code(someone: Someone, node: SimNode, count: int = 1, person: str | None = None) -> str:
    return (await someone.my.code(MyCode(clinic=node.name, count=count, person=person))).code


async def add(node: SimNode, code: str, content: bytes, **fields: object) -> RecordAdded:
    """A record added at a clinic."""
    asked = {"name": "bundle.json", "size": len(content), "code": code, "title": "Letter", "patient": "Ann"}
    request = RecordAdd(**(asked | fields))  # type: ignore[arg-type]
    [added] = (await clinic(node).issuer.add(request, Screen(content))).records
    return added


async def get(
    node: SimNode, identity: str, purpose: str = "TREAT", **fields: object
) -> tuple[RecordGetResult, bytes, Screen]:
    """What a clinic gets of a record, whole."""
    screen = Screen()
    request = RecordGet(**({"id": identity, "purpose": purpose, "user": "dr b"} | fields))  # type: ignore[arg-type]
    result = await clinic(node).reader.get(request, screen)
    return result, bytes(screen.shown), screen


def outside(cluster: Cluster, token: str) -> SimNode:
    """A clinic that holds no copy of the record."""
    name = TokenId(bytes.fromhex(token))
    for node in cluster.nodes:
        held = whole(node).services.ledger.state.token(name)
        assert held is not None
        if not clinic(node).vault.holds(held.issuer, held.content.root):
            return node
    raise AssertionError("every clinic has a copy")


def play(
    story: Story,
    *,
    seed: int = 1,
    build: BuildNode = build_clinic,
    network_type: type[SimNetwork] = SimNetwork,
    limits: NetworkLimits | None = None,
) -> None:
    """`story` with four clinics and one patient, all up and fresh, and all that is served watched."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            network = network_type(world)
            cluster = Cluster(world, network, nursery, build, size=4, limits=limits)
            ServeWatch(cluster, network).look()
            cluster.start()
            someone = someone_new(cluster, network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            await story(cluster, someone, network)
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(tell, seed)


async def share(someone: Someone, token: str, node: SimNode) -> str:
    """A grant to a clinic for treatment, known there; its id."""
    asked = MyShare(records=(token,), clinic=node.name, for_ms=30 * DAY_MS, purposes=("TREAT",))
    [grant] = (await someone.my.share(asked)).grants
    await trio.sleep(5)
    return grant.grant


async def erase(someone: Someone, name: str) -> None:
    """Erases a record as its owner with her words would."""
    await someone.my.records()
    [record] = [one for one in someone.wallet.records() if one.token.hex() == name]
    owner, cold = someone.wallet.owner_key(record), next_key(cold_master(ENTROPY), record.index)
    body = Erase(record.token, record.generation, cold.public)
    raw = sign_transaction(body, (owner, cold), someone.chain.network)
    transactor = Transactor(chain=someone.chain, clinics=someone.clinics)
    assert await transactor.submit([Submission(raw, b"")])
