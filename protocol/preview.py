"""Who could read a record at a time to come, and why: judged by `access.decide` before anything is signed.

The scene is what the ledger proves of one record now, and what the patient thinks of signing. A preview of
a later time holds as long as nothing else is shared or stopped, and no member's part changes, until then.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.access import (
    NONCE_BYTES,
    Deny,
    DenyReason,
    FetchRequest,
    Freshness,
    SignedFetchRequest,
    VerifiedFetch,
    decide,
)
from protocol.blocks import NetworkId
from protocol.codec import encode
from protocol.grants import GrantBody, grant_id
from protocol.keys import PublicKey
from protocol.limits import NetworkLimits
from protocol.purposes import OWNER_PURPOSE
from protocol.state import (
    GrantState,
    LedgerState,
    MemberState,
    TokenState,
    grant_entry_key,
    member_entry_key,
    token_entry_key,
)
from protocol.statemap import StateMap
from protocol.transactions import TokenId

_NONCE: Final = bytes(NONCE_BYTES)
_UNSIGNED: Final = SignedFetchRequest(b"", b"")
_SOMEBODY: Final = "somebody"
_NOT_SEALED: Final = b""


@dataclass(frozen=True, slots=True)
class Given:
    """A grant, and what the ledger says of it: nothing, while it is not final. Of one that `is_new`, and
    would be signed now, `entry` is what would be written of it."""

    body: GrantBody
    entry: GrantState | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """One record as it is proven to be, the members, suspended ones too, and the grants under it."""

    network: NetworkId
    limits: NetworkLimits
    name: TokenId
    token: TokenState
    members: tuple[MemberState, ...]
    given: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether the grantee of `given`, or the owner where it is None, can read; if not, why not."""

    given: Given | None
    refusal: DenyReason | None


def promised(body: GrantBody, token: TokenState) -> Given:
    """A grant as it would stand on the ledger once the owner had signed it now."""
    entry = GrantState(
        generation=token.generation,
        registered_generation=token.generation,
        revoked=False,
        sealed_hash=_NOT_SEALED,
        height=token.height,
    )
    return Given(body, entry, is_new=True)


def sights(scene: Scene, at_ms: int) -> list[Sight]:
    """What a clinic that holds the record and follows the ledger would answer at `at_ms`, in Unix
    milliseconds: to the owner first, then to the grantee of each grant. Without an active member nobody
    can read."""
    state = _state(scene)
    server = next((one.id_key for one in scene.members if one.is_active), scene.token.issuer)
    owner = _fetch(scene, server, scene.token.owner_key, None, at_ms)
    grantees = (_fetch(scene, server, one.body.grantee_key, one.body, at_ms) for one in scene.given)
    return [
        Sight(given, _refusal(fetch, server, state, at_ms))
        for given, fetch in zip((None, *scene.given), (owner, *grantees), strict=True)
    ]


def _state(scene: Scene) -> LedgerState:
    entries = {token_entry_key(scene.name): encode(scene.token)}
    entries |= {member_entry_key(one.id_key): encode(one) for one in scene.members}
    for one in scene.given:
        if one.entry is not None:
            entries[grant_entry_key(scene.name, grant_id(encode(one.body)))] = encode(one.entry)
    return LedgerState(scene.network, scene.limits, StateMap.empty().update(entries))


def _fetch(
    scene: Scene, server: PublicKey, signer: PublicKey, body: GrantBody | None, at_ms: int
) -> VerifiedFetch:
    """The request for all of the record that `signer` could sign, for a purpose of its grant."""
    raw = b"" if body is None else encode(body)
    request = FetchRequest(
        token=scene.name,
        grant_body=raw,
        signer=signer,
        server=server,
        nonce=_NONCE,
        purpose=OWNER_PURPOSE if body is None else body.purposes[0],
        user=_SOMEBODY,
        first_chunk=0,
        chunk_count=scene.token.content.chunks,
        time_ms=at_ms,
    )
    return VerifiedFetch(request, None if body is None else grant_id(raw), _UNSIGNED)


def _refusal(fetch: VerifiedFetch, server: PublicKey, state: LedgerState, at_ms: int) -> DenyReason | None:
    answer = decide(
        fetch,
        server=server,
        nonce=_NONCE,
        state=state,
        denied=frozenset(),
        suspended=frozenset(),
        freshness=Freshness(at_ms, at_ms, 0, clock_is_good=True),
        holds=True,
    )
    return answer.reason if isinstance(answer, Deny) else None


WHY_NOT: Final = MappingProxyType(
    {
        DenyReason.NOT_MEMBER: "no clinic of the network could serve it",
        DenyReason.SUSPENDED: "the clinic is suspended or was removed from the network",
        DenyReason.ERASED: "the record is erased",
        DenyReason.NOT_REGISTERED: "the share is not final yet",
        DenyReason.REVOKED: "you stopped it",
        DenyReason.GENERATION: "the record has new keys or another owner since",
        DenyReason.NOT_YET: "it has not begun",
        DenyReason.EXPIRED: "it has run out",
        DenyReason.ACTION: "it does not let anyone read",
        DenyReason.SCOPE: "it does not cover the whole record",
    }
)
"""A sentence for each refusal that a preview can come to."""
