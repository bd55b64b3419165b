"""What `status`, `peers` and `network members` say of a running node."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from node.clinic import Clinic
from node.control.halted import clinic_halt_warning, ended_warning, halted_for, light_halt_warning
from node.control.membership import membership_warnings
from node.light.client import LightClient
from node.members.applicant import Applicant
from node.net.offenders import Offence
from node.net.peers import ConnectionStatus
from node.ports import Clock
from node.version import program_version
from protocol.access import is_fresh
from protocol.blocks import Member
from protocol.control import (
    MemberItem,
    MembersResult,
    OffenderItem,
    PeerItem,
    PeersResult,
    StatusResult,
    utc,
)
from protocol.errors import Code
from protocol.keys import PublicKey

NEARLY_FULL = 0.9
_BOUNDS = "two of its members that lose their vote files stop it for good"
_SMALL_NETWORK = {
    1: "a network of one member: a crash stops it, and losing its vote file needs a signed reset",
    2: "a network of two members: a crash stops it, and losing a vote file needs a signed reset",
    3: f"a network of three members: it tolerates a crash and no hostile member, and {_BOUNDS}",
    4: f"a network of four members: {_BOUNDS}",
}


@dataclass(frozen=True, slots=True)
class Self:
    """This node, whether or not it has a network. `began_ms` is elapsed time."""

    role: str
    name: str
    identity: PublicKey
    began_ms: int
    quota_bytes: int
    is_protected: bool
    clock: Clock
    storage_warnings: Callable[[], Iterable[str]] = tuple


def status_without_network(own: Self) -> StatusResult:
    """Before the node has joined one."""
    advice = (
        "this node has no network yet: chartmesh network join, with a genesis file or an invitation code"
    )
    return replace(_blank(own), warnings=(advice, *_own_warnings(own)))


def clinic_status(own: Self, clinic: Clinic) -> StatusResult:
    services, stores = clinic.services, clinic.ports
    membership, header = services.membership, services.ledger.head.header
    freshness, progress = services.freshness(), services.sync.progress
    bounds, age_ms = clinic.genesis.limits, freshness.age_ms
    is_stale = age_ms >= bounds.max_stale_default_ms
    reachable = 1 + len(set(clinic.ports.transport.connected()) & set(membership.keys))
    disks = (stores.ledger_store, stores.blob_store, stores.audit_store)
    return replace(
        _blank(own),
        network=clinic.network.hex(),
        epoch=membership.committee.epoch,
        height=header.height,
        known_height=progress.known_height,
        catch_up_blocks_per_s=progress.blocks_per_s,
        catch_up_left_s=progress.left_s,
        owed_sealed=services.ledger.owed.count,
        state_root=header.state_root.hex(),
        final_age_s=age_ms / 1000,
        members=len(membership.keys),
        reachable=reachable,
        quorum=membership.committee.quorum,
        fresh=is_fresh(freshness, bounds),
        peers=len(clinic.ports.transport.connected()),
        mempool=len(services.mempool),
        disk_bytes=sum(disk.disk_bytes() for disk in disks),
        disk_total_bytes=own.quota_bytes,
        halted=halted_for(clinic),
        warnings=(*_clinic_warnings(clinic, own, is_stale, reachable), *_own_warnings(own)),
    )


def light_status(own: Self, client: LightClient) -> StatusResult:
    chain, header = client.chain, client.chain.head.header
    warnings = [] if chain.is_fresh() else ["no clinic shows a fresh final block"]
    warnings += [
        f"network.clinics: {name} is no member of this network now, and is not asked"
        for name in client.clinics.outsiders
    ]
    if chain.found is not None:
        warnings = [light_halt_warning(chain.found)]
    return replace(
        _blank(own),
        network=chain.network.hex(),
        epoch=header.epoch,
        height=header.height,
        state_root=header.state_root.hex(),
        final_age_s=chain.age_ms() / 1000,
        members=len(client.clinics.members),
        reachable=len(client.clinics.reachable()),
        quorum=chain.committee.quorum,
        fresh=chain.is_fresh(),
        peers=len(client.transport.connected()),
        disk_bytes=client.store.disk_bytes(),
        halted="" if chain.found is None else Code.TWO_CHAINS,
        warnings=(*warnings, *_own_warnings(own)),
    )


def applicant_status(own: Self, applicant: Applicant) -> StatusResult:
    """Of a clinic that waits to be admitted."""
    return replace(
        _blank(own),
        network=applicant.network.hex(),
        members=len(applicant.genesis.members),
        reachable=int(applicant.inviter.is_connected),
        quorum=0 if applicant.reply is None else applicant.reply.needed,
        peers=len(applicant.transport.connected()),
        warnings=(_how_far(applicant), *_own_warnings(own)),
    )


def members_without_ledger(
    members: Iterable[Member], voting: Container[PublicKey], connected: Container[PublicKey]
) -> MembersResult:
    """What is known of members without the ledger: of the founders by the genesis file, or of those that
    were proven to a light client. `voting` are vote keys."""
    return MembersResult(
        members=tuple(
            MemberItem(
                id=member.id_key.hex(),
                name=member.name,
                role="validator" if member.vote_key in voting else "follower",
                reachable=member.id_key in connected,
                last_height=None,
                votes=member.vote_key in voting,
            )
            for member in members
        )
    )


def member_names(node: Clinic | LightClient | Applicant) -> dict[PublicKey, str]:
    """The members by identity key: as the ledger has them, or as far as they are known without it."""
    match node:
        case Clinic(services=services):
            return {one.id_key: one.name for one in services.membership.members}
        case LightClient(clinics=clinics):
            return {one.id_key: one.name for one in clinics.members}
        case Applicant(genesis=genesis):
            return {one.id_key: one.name for one in genesis.members}


def peers_of(
    names: Mapping[PublicKey, str], connections: Sequence[ConnectionStatus], offences: Sequence[Offence]
) -> PeersResult:
    """Who is connected, the oldest connection first, and who misbehaved, the newest offence first.

    `names` are those of the members.
    """
    return PeersResult(
        peers=tuple(
            PeerItem(
                id=one.id_key.hex(),
                name=names.get(one.id_key, ""),
                role=_role(one.id_key, names),
                address=one.address,
                direction=one.direction,
                round_trip_ms=one.round_trip_ms,
                agent=one.agent,
                fresh_since=utc(one.opened_ms),
            )
            for one in connections
        ),
        offenders=tuple(
            OffenderItem(
                id=None if one.id_key is None else one.id_key.hex(),
                name="" if one.id_key is None else names.get(one.id_key, ""),
                role=_role(one.id_key, names),
                address=one.address,
                reason=one.reason,
                count=one.count,
                last=utc(one.last_ms),
                blocked_until=None if one.blocked_until_ms is None else utc(one.blocked_until_ms),
            )
            for one in offences
        ),
    )


def _role(key: PublicKey | None, names: Container[PublicKey]) -> str:
    return "member" if key in names else "stranger"


def _clinic_warnings(clinic: Clinic, own: Self, is_stale: bool, reachable: int) -> Iterator[str]:
    services, membership = clinic.services, clinic.services.membership
    count = len(membership.validators)
    if services.halt.found is not None:
        yield clinic_halt_warning(clinic, services.halt.found)
        return
    if services.exclusion.ended is not None:
        yield ended_warning(clinic, services.exclusion.ended.role)
        return
    part = services.ledger.state.member(own.identity)
    if part is not None and not part.is_active:
        yield ended_warning(clinic, part.role)
    if count in _SMALL_NETWORK:
        yield _SMALL_NETWORK[count]
    if services.journal.is_lost:
        yield (
            f"this node only learns and does not vote: {services.journal.loss}. "
            "A new vote key lets it vote again: chartmesh keys rotate"
        )
    yield from membership_warnings(clinic)
    yield from _clock_warnings(clinic)
    if is_stale:
        members, quorum = len(membership.keys), membership.committee.quorum
        yield (
            f"stale, so nothing is served: {reachable} of {members} members reach each other, {quorum} must"
        )
    if services.ledger.owed.count:
        yield (
            f"{services.ledger.owed.count} sealed keys of records or grants were left out of the blocks "
            "that members gave this node: it asks the others for them"
        )
    yield from _copy_warnings(clinic)
    if clinic.records.vault.used_bytes > NEARLY_FULL * own.quota_bytes:
        yield "the room for ciphertext is nearly used up: raise storage.quota_bytes"


def _copy_warnings(clinic: Clinic) -> Iterator[str]:
    """Of copies that are not where they should be, here and elsewhere."""
    missing = clinic.records.copies.missing
    if missing:
        yield f"copies of records that should be here, and that no other clinic gave yet: {missing}"
    for peer, lacking in clinic.records.challenges.lacking().items():
        name = clinic.services.membership.name_of(peer)
        yield f"{name} does not show the copies of records that it should hold: {lacking}"


def _clock_warnings(clinic: Clinic) -> Iterator[str]:
    """Where this machine's clock is in doubt: by what members answer, or by what a quorum has signed."""
    services, tolerance_ms = clinic.services, clinic.genesis.limits.tolerance_ms
    freshness, offset_ms = services.freshness(), services.clock_check.offset_ms
    if offset_ms is None:
        yield (
            "this machine's clock was not compared with the members' yet: nothing is served and no vote is "
            f"cast before a quorum of validators ({services.membership.committee.quorum}) tells the time"
        )
    elif not services.clock_check.is_good:
        side = "behind" if offset_ms > 0 else "ahead of"
        yield (
            f"this machine's clock is {abs(offset_ms) / 1000:.0f} s {side} the members': "
            "nothing is served and no vote is cast until it is set right"
        )
    elif not freshness.knows_time(tolerance_ms):
        yield (
            f"this machine's clock is behind the time of the newest final block by more than "
            f"{tolerance_ms / 1000:.0f} s: nothing is served until it is set right"
        )


