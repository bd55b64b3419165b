"""What is said of a node that has stopped for good, and what it does not do: one that was shown two valid
chains, or a clinic whose membership ended."""

from collections.abc import Mapping

from node.clinic import Clinic
from node.light.client import LightClient
from protocol.control import (
    AnyRequest,
    KeysRotate,
    MyCode,
    MyRecord,
    MyRecords,
    MyShare,
    MyWho,
    NetworkInvite,
    RecordAdd,
    RecordGet,
    utc,
)
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.past_end import Fork, PastEnd
from protocol.state import Role

# All that rests on one of the chains. What narrows access, and what looks at this node, goes on.
_REFUSED = (
    KeysRotate,
    MyCode,
    MyRecord,
    MyRecords,
    MyShare,
    MyWho,
    NetworkInvite,
    RecordAdd,
    RecordGet,
)
_CLINIC_HINT = (
    "keep the proof (chartmesh network evidence --chains -o FILE), ask the other members in person which "
    "chain stands, then move this node's ledger database away and start it again"
)
_ENDED: dict[int, str] = {
    Role.SUSPENDED: "suspended",
    Role.REMOVED: "removed",
}
_ENDED_HINT = (
    "ask the admins of its members why; its keys never return, so to come back make new ones in another "
    "data directory (chartmesh init) and join with an invitation (chartmesh network join CODE)"
)
_LIGHT_HINT = "ask your clinic in person which chain stands, and change nothing here until you know"


def found_at(node: object) -> Fork | None:
    """Why this node has stopped, None where it runs."""
    match node:
        case Clinic(services=services):
            return services.halt.found
        case LightClient(chain=chain):
            return chain.found
        case _:
            return None


def halt_warning(found: Fork, names: Mapping[PublicKey, str], hint: str) -> str:
    """In plain words; `names` are those of whoever holds or held a vote key."""
    who = ", ".join(names.get(key, key.hex()[:12]) for key in found.culprits)
    return f"{_what(found)}, both signed by {who}: nothing is served or signed any more; {hint}"


def clinic_halt_warning(clinic: Clinic, found: Fork) -> str:
    """Names the members by the ledger."""
    state, names = clinic.services.ledger.state, dict[PublicKey, str]()
    for key in found.culprits:
        used = state.vote_key(key)
        member = None if used is None else state.member(used.member)
        if member is not None:
            names[key] = member.name
    return halt_warning(found, names, _CLINIC_HINT)


def light_halt_warning(found: Fork) -> str:
    """A light client does not know whose the vote keys are."""
    return halt_warning(found, {}, _LIGHT_HINT)


def halted_for(clinic: Clinic) -> str:
    """The code of the error for which a clinic has stopped, empty where it runs."""
    if clinic.services.halt.found is not None:
        return Code.TWO_CHAINS
    return "" if clinic.services.exclusion.ended is None else Code.MEMBERSHIP


def ended_warning(clinic: Clinic, role: int) -> str:
    """Of a clinic that was suspended or removed; with how it knows, where not by its own ledger."""
    ended, height = clinic.services.exclusion.ended, clinic.services.ledger.height
    what = f"this clinic was {_ENDED[role]} by the members"
    if ended is not None:
        what += (
            f", proven at height {ended.height} of {utc(ended.time_ms)}; its ledger ends at height {height}"
        )
    return f"{what}: it does not vote, serve or read; {_ENDED_HINT}"


def require_running(node: object, request: AnyRequest) -> None:
    """Where `node` has stopped, and the request rests on its part in the network:

    Raises:
        UserError: TWO_CHAINS, MEMBERSHIP.
    """
    if not isinstance(request, _REFUSED):
        return
    if isinstance(node, Clinic) and node.services.exclusion.ended is not None:
        word = _ENDED[node.services.exclusion.ended.role]
        raise UserError(f"this clinic was {word} by the members", _ENDED_HINT, code=Code.MEMBERSHIP)
    found = found_at(node)
    if found is not None:
        hint = _CLINIC_HINT if isinstance(node, Clinic) else _LIGHT_HINT
        raise UserError(f"this node has stopped: {_what(found)}", hint, code=Code.TWO_CHAINS)


def _what(found: Fork) -> str:
    at = "at or before height" if isinstance(found, PastEnd) else "at height"
    return f"it was shown two valid chains that part {at} {found.height} of epoch {found.epoch}"
