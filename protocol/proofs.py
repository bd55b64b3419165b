"""Proofs of state: what is so of a token or a grant, for whoever has the genesis file and nothing else.

A proof holds the way from a committee that its reader knows to the header of a final block (`Route`), an
excerpt of the state after that block, and what follows from it (`Standing`). It needs no clinic's word, no
network and no block in between: an epoch costs one header, whatever happened in it. What it is about, it
does not say: its reader knows what was asked, and an excerpt of anything else leads to another root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from protocol import limits
from protocol.blocks import (
    VERSION,
    BlockHash,
    Committee,
    Finality,
    Genesis,
    Header,
    block_hash,
    genesis_committee,
)
from protocol.codec import HASH_BYTES, Wire, decode
from protocol.epochs import Opening, verify_opening
from protocol.errors import Code, Malformed, RemoteProtocolError
from protocol.excerpt import Excerpt, take_excerpt, verify_excerpt
from protocol.finality import verify_finality
from protocol.state import (
    GrantState,
    LedgerState,
    RosterState,
    TokenState,
    committee_of,
    grant_entry_key,
    is_live,
    token_entry_key,
)
from protocol.transactions import GrantId, TokenId

ABOUT_TOKEN = GrantId(b"")
Asked = tuple[TokenId, GrantId]
"""A token and one of its grants, or ABOUT_TOKEN."""


class Standing(IntEnum):
    """What may be so of a token alone (the first three), or of one of its grants."""

    ABSENT = 1
    OWNED = 2
    ERASED = 3
    LIVE = 4
    REVOKED = 5
    ENDED = 6
    UNREGISTERED = 7


class EpochEnd(Wire, frozen=True):
    """The header that closed an epoch, what shows it to be final, and the roster of the next epoch."""

    header: Header
    finality: Finality
    opening: Opening


class Route(Wire, frozen=True):
    """From the committee of one epoch to a final header: the ends of the epochs between, and the header."""

    ends: tuple[EpochEnd, ...]
    header: Header
    finality: Finality


class StateProof(Wire, frozen=True):
    """The standing of each of those asked about, in order, and what shows it. The excerpt has the entries
    that the standings rest on."""

    route: Route
    standings: tuple[int, ...]
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class Claim:
    """`standing` of `grant`, or of `token` where `grant` is empty, after the header's block."""

    standing: Standing
    token: TokenId
    grant: GrantId


@dataclass(frozen=True, slots=True)
class Proven:
    """A claim that was verified, and the entries that it rests on."""

    claim: Claim
    token: TokenState | None
    grant: GrantState | None

    @property
    def standing(self) -> Standing:
        return self.claim.standing


@dataclass(frozen=True, slots=True)
class Shown:
    """What a proof shows: how things were at `time_ms`, after the final block of `height`."""

    height: int
    time_ms: int
    block: BlockHash
    proven: tuple[Proven, ...]


def prove_state(route: Route, state: LedgerState, asked: Sequence[Asked]) -> StateProof:
    """What is so of each of `asked` in `state`.

    `route` leads to the header of the block after which `state` is.
    """
    standings = tuple(
        int(_standing(state.token(token), state.grant(token, grant), grant)) for token, grant in asked
    )
    return StateProof(route, standings, take_excerpt(state.entries, _keys(asked)))


def _standing(token: TokenState | None, grant: GrantState | None, asked: GrantId) -> Standing:
    """What the entries say of the token and of the grant `asked`, which may be ABOUT_TOKEN."""
    if token is None:
        return Standing.ABSENT
    if asked == ABOUT_TOKEN:
        return Standing.ERASED if token.erased else Standing.OWNED
    if grant is None:
        return Standing.UNREGISTERED
    if grant.revoked:
        return Standing.REVOKED
    return Standing.LIVE if is_live(grant, token) else Standing.ENDED


def verify_state(
    raw: bytes,
    genesis: Genesis,
    asked: Sequence[Asked],
    *,
    now_ms: int,
    max_age_ms: int | None = None,
    committee: Committee | None = None,
) -> Shown:
    """What the proof `raw` shows of `asked` to whoever trusts `genesis`, or knows `committee`, at `now_ms`.

    Without `max_age_ms` a proof of any age is taken: it shows how things were at its own time. A true
    proof of anything else than what was asked is refused.

    Raises:
        RemoteProtocolError: it is not canonical or does not show it; with STALE, it is too old.
    """
    proof = decode(StateProof, raw, limit=limits.PROOF_BYTES_MAX)
    header = proof.route.header
    if header.time_ms > now_ms + genesis.limits.tolerance_ms:
        raise RemoteProtocolError("a proof from a later time than the clock's")
    if max_age_ms is not None and now_ms - header.time_ms > max_age_ms:
        raise RemoteProtocolError("a proof that is too old", "ask for a new one", code=Code.STALE)
    proven = _verify_standings(header, asked, proof)
    verify_route(proof.route, committee or genesis_committee(genesis))
    return Shown(header.height, header.time_ms, block_hash(header), proven)


def verify_route(route: Route, committee: Committee) -> tuple[RosterState, ...]:
    """The rosters of the epochs after that of `committee`, up to the epoch of the route's header.

    Raises:
        RemoteProtocolError: a header is not final, or not shown to close its epoch.
    """
    rosters = []
    for end in route.ends:
        _verify_header(end.header, end.finality, committee)
        rosters.append(verify_opening(end.header, end.opening))
        committee = committee_of(rosters[-1], committee.network)
    _verify_header(route.header, route.finality, committee)
    return tuple(rosters)


def _verify_header(header: Header, finality: Finality, committee: Committee) -> None:
    if header.version != VERSION:
        raise RemoteProtocolError("a header of another version")
    verify_finality(header, finality, committee)


def _verify_standings(header: Header, asked: Sequence[Asked], proof: StateProof) -> tuple[Proven, ...]:
    if not 1 <= len(asked) <= limits.CLAIMS_MAX or len(asked) != len(proof.standings):
        raise RemoteProtocolError("a proof of more or less than what was asked")
    for token, grant in asked:
        if len(token) != HASH_BYTES or len(grant) not in (0, HASH_BYTES):
            raise Malformed("a question about an id that is none")
    found = verify_excerpt(header.state_root, _keys(asked), proof.excerpt)
    return tuple(_judge(one, said, found) for one, said in zip(asked, proof.standings, strict=True))


def _judge(asked: Asked, said: int, found: dict[bytes, bytes | None]) -> Proven:
    token_id, grant_id = asked
    raw = found[token_entry_key(token_id)]
    token = None if raw is None else decode(TokenState, raw, limit=limits.STATE_ENTRY_BYTES_MAX)
    raw = found[grant_entry_key(token_id, grant_id)] if grant_id else None
    grant = None if raw is None else decode(GrantState, raw, limit=limits.STATE_ENTRY_BYTES_MAX)
    standing = _standing(token, grant, grant_id)
    if said != standing:
        raise RemoteProtocolError("a standing that does not follow from the state")
    return Proven(Claim(standing, token_id, grant_id), token, grant)


def _keys(asked: Sequence[Asked]) -> list[bytes]:
    """The keys of the entries that the standings of `asked` rest on."""
    tokens = [token_entry_key(token) for token, _ in asked]
    return tokens + [grant_entry_key(token, grant) for token, grant in asked if grant]
