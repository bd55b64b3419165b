"""What strangers, and a member gone bad, throw at a running clinic: it costs them their connection.

After every attack the clinic is the same process, fresh, not much larger, shows the chain to a light
client and serves a record to a reader with a grant.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import trio

from node.demo.stage import Actor, Stage, is_daemon
from node.rpc import Caller
from protocol import limits
from protocol.blocks import BlockHash, Statement, genesis_committee, network_id
from protocol.chain import genesis_header
from protocol.codec import HASH_BYTES, decode, encode
from protocol.finality import verify_final
from protocol.keys import SIGNATURE_BYTES
from protocol.messages import audit, blob, blocks, light
from protocol.messages.consensus import BlockRequest, Forward, Submission, Vote
from protocol.messages.submit import SubmitRequest
from protocol.transactions import Content
from tests.e2e import hostile
from tests.e2e.clinics import (
    SharedRecord,
    genesis_of,
    keys_of,
    member_of,
    share_record,
    visiting,
)
from tests.e2e.hostile import Target

GROWTH_BYTES_MAX = 64 * limits.MIB
PROTOCOLS = ("consensus", "submit", "blocks", "blob", "audit", "light")
BUSY = 8  # attackers at the same time
FAR = 2**63 - 1
NOTHING = BlockHash(bytes(HASH_BYTES))
NO_SIGNATURE = bytes(SIGNATURE_BYTES)

# Well-formed, and as far from sense as their types allow. One for each kind of message that is received.
CRAFTED = (
    Vote(Statement(FAR, FAR, 255, NOTHING), 63, NO_SIGNATURE),
    Vote(Statement(0, 1, 0, NOTHING), 0, NO_SIGNATURE),
    BlockRequest(NOTHING),
    Forward((Submission(b"", b""), Submission(b"\xc1" * 1000, b"\x00"))),
    SubmitRequest((Submission(b"", b""),) * 64),
    blocks.BlocksRequest(FAR),
    blocks.BlocksRequest(-1),
    blocks.TimeRequest(b""),
    blob.PushRequest(Content(255, 1, FAR, FAR, NOTHING, b"", b"", b"")),
    blob.PushRequest(Content(1, 0, 0, 0, NOTHING, bytes(32), bytes(32), bytes(32))),
    audit.AuditQuestion(bytes(32), (), (), (), FAR),
    light.HeadersRequest(FAR, 0),
    light.LocateRequest((), 0),
    light.OwnedRequest(bytes(32), (), ()),
)


@dataclass(frozen=True)
class Scene:
    """The clinic under attack, and what it was before. `rogue` is the identity seed of a member."""

    stage: Stage
    clinic: Actor
    shared: SharedRecord
    target: Target
    rogue: bytes
    pid: int
    resident_bytes: int

    @property
    def prefix(self) -> str:
        return f"/chartmesh/{network_id(genesis_of(self.stage)).hex()[:16]}/"

    async def peers(self) -> set[str]:
        return {peer["id"] for peer in (await self.clinic.ask("peers"))["peers"]}

    async def check(self) -> None:
        """The clinic is as it was, and serves the honest."""
        assert self.clinic.pid() == self.pid
        assert is_daemon(self.pid)
        status = await self.clinic.ask("status")
        assert status["fresh"], status["warnings"]
        await self._follow_chain()
        await self._read_record()
        assert peak_bytes(self.pid) - self.resident_bytes < GROWTH_BYTES_MAX

    async def _follow_chain(self) -> None:
        """As a light client does, on nobody's word."""
        genesis = genesis_of(self.stage)
        async with visiting(self.stage, self.clinic, bytes(31) + b"v") as transport:
            caller = Caller(transport, "light", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
            raw = await caller.call(self.target.id_key, encode(light.HeadersRequest(1, 0)))
        reply = decode(light.HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
        assert reply.certificate is not None
        verify_final(genesis_header(genesis), reply.headers, reply.certificate, genesis_committee(genesis))

    async def _read_record(self) -> None:
        folder = self.stage.root / "read"
        folder.mkdir(exist_ok=True)
        got = await self.shared.reader.ask(
            "record", "get", self.shared.token, "--purpose", "TREAT", "-o", str(folder / "record")
        )
        assert got["source"] == self.target.id_key.hex()
        assert (folder / "record").read_bytes() == self.shared.content


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process had since `forget_peak`."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * limits.KIB


def forget_peak(pid: int) -> None:
    """Before that, the key file's passphrase took more memory than all that follows."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@pytest.fixture(scope="module")
def scene(stage: Stage) -> Iterator[Scene]:
    """Clinic A under attack. One of the others is down, and its keys are in the wrong hands."""
    clinic = stage.clinics["clinic-a"]
    shared = trio.run(share_record, stage, clinic, b"a record of some length" * 10_000)
    rogue = next(one for one in stage.clinics.values() if one not in (clinic, shared.reader))
    seed = keys_of(rogue).identity_seed
    trio.run(rogue.ask, "stop")
    member, pid = member_of(stage, clinic), clinic.pid()
    assert pid is not None
    port = int(member.addresses[0].rpartition("/")[2])
    target = Target("127.0.0.1", port, member.id_key)
    scene = Scene(stage, clinic, shared, target, seed, pid, resident_bytes=0)
    trio.run(scene._read_record)
    forget_peak(pid)
    yield replace(scene, resident_bytes=peak_bytes(pid))
    trio.run(rogue.ask, "start")


def identities(scene: Scene, who: str) -> Iterator[bytes]:
    """Identity seeds to attack under. Strangers have a new one each time, so that none is refused only
    for having come too often."""
    for number in itertools.count():
        yield scene.rogue if who == "member" else f"{who} {number}".encode().ljust(32, b".")


async def test_no_other_way_of_securing_a_connection_is_taken(scene: Scene) -> None:
    for protocol in ("/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0", "/mplex/6.7.0"):
        assert not await hostile.is_offer_taken(scene.target, protocol)
    await scene.check()


async def test_bytes_from_nobody_cost_only_their_connection(scene: Scene) -> None:
    for octets in hostile.BARE_BYTES.values():
        assert await hostile.send_bytes(scene.target, octets)
    await scene.check()


async def test_lines_of_a_gibibyte_are_not_held(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(BUSY):
            nursery.start_soon(partial(hostile.stream_endless_line, scene.target, pieces=200))
    await scene.check()


async def test_malformed_gossip_costs_a_member_its_connection(scene: Scene) -> None:
    async with hostile.attack_as(scene.target, scene.rogue) as attacker:
        stream = await attacker.open_protocol(hostile.MESHSUB)
        assert stream is not None
        await attacker.frame(hostile.DATA, 0, stream, hostile.malformed_gossip())
        assert await attacker.is_cut()
    await scene.check()


async def test_gossip_that_proves_nothing_is_dropped(scene: Scene) -> None:
    honest = member_of(scene.stage, scene.shared.reader).id_key
    for topic in (scene.prefix + "blocks", scene.prefix + "urgent"):
        for octets in (
            hostile.gossip_with_garbage_key(topic),
            hostile.unsigned_gossip(topic, honest),
            hostile.fake_subscriptions(5_000),
        ):
            assert await hostile.send_on(scene.target, scene.rogue, hostile.MESHSUB, octets)
    await scene.check()


async def test_strangers_do_not_gossip(scene: Scene) -> None:
    octets = hostile.malformed_gossip()
    [stranger] = islice(identities(scene, "stranger"), 1)
    assert not await hostile.send_on(scene.target, stranger, hostile.MESHSUB, octets)
    await scene.check()


@pytest.mark.parametrize("who", ["stranger", "member"])
async def test_negotiation_that_is_no_text_costs_only_its_stream(scene: Scene, who: str) -> None:
    for seed, octets in zip(identities(scene, who), hostile.PROPOSALS.values(), strict=False):
        await hostile.negotiate_badly(scene.target, seed, octets)
    await scene.check()


@pytest.mark.parametrize("who", ["stranger", "member"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_no_frame_makes_a_service_fail(scene: Scene, who: str, protocol: str) -> None:
    name, nested = f"{scene.prefix}{protocol}/1", b"\x91" * 20_000
    thrown = (*hostile.FRAMES.values(), *map(framed, (nested, *map(encode, CRAFTED))))
    for seed, octets in zip(identities(scene, who), thrown, strict=False):
        is_open = await hostile.send_on(scene.target, seed, name, octets)
        assert is_open == (who == "member" or protocol not in ("consensus", "blocks"))
    await scene.check()


async def test_more_connections_than_there_is_room_for_come_and_go(scene: Scene) -> None:
    before = await scene.peers()
    visitors = islice(identities(scene, "visitor"), limits.CONNECTIONS_MAX + 50)
    await at_once([partial(hostile.connect_and_leave, scene.target, seed) for seed in visitors])
    for _ in range(20):
        await hostile.connect_and_leave(scene.target, scene.rogue)
    assert await scene.peers() <= before
    await scene.check()


def framed(body: bytes) -> bytes:
    """As services frame what they say on a stream."""
    return len(body).to_bytes(4, "big") + body


async def at_once(acts: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """All of `acts`, some at the same time."""
    waiting = list(acts)

    async def work() -> None:
        while waiting:
            await waiting.pop()()

    async with trio.open_nursery() as nursery:
        for _ in range(BUSY):
            nursery.start_soon(work)
