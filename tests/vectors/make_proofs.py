"""Vectors of proofs of state: one true proof of each standing, and one file for each way to be wrong."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from protocol.blocks import (
    NO_BLOCK,
    BlockHash,
    Finality,
    Header,
    Phase,
    Statement,
    block_hash,
    genesis_committee,
)
from protocol.chain import build_tail
from protocol.codec import encode
from protocol.excerpt import Excerpt, Place
from protocol.limits import CLAIMS_MAX
from protocol.proofs import ABOUT_TOKEN, Asked, EpochEnd, Route, Standing, StateProof
from protocol.statemap import EMPTY_ROOT, OtherLeaf
from protocol.transactions import GrantId, TokenId
from tests.ledger_world import GENESIS, VOTERS, grant_id
from tests.proof_world import ANNE, ASKED, ENDS, HEADER, NOBODY, ROUTE, STATE, certify, proof_of
from tests.vectors.cases import Case
from tests.vectors.make_blocks import certified

TRUE = proof_of(Standing.LIVE)
ASKED_TRUE = [ASKED[Standing.LIVE]]
NOW_MS = HEADER.time_ms + 1_000
GIVES = block_hash(HEADER).hex()
Spoiled = tuple[str, str, StateProof]


def state_proofs() -> Iterator[Case]:
    for standing in Standing:
        yield _case(standing.name.lower(), "", proof_of(standing), [ASKED[standing]])
    yield _case("all", "", proof_of(*Standing), list(ASKED.values()))
    yield _case("twice", "", proof_of(Standing.LIVE, Standing.LIVE), ASKED_TRUE * 2)
    tolerance_ms = GENESIS.limits.tolerance_ms
    yield _case("as-old-as-may-be", "", TRUE, now_ms=HEADER.time_ms + 60_000, age_ms=60_000)
    yield _case("too-old", "older than asked for", TRUE, now_ms=HEADER.time_ms + 60_001, age_ms=60_000)
    yield _case("clock-behind", "", TRUE, now_ms=HEADER.time_ms - tolerance_ms)
    yield _case("future", "from a later time", TRUE, now_ms=HEADER.time_ms - tolerance_ms - 1)
    for made in (_routes(), _certificates(), _standings(), _excerpts()):
        for name, wrong, proof in made:
            yield _case(name, wrong, proof)
    yield from _questions()
    raw = encode(TRUE)
    for name, wrong, spoiled in (
        ("trailing", "a byte after it", raw + b"\0"),
        ("cut", "the last byte is missing", raw[:-1]),
        ("nothing", "no bytes", b""),
        ("long-form", "a count in a longer form", b"\xdc\x00\x03" + raw[1:]),
        ("field-more", "a field more", b"\x94" + raw[1:] + b"\xc0"),
    ):
        yield _case(name, wrong, spoiled)


def _routes() -> Iterator[Spoiled]:
    first, second = ENDS
    other = replace(HEADER, height=HEADER.height + 1, parent=block_hash(HEADER))
    for name, wrong, route in (
        ("no-epochs", "the epochs between are left out", replace(ROUTE, ends=())),
        ("first-epoch-less", "the first epoch is left out", replace(ROUTE, ends=(second,))),
        ("last-epoch-less", "the last epoch is left out", replace(ROUTE, ends=(first,))),
        ("epochs-swapped", "the epochs in another order", replace(ROUTE, ends=(second, first))),
        ("epoch-twice", "an epoch comes twice", replace(ROUTE, ends=(first, second, second))),
        ("other-opening", "the roster of another epoch", _ends(replace(first, opening=second.opening))),
        (
            "roster-changed",
            "a roster that is not in the state",
            _ends(replace(first, opening=replace(first.opening, roster=encode(STATE.roster)))),
        ),
        ("tail-less", "a tail's certificate without the tail", _tail(None)),
        ("tail-other-state", "a tail of another state", _tail(_changed_tail("state_root", EMPTY_ROOT))),
        (
            "tail-not-later",
            "a tail of the block's own view",
            _tail(_changed_tail("view", first.header.view)),
        ),
        ("tail-other-parent", "a tail of another block", _tail(_changed_tail("parent", NO_BLOCK))),
        ("header-unsigned", "a header that nobody signed", replace(ROUTE, header=other)),
        ("header-earlier", "a header of an earlier epoch", Route(ENDS, second.header, second.finality)),
    ):
        yield name, wrong, replace(TRUE, route=route)
    for field, value in (
        ("version", 2),
        ("network", b"m" * 32),
        ("epoch", 1),
        ("view", HEADER.view + 1),
        ("height", HEADER.height + 1),
        ("parent", NO_BLOCK),
        ("time_ms", HEADER.time_ms + 1),
        ("tx_root", EMPTY_ROOT),
        ("proposer", VOTERS[1].public),
    ):
        changed = replace(ROUTE, header=replace(HEADER, **{field: value}))
        yield f"header-other-{field}", f"the header has another {field}", replace(TRUE, route=changed)


def _ends(first: EpochEnd) -> Route:
    return replace(ROUTE, ends=(first, ENDS[1]))


def _tail(tail: Header | None) -> Route:
    """The first epoch's end by the certificate of `tail`, or of the true tail, which is then left out."""
    first = ENDS[0]
    if tail is None:
        return _ends(replace(first, finality=replace(first.finality, tail=None)))
    certificate = certify(tail, genesis_committee(GENESIS))
    return _ends(replace(first, finality=Finality(certificate, tail)))


