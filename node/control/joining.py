"""The answers to a clinic that comes with an invitation, and about its keys: the daemon's own business."""

from typing import Protocol

from node.clinic import Clinic
from node.founding import TERMS, TERMS_HASH
from node.light.client import LightClient
from node.members.applicant import Applicant
from protocol.blocks import Genesis, network_id
from protocol.control import (
    KeysResult,
    NetworkInvitationResult,
    NetworkJoinResult,
    PageOpenResult,
    utc,
)
from protocol.errors import Code, UserError
from protocol.invitations import SignedInvitation, decode_invitation, verify_invitation

Part = Clinic | LightClient | Applicant


class Door(Protocol):
    """What the answers ask of the daemon around them."""

    async def join(self, genesis: Genesis) -> None:
        """Enters the network of a genesis file; returns when its services run. Raises UserError."""
        ...

    async def visit(self, signed: SignedInvitation) -> Genesis:
        """The genesis file of the network that an invitation leads to. Raises UserError."""
        ...

    async def apply(self, signed: SignedInvitation) -> Part:
        """Asks to be admitted to that network, its terms accepted. Raises UserError."""
        ...

    def keys(self) -> KeysResult:
        """Raises UserError ROLE where this is no clinic."""
        ...

    async def rotate(self) -> KeysResult:
        """Raises UserError ROLE, MEMBERSHIP; Rejected."""
        ...

    async def open_page(self) -> PageOpenResult:
        """A link to the page in a browser. Raises UserError PORT_IN_USE where it cannot be served."""
        ...

    def stop(self) -> None: ...


async def look_at_invitation(door: Door, code: str) -> NetworkInvitationResult:
    """Raises UserError: INVITATION and what `Door.visit` raises."""
    signed = decode_invitation(code)
    invitation, genesis = verify_invitation(signed), await door.visit(signed)
    return NetworkInvitationResult(
        network=invitation.network.hex(),
        name=genesis.name,
        inviter=invitation.inviter.hex(),
        expires=utc(invitation.expires_ms),
        founders=tuple(member.name for member in genesis.members),
        terms=TERMS,
        terms_hash=TERMS_HASH.hex(),
    )


async def apply_with(door: Door, code: str, terms_hash: str) -> NetworkJoinResult:
    """Raises UserError: INVITATION, TERMS and what `Door.apply` raises."""
    signed = decode_invitation(code)
    if terms_hash != TERMS_HASH.hex():
        raise UserError(
            "the terms accepted are not those of this network",
            "read them again: chartmesh network join CODE",
            code=Code.TERMS,
        )
    part = await door.apply(signed)
    if isinstance(part, Applicant):
        return await _asked(part)
    assert isinstance(part, Clinic), "only a clinic is invited"
    return joined_clinic(part)


async def _asked(part: Applicant) -> NetworkJoinResult:
    reply = await part.wait_heard()
    if reply is not None and not reply.taken:
        raise UserError(
            f"the member that invited this clinic to {part.genesis.name} does not take the invitation",
            "it may be used or expired: ask for a new one, and join with that",
            code=Code.INVITATION,
        )
    return NetworkJoinResult(
        network=part.network.hex(),
        name=part.genesis.name,
        members=len(part.genesis.members),
        quorum=0 if reply is None else reply.needed,
        joined=False,
        approvals=0 if reply is None else reply.approvals,
    )


def joined_clinic(clinic: Clinic) -> NetworkJoinResult:
    """What to tell of a clinic that is in its network."""
    state = clinic.services.ledger.state
    return NetworkJoinResult(
        network=network_id(clinic.genesis).hex(),
        name=clinic.genesis.name,
        members=len(state.roster.members),
        quorum=state.committee.quorum,
        joined=True,
    )
