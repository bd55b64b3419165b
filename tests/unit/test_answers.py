"""Every request is answered, by the right role, with or without a network."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.backup.create import Backups, Subject
from node.chain.owed import Change
from node.clinic import Clinic
from node.control.answers import Answers, Joined
from node.control.keeping import Keeping
from node.control.status import Self
from node.control.stores import StoreViews
from node.founding import read_genesis
from node.keystore import Keyring
from node.net.offenders import Offence
from node.net.peers import ConnectionStatus
from node.ports import Ports, Visitor
from node.store.memory import MemoryStore
from protocol import control
from protocol.armour import wrap
from protocol.blocks import Genesis, network_id
from protocol.codec import encode
from protocol.errors import ChartmeshError, Code
from protocol.invitations import SignedInvitation
from protocol.keys import PublicKey
from tests.clinic_world import IDS, QUOTA_BYTES, world_clock
from tests.control_samples import REQUESTS
from tests.ledger_world import CLINICS, GENESIS, NETWORK, VOTERS, Signed, after, opening
from tests.memory_net import MemoryTransport, Net
from tests.sim.entropy import SimEntropy
from tests.unit.test_membership import NEW, admit, remove, suspend

GENESIS_TEXT = wrap("GENESIS", encode(GENESIS))
CLINIC_REQUESTS = {
    control.RecordAdd,
    control.PatientEnrol,
    control.PatientList,
    control.PatientShow,
    control.RecordList,
    control.RecordShow,
    control.RecordGet,
    control.RecordVerify,
    control.AccessAsk,
    control.AccessList,
    control.AccessShow,
    control.AuditList,
    control.AuditVerify,
    control.NetworkInvite,
    control.NetworkApprove,
    control.NetworkSuspend,
    control.NetworkRemove,
    control.NetworkEvidence,
}
KEYS = control.KeysResult(
    id="02", fingerprint="ab", vote_key="03", vote_fingerprint="cd", generation=0, is_protected=True
)


PAGE = control.PageOpenResult(url="http://127.0.0.1:1/ab/enter/cd", expires_s=120)


class Silence:
    """A `control.Exchange` without content, in which nothing is shown."""

    async def progress(
        self, step: str, *, done: int = 0, total: int | None = None, unit: str = "bytes"
    ) -> None:
        await trio.lowlevel.checkpoint()

    def read_data(self) -> AsyncIterator[bytes]:
        return trio.open_memory_channel[bytes](0)[1]

    async def write_data(self, chunk: bytes) -> None:
        await trio.lowlevel.checkpoint()


class Daemon:
    """What the answers may ask of the daemon around them."""

    def __init__(self, role: str = "clinic") -> None:
        own = Self(
            role=role,
            name="clinic-0",
            identity=IDS[0],
            began_ms=world_clock().elapsed_ms(),
            quota_bytes=QUOTA_BYTES,
            is_protected=False,
            clock=world_clock(),
        )
        self.answers = Answers(own, self)
        self.was_joined: list[Genesis] = []
        self.was_visited: list[SignedInvitation] = []
        self.is_stopping = False

    async def join(self, genesis: Genesis) -> None:
        await trio.lowlevel.checkpoint()
        self.was_joined.append(genesis)

    async def visit(self, signed: SignedInvitation) -> Genesis:
        await trio.lowlevel.checkpoint()
        self.was_visited.append(signed)
        return GENESIS

    async def apply(self, signed: SignedInvitation) -> Clinic:
        raise AssertionError("nobody applies here")

    def keys(self) -> control.KeysResult:
        return KEYS

    async def rotate(self) -> control.KeysResult:
        await trio.lowlevel.checkpoint()
        return KEYS

    async def open_page(self) -> control.PageOpenResult:
        await trio.lowlevel.checkpoint()
        return PAGE

    def stop(self) -> None:
        self.is_stopping = True

    async def ask(self, request: Any) -> Any:
        return await self.answers.answer(request, Silence())

    async def refuse(self, request: Any) -> Code:
        with pytest.raises(ChartmeshError) as raised:
            await self.ask(request)
        assert raised.value.hint
        return raised.value.code


def keeping(folder: Path, **databases: MemoryStore) -> Keeping:
    """What keeps these databases of clinic 0, whose data directory is `folder`."""
    subject = Subject("clinic", IDS[0].hex(), "clinic-0", NETWORK.hex(), "1", folder)
    return Keeping(
        Backups(subject=subject, databases=databases, clock=world_clock(), offload=InlineOffload()),
        StoreViews(databases=databases, data_dir=folder, offload=InlineOffload(), used=lambda: (1, 2)),
    )


@dataclass
class Peerage:
    """Peers, an offender, and whom the administrator kept out for how long."""

    connected: Sequence[ConnectionStatus] = ()
    blocked: list[tuple[PublicKey, float]] = field(default_factory=list)

    def connections(self) -> Sequence[ConnectionStatus]:
        return self.connected

    def offences(self) -> Sequence[Offence]:
        return [
            Offence(IDS[2], "/ip4/192.0.2.7/tcp/1", "the peer pings too often", 3, 2_000, 9_000),
            Offence(None, "192.0.2.9", "it connects too often", 1, 1_000, None),
        ]

    def block(self, peer: PublicKey, for_ms: float) -> None:
        self.blocked.append((peer, for_ms))


def visit_nobody() -> Visitor:
    raise AssertionError("this clinic does not run")


def clinic(net: Net, genesis: Genesis = GENESIS) -> Clinic:
    """Clinic 0 with everything in memory; not running."""
    ports = Ports(
        transport=MemoryTransport(net, IDS[0]),
        ledger_store=MemoryStore(),
        blob_store=MemoryStore(),
        audit_store=MemoryStore(),
        votes=None,
        clock=world_clock(),
        entropy=SimEntropy("answers"),
        offload=InlineOffload(),
        visit=visit_nobody,
    )
    keys = Keyring(CLINICS[0], VOTERS[0], opening(0), bytes(32))
    return Clinic(ports=ports, genesis=genesis, keys=keys, quota_bytes=QUOTA_BYTES)


@pytest.fixture
async def joined(nursery: trio.Nursery) -> Daemon:
    """A daemon whose clinic has found its network; two of the other three are connected."""
    net, daemon = Net(nursery), Daemon()
    part = clinic(net)
    for peer in IDS[1:3]:
        MemoryTransport(net, peer)
    peerage = Peerage([connection(IDS[1]), connection(PublicKey(bytes(33)))])
    daemon.answers.joined = Joined(part, peerage, keeping(Path()))
    return daemon


def connection(peer: PublicKey) -> ConnectionStatus:
    return ConnectionStatus(peer, "/ip4/127.0.0.1/tcp/1", "in", 1.5, "", 1_000, 1, 0)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("role", ["clinic", "light"])
async def test_before_there_is_a_network_each_request_is_answered_or_says_what_is_missing(
    role: str, request_: Any
) -> None:
    daemon, kind = Daemon(role), type(request_)
    match request_:
        case control.Status() | control.Peers() | control.Members() | control.Stop():
            assert isinstance(await daemon.ask(request_), control.result_of(kind))
        case control.KeysShow() | control.KeysRotate() | control.PageOpen():
            assert isinstance(await daemon.ask(request_), control.result_of(kind))
        case control.NetworkJoin():
            assert await daemon.refuse(request_) == Code.GENESIS
        case control.PeerBlock() | control.BackupCreate():
            assert await daemon.refuse(request_) == Code.NOT_INITIALISED
        case control.StoreStat() | control.StoreVerify() | control.StoreGc():
            assert await daemon.refuse(request_) == Code.NOT_INITIALISED
        case control.NetworkInvitation() | control.NetworkApply():
            assert await daemon.refuse(request_) == Code.INVITATION
        case _:
            is_own = (kind in CLINIC_REQUESTS) == (role == "clinic")
            assert await daemon.refuse(request_) == (Code.NOT_INITIALISED if is_own else Code.ROLE)


async def test_a_node_without_a_network_says_so_and_that_its_keys_lie_open() -> None:
    status = await Daemon().ask(control.Status())
    assert (status.network, status.final_age_s, status.fresh) == (None, None, False)
    assert any("no network" in warning for warning in status.warnings)
    assert any("without a passphrase" in warning for warning in status.warnings)


async def test_joining_hands_the_genesis_over_and_tells_its_quorum() -> None:
    daemon = Daemon()
    result = await daemon.ask(control.NetworkJoin(genesis=GENESIS_TEXT))
    assert daemon.was_joined == [read_genesis(GENESIS_TEXT)]
    assert (result.network, result.members, result.quorum) == (NETWORK.hex(), 4, 3)


async def test_stop_is_answered_and_asks_the_daemon_to_end() -> None:
    daemon = Daemon()
    await daemon.ask(control.Stop())
    assert daemon.is_stopping


async def test_a_clinic_tells_where_it_stands(joined: Daemon) -> None:
    status = await joined.ask(control.Status())
    assert (status.network, status.height, status.epoch) == (NETWORK.hex(), 0, 0)
    assert (status.members, status.reachable, status.quorum, status.peers) == (4, 3, 3, 2)
    assert status.state_root is not None
    assert any("four members" in warning for warning in status.warnings)
    assert any("does not vote" in warning for warning in status.warnings)


async def test_a_clinic_is_stale_until_its_clock_was_found_right(
    joined: Daemon, autojump_clock: trio.abc.Clock
) -> None:
    status = await joined.ask(control.Status())
    assert not status.fresh
    assert any("a quorum of validators (3) tells the time" in warning for warning in status.warnings)
    assert joined.answers.joined is not None
    part = joined.answers.joined.node
    assert isinstance(part, Clinic)
    check = part.services.clock_check
    for behind_ms in (-10_001, -10_000, 10_000, 10_001):
        check._members_ms = check._ahead_ms() + behind_ms
        status = await joined.ask(control.Status())
        side = "behind" if behind_ms > 0 else "ahead of"
        assert status.fresh is (abs(behind_ms) == 10_000)
        said = any(f"10 s {side} the members'" in warning for warning in status.warnings)
        assert said is not status.fresh
        assert not any("stale" in warning for warning in status.warnings)
    await trio.sleep(61)
    status = await joined.ask(control.Status())
    assert not status.fresh
    assert any("stale" in warning for warning in status.warnings)


async def test_a_clinic_says_how_many_sealed_keys_it_lacks(joined: Daemon) -> None:
    status = await joined.ask(control.Status())
    assert status.owed_sealed == 0
    assert not any("sealed" in warning for warning in status.warnings)
    assert joined.answers.joined is not None
    part = joined.answers.joined.node
    assert isinstance(part, Clinic)
    part.services.ledger.owed.changed(Change((), (), 3))
    status = await joined.ask(control.Status())
    assert status.owed_sealed == 3
    assert any(warning.startswith("3 sealed keys") for warning in status.warnings)


@pytest.mark.parametrize(
    ("change", "word"), [(suspend(CLINICS[0]), "suspended"), (remove(CLINICS[0]), "removed")]
)
async def test_a_clinic_whose_place_has_ended_says_so(joined: Daemon, change: Signed, word: str) -> None:
    assert not any(word in warning for warning in (await joined.ask(control.Status())).warnings)
    move_on(joined, change)
    assert any(word in warning for warning in (await joined.ask(control.Status())).warnings)


async def test_peers_are_named_as_the_ledger_names_members(joined: Daemon) -> None:
    assert joined.answers.joined is not None
    peerage = joined.answers.joined.peerage
    assert isinstance(peerage, Peerage)
    peerage.connected = [connection(IDS[1]), connection(NEW.public)]
    move_on(joined, admit(), remove(CLINICS[1], CLINICS[:3]))
    peers = (await joined.ask(control.Peers())).peers
    assert [(one.name, one.role) for one in peers] == [("", "stranger"), ("new", "member")]


def move_on(daemon: Daemon, *changes: Signed) -> None:
    """The clinic's ledger as after `changes`."""
    assert daemon.answers.joined is not None
    part = daemon.answers.joined.node
    assert isinstance(part, Clinic)
    part.services.ledger.state = after(part.services.ledger.state, *changes)
    part.services.membership.update(part.services.ledger.state)


