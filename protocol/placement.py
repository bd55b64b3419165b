"""Which members hold a blob: rendezvous hashing, so that a new member moves few blobs.

Every node computes the same holders from the ledger alone; nothing is announced or agreed.
"""

from collections.abc import Iterable

from protocol.codec import digest
from protocol.keys import PublicKey


def holders(
    content_root: bytes, issuer: PublicKey, members: Iterable[PublicKey], k: int
) -> tuple[PublicKey, ...]:
    """The `k` holders of a blob: its issuer, where it may serve, then the best-ranked others, best first.

    `members` are those who may serve now, in any order. An issuer that is not among them, suspended or
    removed as it is, holds no place that another could serve from. Fewer than `k` are returned where there
    are not enough members.
    """
    eligible = set(members)
    ranked = sorted(
        eligible - {issuer}, key=lambda member: digest("placement", content_root, member), reverse=True
    )
    return ((issuer, *ranked) if issuer in eligible else tuple(ranked))[: max(k, 1)]
