"""Vectors of what a clinic proves of an owner key and of the members, against a header's state root."""

from collections.abc import Iterator

from msgspec.structs import replace

from protocol.codec import encode
from protocol.keys import PublicKey
from protocol.ownership import Ownership, prove_ownership
from protocol.roll import ProvenEntry, Roll, prove_roll
from protocol.state import LedgerState
from protocol.statemap import OtherLeaf, Proof
from tests.ledger_world import START, after, keys, mint, rotate, signing
from tests.unit.test_membership import ADMITTED, PROMOTED
from tests.vectors.cases import Case

MINTED = mint("ann")
STATE = after(START, MINTED, mint("bob"), rotate(MINTED.token, keys("ann"), keys("ann", 1)))
OWNER, FORMER, OTHER = keys("ann", 1).owner.public, keys("ann").owner.public, keys("bob").owner.public
NOBODY = signing("owns nothing").public


def ownerships() -> Iterator[Case]:
    for name, key, gives in (
        ("owner", OWNER, MINTED.token + b"\x01\x01"),
        ("former-owner", FORMER, MINTED.token + b"\x00\x00"),
        ("nothing", NOBODY, b""),
    ):
        yield _ownership(name, "", key, prove_ownership(STATE, key), gives)
    true, bob = prove_ownership(STATE, OWNER), prove_ownership(STATE, OTHER)
    absent, former = prove_ownership(STATE, NOBODY), prove_ownership(STATE, FORMER)
    assert true.token is not None
    for name, wrong, key, shown in (
        ("other-key", "of another key", OWNER, bob),
        ("former-as-owner", "the former key's entry for the owner's", OWNER, former),
        ("withheld", "an entry left out", OWNER, replace(true, key=absent.key, token=None)),
        ("denied", "said to be absent", OWNER, replace(true, key=replace(true.key, value=b""), token=None)),
        ("made-up", "an entry where none is", NOBODY, true),
        ("token-less", "without its token", OWNER, replace(true, token=None)),
        ("token-other", "with another's token", OWNER, replace(true, token=bob.token)),
        ("token-absent", "a token said to be absent", OWNER, replace(true, token=_denied(true.token))),
        ("token-beside-nothing", "nothing, and a token", NOBODY, replace(absent, token=true.token)),
        ("value-changed", "another entry", OWNER, replace(true, key=_changed(true.key))),
        ("sibling-less", "a hash is missing", OWNER, replace(true, key=_shorter(true.key))),
        ("sibling-more", "a hash more", OWNER, replace(true, key=_longer(true.key))),
        ("token-sibling-less", "a hash is missing", OWNER, replace(true, token=_shorter(true.token))),
        ("beside", "an entry, and another in its place", OWNER, replace(true, key=_beside(true.key))),
    ):
        yield _ownership(name, wrong, key, shown)
    yield _ownership("other-state", "of the state before", OWNER, true, state=START)


def rolls() -> Iterator[Case]:
    for name, state in (("founders", START), ("with-a-follower", ADMITTED), ("with-a-validator", PROMOTED)):
        gives = b"".join(state.roster.members)
        yield _roll(name, "", state, prove_roll(state), gives)
    true = prove_roll(ADMITTED)
    first, second, *others = true.members
    for name, wrong, roll in (
        ("last-less", "the last member is left out", replace(true, members=true.members[:-1])),
        ("first-less", "the first member is left out", replace(true, members=true.members[1:])),
        ("member-twice", "a member comes twice", replace(true, members=(*true.members, first))),
        ("swapped", "members in another order", replace(true, members=(second, first, *others))),
        ("exchanged", "a member in another's place", replace(true, members=(second, second, *others))),
        ("old-roster", "the roster of an earlier state", replace(true, roster=prove_roll(START).roster)),
        ("old-members", "members of an earlier state", prove_roll(START)),
        ("roster-changed", "another roster", replace(true, roster=_changed(true.roster))),
        ("value-changed", "another entry", replace(true, members=(_changed(first), second, *others))),
        ("value-less", "an empty entry", replace(true, members=(_denied(first), second, *others))),
        ("sibling-less", "a hash is missing", replace(true, members=(_shorter(first), second, *others))),
        ("sibling-more", "a hash more", replace(true, members=(_longer(first), second, *others))),
        ("roster-sibling-less", "a hash is missing", replace(true, roster=_shorter(true.roster))),
        ("beside", "an entry, and another in its place", replace(true, roster=_beside(true.roster))),
        ("nobody", "no members", replace(true, members=())),
    ):
        yield _roll(name, wrong, ADMITTED, roll)


def _changed(entry: ProvenEntry) -> ProvenEntry:
    return replace(entry, value=entry.value[:-1] + bytes((entry.value[-1] ^ 1,)))


def _denied(entry: ProvenEntry) -> ProvenEntry:
    return replace(entry, value=b"")


def _shorter(entry: ProvenEntry) -> ProvenEntry:
    return replace(entry, proof=Proof(entry.proof.siblings[:-1], entry.proof.other))


def _longer(entry: ProvenEntry) -> ProvenEntry:
    return replace(entry, proof=Proof((*entry.proof.siblings, b""), entry.proof.other))


def _beside(entry: ProvenEntry) -> ProvenEntry:
    return replace(entry, proof=Proof(entry.proof.siblings, OtherLeaf(b"o" * 32, b"v" * 32)))


def _ownership(
    name: str,
    wrong: str,
    key: PublicKey,
    shown: Ownership,
    gives: bytes = b"",
    *,
    state: LedgerState = STATE,
) -> Case:
    given = {"root": state.entries.root.hex(), "key": key.hex(), "raw": encode(shown).hex()}
    return Case("ownership", name, wrong, given, "" if wrong else gives.hex())


def _roll(name: str, wrong: str, state: LedgerState, roll: Roll, gives: bytes = b"") -> Case:
    given = {"root": state.entries.root.hex(), "raw": encode(roll).hex()}
    return Case("roll", name, wrong, given, "" if wrong else gives.hex())
