"""Which members hold a blob: rendezvous hashing, so that a new member moves few blobs.

Every node computes the same holders from the ledger alone; nothing is announced or agreed.
"""

from collections.abc import Iterable

from protocol.codec import digest
from protocol.keys import PublicKey


def holders(
    content_root: bytes, issuer: PublicKey, members: Iterable[PublicKey], k: int
) -> tuple[PublicKey, ...]:
    """The `k` holders of a blob: its issuer, then the best-ranked others, best first.

    `members` are those eligible now, in any order, with or without the issuer. Fewer than `k` are
    returned where there are not enough members.
    """
    others = set(members) - {issuer}
    ranked = sorted(others, key=lambda member: digest("placement", content_root, member), reverse=True)
    return (issuer, *ranked[: max(k - 1, 0)])
