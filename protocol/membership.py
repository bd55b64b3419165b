"""The transactions that change who is a member, and who has a vote.

Admit, Promote, Suspend and Remove are the members' decision: at least a quorum of the validators approve
one by signing it with their identity keys, in rising order of these keys, as any transaction is signed.
A clinic's card and its acceptance of the terms are signed by itself, inside the Admit. RotateVoteKey is
a clinic's own act. Members only move forward, from follower to validator to suspended to removed, and no
key comes twice: so a replay is refused by the same rules.
"""

from protocol import limits
from protocol.blocks import Member, NetworkId, SignedCard, verify_card
from protocol.codec import HASH_BYTES, Wire
from protocol.errors import Malformed
from protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey, is_public_key, verify

SUSPEND_REASONS = frozenset({"evidence", "key-compromised", "contract", "unreachable", "other"})


class Admit(Wire, frozen=True, tag=8):
    """A new member, a follower at first. `acceptance` is its identity key's signature of the terms."""

    card: SignedCard
    terms_hash: bytes
    acceptance: bytes
    not_after_ms: int


class Promote(Wire, frozen=True, tag=9):
    """Gives a follower a vote, in the epoch that this opens."""

    member: PublicKey
    not_after_ms: int


class Suspend(Wire, frozen=True, tag=10):
    """Ends a member's vote and access for good; counts at a node from sight on."""

    member: PublicKey
    reason: str
    not_after_ms: int


class Remove(Wire, frozen=True, tag=11):
    """Ends a membership: no vote, no access, no place in the list."""

    member: PublicKey
    not_after_ms: int


class RotateVoteKey(Wire, frozen=True, tag=12):
    """A member's new vote key. Signed by its identity key and the new vote key, in this order."""

    member: PublicKey
    vote_key: PublicKey


Approved = Admit | Promote | Suspend | Remove
MembershipBody = Approved | RotateVoteKey


def accept_terms(terms_hash: bytes, id_key: SigningKey, network: NetworkId) -> bytes:
    """A clinic's acceptance of the network's terms."""
    return id_key.sign("terms", network, terms_hash)


def verify_admission(body: Admit, network: bytes) -> Member:
    """The clinic that `body` admits.

    Raises:
        Malformed: its card is not one, or it did not sign these terms.
    """
    member = verify_card(body.card)
    if not verify(member.id_key, "terms", network, body.terms_hash, body.acceptance):
        raise Malformed("the terms are not accepted by the card's identity key")
    return member


def membership_fault(body: MembershipBody) -> str:
    """The field of `body` that is not of its shape, or nothing."""
    match body:
        case Admit():
            sized = (
                (body.card.id_signature, SIGNATURE_BYTES, "card"),
                (body.card.vote_signature, SIGNATURE_BYTES, "card"),
                (body.terms_hash, HASH_BYTES, "terms_hash"),
                (body.acceptance, SIGNATURE_BYTES, "acceptance"),
            )
            for value, size, name in sized:
                if len(value) != size:
                    return name
        case RotateVoteKey():
            return "" if is_public_key(body.member) and is_public_key(body.vote_key) else "member"
        case Promote() | Suspend() | Remove():
            if not is_public_key(body.member):
                return "member"
            if isinstance(body, Suspend) and body.reason not in SUSPEND_REASONS:
                return "reason"
    return "" if body.not_after_ms >= 0 else "not_after_ms"


def are_approvers(keys: tuple[PublicKey, ...]) -> bool:
    """Whether `keys` may be those of approvals: distinct, in rising order, no more than members."""
    return (
        1 <= len(keys) <= limits.MEMBERS_MAX
        and all(map(is_public_key, keys))
        and list(keys) == sorted(set(keys))
    )