def _changed_tail(field: str, value: object) -> Header:
    closing = ENDS[0].header
    made = build_tail(
        closing, view=closing.view + 2, proposer=VOTERS[2].public, time_ms=closing.time_ms + 5
    )
    return replace(made.header, **{field: value})


def _certificates() -> Iterator[Spoiled]:
    committee, good = STATE.committee, ROUTE.finality.certificate
    named, key = block_hash(HEADER), VOTERS[0]
    statement = Statement(HEADER.epoch, HEADER.view, Phase.FINALIZE, named)
    for name, wrong, certificate in (
        ("notarized", "votes, not a finalization", certify(HEADER, committee, phase=Phase.VOTE)),
        ("one-signer", "one of three signed", certify(HEADER, committee, count=1)),
        ("no-signers", "nobody signed", replace(good, signers=0, signatures=())),
        ("signer-twice", "one signature counts twice", replace(good, signatures=good.signatures[:1] * 2)),
        ("signers-other", "the bits name another signer", replace(good, signers=3)),
        ("signer-outside", "a signer outside of the committee", replace(good, signers=good.signers | 8)),
        ("signature-more", "a signature more", replace(good, signatures=(*good.signatures, bytes(64)))),
        ("old-committee", "signed by the first committee", certified(statement, VOTERS, [0, 1, 2])),
        ("strangers", "signed by keys without a vote", certified(statement, (key, key, key), [0, 1, 2])),
        (
            "other-view",
            "signed in another view",
            replace(good, statement=replace(good.statement, view=good.statement.view + 1)),
        ),
        (
            "other-block",
            "signed for another block",
            replace(good, statement=replace(good.statement, block=BlockHash(b"b" * 32))),
        ),
        ("other-epoch", "signed in another epoch", replace(good, statement=replace(statement, epoch=1))),
    ):
        yield (
            f"certificate-{name}",
            wrong,
            replace(TRUE, route=replace(ROUTE, finality=Finality(certificate))),
        )


def _standings() -> Iterator[Spoiled]:
    for standing in set(Standing) - {Standing.LIVE}:
        name = standing.name.lower()
        forged = replace(TRUE, standings=(int(standing),))
        yield f"live-said-{name}", f"a live grant said to be {name}", forged
    yield "standing-0", "no such standing", replace(TRUE, standings=(0,))
    yield "standing-8", "no such standing", replace(TRUE, standings=(8,))


