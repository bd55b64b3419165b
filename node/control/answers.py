"""The answers to every request of the control socket, for a clinic and for a light client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from node.clinic import Clinic
from node.control.clinic_answers import NetworkRequest, PatientsRequest, RecordRequest, answer_clinic
from node.control.halted import require_running
from node.control.joining import Door, Part, apply_with, look_at_invitation
from node.control.keeping import Keeping
from node.control.membership import MembershipAnswers
from node.control.patient_answers import answer_patient
from node.control.status import (
    Self,
    applicant_status,
    clinic_status,
    light_status,
    member_names,
    members_without_ledger,
    peers_of,
    status_without_network,
)
from node.exchange import Exchange
from node.founding import joined, read_genesis
from node.light.client import LightClient
from node.members.applicant import Applicant
from node.net.offenders import Offence
from node.net.peers import ConnectionStatus
from protocol.blocks import Genesis
from protocol.control import (
    AnyRequest,
    BackupCreate,
    Document,
    KeysRotate,
    KeysShow,
    Members,
    MembersResult,
    NetworkApply,
    NetworkInvitation,
    NetworkJoin,
    NetworkJoinResult,
    PageOpen,
    PeerBlock,
    Peers,
    PeersResult,
    Status,
    StatusResult,
    Stop,
    StopResult,
    StoreGc,
    StoreStat,
    StoreVerify,
)
from protocol.errors import Code, UserError
from protocol.keys import KEY_BYTES, PublicKey

DoorRequest = NetworkJoin | NetworkInvitation | NetworkApply | KeysShow | KeysRotate


class Peerage(Protocol):
    """What a transport tells of its peers, and the way to keep one of them out."""

    def connections(self) -> Sequence[ConnectionStatus]: ...

    def offences(self) -> Sequence[Offence]: ...

    def block(self, peer: PublicKey, for_ms: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """The network this node is in: its part there, and its peers."""

    node: Part
    peerage: Peerage
    keeping: Keeping


class Answers:
    """A `control.Answerer`. `joined` is None until the node has a network.

    `door` is the daemon around it.
    """

    def __init__(self, own: Self, door: Door) -> None:
        self._own, self._door = own, door
        self.joined: Joined | None = None

    async def answer(self, request: AnyRequest, exchange: Exchange) -> Document:
        require_running(None if self.joined is None else self.joined.node, request)
        match request:
            case Status():
                return self._status()
            case Peers():
                return self._peers()
            case PeerBlock():
                return self._block(request)
            case Members():
                return self._members()
            case Stop():
                self._door.stop()
                return StopResult()
            case BackupCreate():
                return await self._keeping().backups.create(request, exchange)
            case StoreStat():
                return self._keeping().stores.stat()
            case StoreVerify():
                return await self._keeping().stores.verify(exchange)
            case StoreGc():
                return await self._keeping().stores.gc(exchange)
            case PageOpen():
                return await self._door.open_page()
        if isinstance(request, DoorRequest):
            return await self._answer_door(request)
        if isinstance(request, NetworkRequest | PatientsRequest | RecordRequest):
            return await answer_clinic(self._clinic(), request, exchange)
        return await answer_patient(self._client(), request, exchange)

    def _status(self) -> StatusResult:
        match self.joined:
            case None:
                return status_without_network(self._own)
            case Joined(Clinic() as clinic):
                return clinic_status(self._own, clinic)
            case Joined(LightClient() as client):
                return light_status(self._own, client)
            case Joined(Applicant() as applicant):
                return applicant_status(self._own, applicant)
            case _:
                raise AssertionError("a node is a clinic, an applicant or a light client")

    def _peers(self) -> PeersResult:
        if self.joined is None:
            return PeersResult(peers=())
        peerage = self.joined.peerage
        return peers_of(member_names(self.joined.node), peerage.connections(), peerage.offences())

    def _block(self, request: PeerBlock) -> PeersResult:
        """Raises UserError where the id fits no known peer, or more than one."""
        if self.joined is None:
            raise _no_network()
        peerage = self.joined.peerage
        known = set(member_names(self.joined.node))
        known |= {one.id_key for one in peerage.connections()}
        known |= {one.id_key for one in peerage.offences() if one.id_key is not None}
        fitting = [key for key in known if key.hex().startswith(request.id)]
        if not fitting and len(request.id) == 2 * KEY_BYTES:
            fitting = [PublicKey(bytes.fromhex(request.id))]
        if len(fitting) != 1:
            raise UserError(
                f"{len(fitting)} peers have an id that begins with {request.id}",
                "see their ids: chartmesh peers --json",
                code=Code.AMBIGUOUS_ID if fitting else Code.USAGE,
            )
        peerage.block(fitting[0], request.for_ms)
        return self._peers()

    def _members(self) -> MembersResult:
        match self.joined:
            case None:
                return MembersResult(members=())
            case Joined(Clinic() as clinic):
                return MembershipAnswers(clinic).members()
            case Joined(LightClient() as client):
                voting = client.chain.committee.validators
                connected = client.transport.connected()
                return members_without_ledger(client.clinics.members, voting, connected)
            case Joined(Applicant() as node):
                founders = node.genesis.members
                voting = tuple(one.vote_key for one in founders)
                return members_without_ledger(founders, voting, node.transport.connected())
            case _:
                raise AssertionError("a node is a clinic, an applicant or a light client")

    async def _answer_door(self, request: DoorRequest) -> Document:
        match request:
            case NetworkJoin(genesis=text):
                return await self._join_network(read_genesis(text))
            case NetworkInvitation(code=code):
                return await look_at_invitation(self._door, code)
            case NetworkApply(code=code, terms_hash=terms_hash):
                return await apply_with(self._door, code, terms_hash)
            case KeysShow():
                return self._door.keys()
            case KeysRotate():
                return await self._door.rotate()
            case _:
                assert_never(request)

    async def _join_network(self, genesis: Genesis) -> NetworkJoinResult:
        await self._door.join(genesis)
        return joined(genesis)

    def _keeping(self) -> Keeping:
        """Raises UserError NOT_INITIALISED: before there is a network there are no databases."""
        if self.joined is None:
            raise _no_network()
        return self.joined.keeping

    def _clinic(self) -> Clinic:
        """Raises UserError ROLE or NOT_INITIALISED where this is no running clinic."""
        if self._own.role != "clinic":
            raise UserError(
                "this node is a patient's light client, and only a clinic can do this",
                "see what a patient can do: chartmesh my --help",
                code=Code.ROLE,
            )
        if self.joined is None:
            raise _no_network()
        if isinstance(self.joined.node, Applicant):
            raise UserError(
                f"this clinic is not a member of {self.joined.node.genesis.name} yet",
                "see how far its request is: chartmesh status",
                code=Code.MEMBERSHIP,
            )
        assert isinstance(self.joined.node, Clinic)
        return self.joined.node

    def _client(self) -> LightClient:
        """Raises UserError ROLE or NOT_INITIALISED where this is no running light client."""
        if self._own.role != "light":
            raise UserError(
                "this node is a clinic, and only a patient's light client can do this",
                "name a light client with --data-dir, or make one: chartmesh init --role light",
                code=Code.ROLE,
            )
        if self.joined is None:
            raise _no_network()
        assert isinstance(self.joined.node, LightClient)
        return self.joined.node


def _no_network() -> UserError:
    return UserError(
        "this node has no network yet",
        "join one: chartmesh network join, with a genesis file or an invitation code",
        code=Code.NOT_INITIALISED,
    )