def _how_far(applicant: Applicant) -> str:
    """What a clinic that waits to be admitted waits for."""
    name, reply = applicant.genesis.name, applicant.reply
    if reply is None:
        return f"asking to join {name}: the member that invited this clinic does not answer yet"
    if not reply.taken:
        return (
            f"asking to join {name}: the invitation is not taken, it may be used or expired; "
            "join with a new one: chartmesh network join CODE"
        )
    away = "" if applicant.inviter.is_connected else "; the member that invited it is away"
    return f"asking to join {name}: {reply.approvals} of {reply.needed} approvals{away}"


def _own_warnings(own: Self) -> Iterator[str]:
    """Of this node's disk and keys, whatever its network."""
    yield from own.storage_warnings()
    if not own.is_protected:
        yield "the keys are kept without a passphrase: whoever reads the file has them"


def _blank(own: Self) -> StatusResult:
    return StatusResult(
        role=own.role,
        id=own.identity.hex(),
        name=own.name,
        version=program_version(),
        running_s=(own.clock.elapsed_ms() - own.began_ms) / 1000,
        network=None,
        epoch=0,
        height=0,
        final_age_s=None,
        members=0,
        reachable=0,
        quorum=0,
        fresh=False,
        peers=0,
        mempool=0,
        disk_bytes=0,
    )