async def test_a_clinic_lists_members_with_what_it_heard_of_them(joined: Daemon) -> None:
    assert joined.answers.joined is not None
    part = joined.answers.joined.node
    assert isinstance(part, Clinic)
    part.services.clock_check.heights[IDS[1]] = 7
    members = (await joined.ask(control.Members())).members
    assert [(one.is_self, one.reachable, one.last_height) for one in members] == [
        (True, True, 0),
        (False, True, 7),
        (False, True, None),
        (False, False, None),
    ]


async def test_peers_are_members_by_name_or_strangers(joined: Daemon) -> None:
    peers = (await joined.ask(control.Peers())).peers
    assert [(one.name, one.role) for one in peers] == [("clinic-1", "member"), ("", "stranger")]


async def test_offenders_are_named_with_reason_and_times(joined: Daemon) -> None:
    member, address = (await joined.ask(control.Peers())).offenders
    assert (member.id, member.name, member.role) == (IDS[2].hex(), "clinic-2", "member")
    assert (member.reason, member.count) == ("the peer pings too often", 3)
    assert (member.last, member.blocked_until) == (control.utc(2_000), control.utc(9_000))
    assert (address.id, address.address, address.blocked_until) == (None, "192.0.2.9", None)


async def test_a_peer_is_kept_out_by_the_beginning_of_its_id(joined: Daemon) -> None:
    assert joined.answers.joined is not None
    peerage = joined.answers.joined.peerage
    assert isinstance(peerage, Peerage)
    whole, unknown = IDS[1].hex(), PublicKey(b"\x01" + b"z" * 32)
    await joined.ask(control.PeerBlock(id=whole[:16], for_ms=1_000))
    await joined.ask(control.PeerBlock(id=unknown.hex(), for_ms=0))
    assert peerage.blocked == [(IDS[1], 1_000), (unknown, 0)]
    assert await joined.refuse(control.PeerBlock(id="ffffff", for_ms=1)) == Code.USAGE
    assert await joined.refuse(control.PeerBlock(id="01" + "0" * 4, for_ms=1)) == Code.USAGE


@pytest.mark.parametrize(("count", "words"), [(1, "one member"), (2, "two members"), (3, "three members")])
async def test_a_small_network_says_what_it_does_not_tolerate(
    count: int, words: str, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    daemon, genesis = Daemon(), replace(GENESIS, members=GENESIS.members[:count])
    daemon.answers.joined = Joined(clinic(Net(nursery), genesis), Peerage(), keeping(Path()))
    status = await daemon.ask(control.Status())
    assert status.network == network_id(genesis).hex()
    assert any(words in warning for warning in status.warnings)