def _excerpts() -> Iterator[Spoiled]:
    excerpt = TRUE.excerpt
    first, second = excerpt.places
    revoked = proof_of(Standing.REVOKED).excerpt
    entry = next(place for place in (first, second) if len(place.value or b"") < 100)
    beside = OtherLeaf(b"o" * 32, b"v" * 32)
    hashes = excerpt.siblings
    for name, wrong, places, siblings in (
        ("place-less", "an entry is missing", (first,), hashes),
        ("place-more", "an entry more", (first, second, second), hashes),
        ("places-swapped", "entries in another order", (second, first), hashes),
        ("of-another-grant", "the entries of another grant", revoked.places, revoked.siblings),
        ("depth-less", "a path that ends earlier", _each(excerpt, -1), hashes),
        ("depth-more", "a path that ends later", _each(excerpt, 1), hashes),
        ("depth-257", "a path of more bits than a key", _each(excerpt, 257), hashes),
        ("sibling-less", "a hash is missing", excerpt.places, hashes[:-32]),
        ("sibling-more", "a hash more", excerpt.places, hashes + EMPTY_ROOT),
        ("sibling-cut", "a hash of 31 bytes", excerpt.places, hashes[:-1]),
        ("sibling-changed", "another hash", excerpt.places, bytes((hashes[0] ^ 1,)) + hashes[1:]),
        (
            "siblings-swapped",
            "hashes in another order",
            excerpt.places,
            hashes[32:64] + hashes[:32] + hashes[64:],
        ),
        ("value-changed", "another entry", _instead(excerpt, entry, value=_revoked_entry()), hashes),
        ("value-less", "an entry left out", _instead(excerpt, entry, value=None), hashes),
        (
            "value-beside",
            "an entry, and another in its place",
            _instead(excerpt, entry, other=beside),
            hashes,
        ),
        (
            "absent-beside",
            "absent by a leaf that is not on its path",
            _instead(excerpt, entry, value=None, other=beside),
            hashes,
        ),
    ):
        yield f"excerpt-{name}", wrong, replace(TRUE, excerpt=Excerpt(tuple(places), siblings))


def _revoked_entry() -> bytes:
    """The entry of a grant that was revoked."""
    found = STATE.grant(ANNE.token, grant_id(1))
    assert found is not None
    return encode(found)


def _each(excerpt: Excerpt, more: int) -> Sequence[Place]:
    return [replace(place, depth=place.depth + more) for place in excerpt.places]


def _instead(excerpt: Excerpt, place: Place, **fields: object) -> Sequence[Place]:
    return [replace(one, **fields) if one is place else one for one in excerpt.places]


def _questions() -> Iterator[Case]:
    token = ANNE.token
    for name, wrong, asked in (
        ("other-grant", "of another grant than asked", [(token, grant_id(1))]),
        ("other-token", "of another token than asked", [(NOBODY, grant_id(0))]),
        ("no-grant", "of a grant, where the token was asked", [(token, ABOUT_TOKEN)]),
        ("asked-two", "of one, where two were asked", ASKED_TRUE * 2),
    ):
        yield _case(f"asked-{name}", wrong, TRUE, asked)
    yield _case("no-standings", "no standings", replace(TRUE, standings=()), [])
    many = [ASKED[Standing.LIVE]] * (CLAIMS_MAX + 1)
    yield _case("too-many", "65 standings", replace(TRUE, standings=TRUE.standings * len(many)), many)
    for what, changed in (
        ("token", (TokenId(token[:31]), grant_id(0))),
        ("grant", (token, GrantId(b"short"))),
    ):
        yield _case(f"short-{what}", f"a {what} that is no id", TRUE, [changed])


def _case(
    name: str,
    wrong: str,
    proof: StateProof | bytes,
    asked: Sequence[Asked] = ASKED_TRUE,
    *,
    now_ms: int = NOW_MS,
    age_ms: int | None = None,
) -> Case:
    given = {
        "genesis": encode(GENESIS).hex(),
        "raw": (proof if isinstance(proof, bytes) else encode(proof)).hex(),
        "asked": [[token.hex(), grant.hex()] for token, grant in asked],
        "now_ms": now_ms,
        "age_ms": age_ms,
    }
    return Case("state-proof", name, wrong, given, "" if wrong else GIVES)
