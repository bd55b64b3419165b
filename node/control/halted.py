"""What is said of a node that was shown two valid chains and has stopped, and what it does not do."""

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
)
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.two_chains import TwoChains

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
_LIGHT_HINT = "ask your clinic in person which chain stands, and change nothing here until you know"


def found_at(node: object) -> TwoChains | None:
    """Why this node has stopped, None where it runs."""
    match node:
        case Clinic(services=services):
            return services.halt.found
        case LightClient(chain=chain):
            return chain.found
        case _:
            return None


def halt_warning(found: TwoChains, names: Mapping[PublicKey, str], hint: str) -> str:
    """In plain words; `names` are those of whoever holds or held a vote key."""
    who = ", ".join(names.get(key, key.hex()[:12]) for key in found.culprits)
    return f"{_what(found)}, both signed by {who}: nothing is served or signed any more; {hint}"


def clinic_halt_warning(clinic: Clinic, found: TwoChains) -> str:
    """Names the members by the ledger."""
    state, names = clinic.services.ledger.state, dict[PublicKey, str]()
    for key in found.culprits:
        used = state.vote_key(key)
        member = None if used is None else state.member(used.member)
        if member is not None:
            names[key] = member.name
    return halt_warning(found, names, _CLINIC_HINT)


def light_halt_warning(found: TwoChains) -> str:
    """A light client does not know whose the vote keys are."""
    return halt_warning(found, {}, _LIGHT_HINT)


def require_running(node: object, request: AnyRequest) -> None:
    """Raises UserError TWO_CHAINS where `node` has stopped, and the request rests on its chain."""
    found = found_at(node) if isinstance(request, _REFUSED) else None
    if found is not None:
        hint = _CLINIC_HINT if isinstance(node, Clinic) else _LIGHT_HINT
        raise UserError(f"this node has stopped: {_what(found)}", hint, code=Code.TWO_CHAINS)


def _what(found: TwoChains) -> str:
    return f"it was shown two valid chains that part at height {found.height} of epoch {found.epoch}"
