"""A clinic under attack, and the honest who go on using it meanwhile.

One of four clinics is stopped and its keys are in the wrong hands; the clinic under attack goes on with the
other two. Attackers come from addresses of the loopback network that no member has.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from cli.client import call
from cli.launch import LOG_NAME
from cli.settings import Place
from node import paths
from node.adapters import SystemClock, SystemEntropy
from node.bench.load import percentile
from node.bench.workload import Workload
from node.demo.stage import Actor, Stage, is_daemon
from node.net.libp2p_host import Libp2pTransport
from node.rpc import Caller
from protocol import limits
from protocol.blocks import NetworkId, genesis_committee, network_id
from protocol.chain import genesis_header
from protocol.codec import decode, encode
from protocol.control import Ask, Document, OffenderItem, PeerBlock, Peers, RecordGet, Status
from protocol.finality import verify_final
from protocol.keys import PublicKey, SigningKey
from protocol.messages.consensus import Submission
from protocol.messages.light import (
    WAIT_MS_MAX,
    HeadersReply,
    HeadersRequest,
    LocateReply,
    LocateRequest,
)
from protocol.messages.submit import SUBMISSIONS_MAX, SubmitRequest, decode_submit_reply
from protocol.transactions import TransactionId, transaction_id
from tests.e2e.clinics import (
    SharedRecord,
    genesis_of,
    keys_of,
    member_of,
    share_record,
    until,
    visiting,
)
from tests.e2e.hostile import Target

GROWTH_BYTES_MAX = 64 * limits.MIB
FETCH_P99_S = 2.0
FINAL_P99_S = 5.0
PAUSE_S = 0.1
ROUNDS_MIN = 5  # of the honest, in each attack
CONTENT = b"a record of some length" * 10_000

R = TypeVar("R", bound=Document)


@dataclass
class Honest:
    """How long the honest waited, in seconds: for a record, and for a transaction to be final."""

    fetches: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)

    def judge(self) -> None:
        """Raises AssertionError where they waited longer than they should."""
        assert percentile(self.fetches, 0.99) < FETCH_P99_S, self.fetches
        assert percentile(self.finals, 0.99) < FINAL_P99_S, self.finals


@dataclass(frozen=True)
class Siege:
    """The clinic under attack, and what it was before. `rogue` is the identity seed of a member."""

    stage: Stage
    clinic: Actor
    shared: SharedRecord
    target: Target
    rogue: bytes
    pid: int
    workload: Workload
    resident_bytes: int
    honest: Honest = field(default_factory=Honest)

    @property
    def prefix(self) -> str:
        return f"/chartmesh/{network_id(genesis_of(self.stage)).hex()[:16]}/"

    def stranger(self, number: int = 66) -> Target:
        """The clinic as it is seen from an address of no member."""
        return replace(self.target, source=f"127.0.0.{number}")

    def log_bytes(self) -> int:
        """The length of the clinic's log."""
        return (self.clinic.data_dir / LOG_NAME).stat().st_size

    async def ask(self, request: Ask[R]) -> R:
        """What the clinic's administrator is told."""
        return await ask(self.clinic, request)

    async def peers(self) -> set[str]:
        return {peer.id for peer in (await self.ask(Peers())).peers}

    async def offenders(self) -> list[OffenderItem]:
        return list((await self.ask(Peers())).offenders)

    async def forgive(self, seed: bytes | None = None) -> None:
        """Lets the rogue, or whoever has this seed, in again: it offends more often than is put up with."""
        key = SigningKey(self.rogue if seed is None else seed).public
        await self.ask(PeerBlock(id=key.hex(), for_ms=0))

    async def require_named(self, who: bytes | str, reason: str) -> OffenderItem:
        """The offender, an identity seed or an address, as `peers` names it, once it is disconnected."""
        name = who if isinstance(who, str) else SigningKey(who).public.hex()
        found: list[OffenderItem] = []
        with trio.move_on_after(20):
            while not found:
                found = [one for one in await self.offenders() if name in (one.id, one.address)]
                await trio.sleep(0.02)
        assert found, f"{name} is not named"
        assert reason in found[0].reason, found[0]
        assert name not in await self.peers()
        return found[0]

    async def check(self) -> None:
        """The clinic is the process that it was, no larger than it may be, and serves the honest."""
        self.check_process()
        status = await self.ask(Status())
        assert status.fresh, status.warnings
        await self._follow_chain()
        await self.read_record()

    def check_process(self) -> None:
        assert self.clinic.pid() == self.pid
        assert is_daemon(self.pid)
        grown = peak_bytes(self.pid) - self.resident_bytes
        assert grown < GROWTH_BYTES_MAX, f"{grown / limits.MIB:.1f} MiB"

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Honest]:
        """Honest people use the clinic until the block ends and some time longer; then they are asked how
        long they waited."""
        seen, over = Honest(), trio.Event()
        async with self.light_client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_reading, seen, over)
            nursery.start_soon(self._keep_submitting, client, seen, over)
            await until(lambda: seen.fetches and seen.finals, "the honest to begin")
            yield seen
            await until(
                lambda: min(len(seen.fetches), len(seen.finals)) >= ROUNDS_MIN, "some more to be served"
            )
            over.set()
        self.check_process()
        self.honest.fetches.extend(seen.fetches)
        self.honest.finals.extend(seen.finals)
        seen.judge()

    @asynccontextmanager
    async def light_client(self, name: bytes = b"honest") -> AsyncIterator["LightClient"]:
        async with visiting(self.stage, self.clinic, name.ljust(32, b".")) as transport:
            yield LightClient(transport, self.target.id_key)

    async def read_record(self) -> None:
        """A clinic with a grant fetches the record from the clinic under attack."""
        got: list[bytes] = []
        request = RecordGet(id=self.shared.token, purpose="TREAT", user="dr.b")
        result = await ask(self.shared.reader, request, sink=got.append)
        assert result.source == self.target.id_key.hex()
        assert b"".join(got) == self.shared.content

    async def view(self) -> int:
        """The view of the newest final block."""
        height = (await self.ask(Status())).height
        async with self.light_client() as client:
            raw = await client.light.call(self.target.id_key, encode(HeadersRequest(height, 0)))
        return decode(HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).headers[-1].view

    async def _keep_reading(self, seen: Honest, over: trio.Event) -> None:
        while not over.is_set():
            start_s = trio.current_time()
            await self.read_record()
            seen.fetches.append(trio.current_time() - start_s)
            await trio.sleep(PAUSE_S)

    async def _keep_submitting(self, client: "LightClient", seen: Honest, over: trio.Event) -> None:
        while not over.is_set():
            start_s = trio.current_time()
            await client.make_final(self.workload.mints(1))
            seen.finals.append(trio.current_time() - start_s)
            await trio.sleep(PAUSE_S)

    async def _follow_chain(self) -> None:
        """As a light client does, on nobody's word."""
        genesis = genesis_of(self.stage)
        async with self.light_client() as client:
            raw = await client.light.call(self.target.id_key, encode(HeadersRequest(1, 0)))
        reply = decode(HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
        assert reply.finality is not None
        verify_final(genesis_header(genesis), reply.headers, reply.finality, genesis_committee(genesis))


class LightClient:
    """Anyone who submits transactions and waits until they are final."""

    def __init__(self, transport: Libp2pTransport, clinic: PublicKey) -> None:
        self.clinic = clinic
        self.submit = Caller(transport, "submit", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        self.light = Caller(transport, "light", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)

    async def taken(self, submissions: list[Submission]) -> list[bool]:
        """Which of them the clinic took."""
        raw = await self.submit.call(self.clinic, encode(SubmitRequest(tuple(submissions))))
        return list(decode_submit_reply(raw, len(submissions)).taken)

    async def positions(self, submissions: list[Submission]) -> list[tuple[int, int] | None]:
        """Where each is final, by height and place; None for one that is not."""
        names = tuple(TransactionId(transaction_id(item.transaction)) for item in submissions)
        raw = await self.light.call(self.clinic, encode(LocateRequest(names, 0)))
        located = decode(LocateReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).located
        return [None if one is None else (one.height, one.index) for one in located]

    async def make_final(self, submissions: list[Submission]) -> None:
        for start in range(0, len(submissions), SUBMISSIONS_MAX):
            batch = submissions[start : start + SUBMISSIONS_MAX]
            # A mempool that is full for a moment is no reason to give up.
            while not all(await self.taken(batch)):  # noqa: ASYNC110
                await trio.sleep(PAUSE_S)
        missing = [TransactionId(transaction_id(item.transaction)) for item in submissions]
        while missing:
            asked = tuple(missing[:SUBMISSIONS_MAX])
            raw = await self.light.call(self.clinic, encode(LocateRequest(asked, WAIT_MS_MAX)))
            located = decode(LocateReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).located
            done = {name for name, found in zip(asked, located, strict=True) if found is not None}
            missing = [name for name in missing if name not in done]


async def ask(actor: Actor, request: Ask[R], **options: Any) -> R:
    """What the daemon of a node answers to a request of its administrator."""
    place = Place(actor.data_dir, paths.socket(actor.data_dir))
    return await trio.to_thread.run_sync(partial(call, place, request, **options))


@contextmanager
def besieged(stage: Stage) -> Iterator[Siege]:
    """Clinic A under attack, with the keys of one of the others in the wrong hands."""
    clinic = stage.clinics["clinic-a"]
    shared = trio.run(share_record, stage, clinic, CONTENT)
    rogue = next(one for one in stage.clinics.values() if one not in (clinic, shared.reader))
    seed = keys_of(rogue).identity_seed
    trio.run(rogue.ask, "stop")
    member, pid = member_of(stage, clinic), clinic.pid()
    assert pid is not None
    port = int(member.addresses[0].rpartition("/")[2])
    siege = Siege(
        stage,
        clinic,
        shared,
        Target("127.0.0.1", port, member.id_key),
        seed,
        pid,
        new_workload(stage, keys_of(clinic).identity_seed),
        resident_bytes=0,
    )
    trio.run(siege.read_record)
    forget_peak(pid)
    try:
        yield replace(siege, resident_bytes=peak_bytes(pid))
    finally:
        trio.run(rogue.ask, "start")


def new_workload(stage: Stage, issuer: bytes, network: NetworkId | None = None) -> Workload:
    """Records that the clinic with this identity seed issues, none of which was there before."""
    now_ms = SystemClock().wall_ms()
    return Workload(
        network or network_id(genesis_of(stage)),
        [SigningKey(issuer)],
        not_after_ms=now_ms + limits.DAY_MS,
        first=int.from_bytes(SystemEntropy().bytes(8)),
    )


def identities(siege: Siege, who: str) -> Iterator[bytes]:
    """Identity seeds to attack under. Strangers have a new one each time, so that none is refused only
    for having come too often."""
    for number in itertools.count():
        yield siege.rogue if who == "member" else f"{who} {number}".encode().ljust(32, b".")


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process had since `forget_peak`."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * limits.KIB


def forget_peak(pid: int) -> None:
    """Before that, the key file's passphrase took more memory than all that follows."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
