"""Two chains: blocks that one committee made final and that cannot be of one chain.

A correct quorum never makes them, so whoever is shown both cannot know which one stands and refuses both
(fail stop). Only the committee of the epoch that is open here counts. All earlier ones are closed by a
final block that is held here: what their keys sign, leaked as they may be, stops nobody. A node that
holds nothing later, such as one that was away or is new, is stopped by them, for it cannot tell either.

The proof is portable: it names the vote keys, and whose they were in that epoch the ledger says.
"""

from collections.abc import Sequence

from protocol import limits
from protocol.armour import unwrap, wrap
from protocol.blocks import BlockHash, Committee, Finality, Header, NetworkId, block_hash
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed, RemoteProtocolError
from protocol.finality import verify_chain
from protocol.keys import NETWORK_ID_BYTES, PublicKey, is_public_key


class Shown(Wire, frozen=True):
    """Consecutive headers of one epoch, the last with its finality."""

    headers: tuple[Header, ...]
    finality: Finality


class TwoChains(Wire, frozen=True):
    """Both chains are final by a quorum of `validators`, vote keys in the order of seats, in `epoch`."""

    network: NetworkId
    epoch: int
    validators: tuple[PublicKey, ...]
    first: Shown
    second: Shown

    @property
    def committee(self) -> Committee:
        return Committee(self.network, self.epoch, self.validators)

    @property
    def height(self) -> int:
        """The lowest at which both name a block, and not the same one."""
        return min(_differing(self.first, self.second))

    @property
    def culprits(self) -> tuple[PublicKey, ...]:
        """Whoever signed both, in the order of seats: no correct validator does."""
        both = self.first.finality.certificate.signers & self.second.finality.certificate.signers
        return tuple(key for index, key in enumerate(self.validators) if both >> index & 1)


def named_block(headers: Sequence[Header], height: int) -> BlockHash | None:
    """The block of `height` that consecutive headers name: one of them, or the parent of the first."""
    index = height - headers[0].height if headers else -2
    if index == -1:
        return headers[0].parent
    return block_hash(headers[index]) if 0 <= index < len(headers) else None


def find_two_chains(own: Shown, other: Shown, committee: Committee) -> TwoChains | None:
    """The proof that `other` is of another chain than `own`, which is final by `committee`.

    None where both may be of one chain, or `other` is not final by this committee.
    """
    if not own.headers or not other.headers or not _differing(own, other):
        return None
    # What does not verify is somebody's mistake or lie, and no second chain.
    try:
        for shown in (own, other):
            verify_chain(shown.headers, shown.finality, committee)
    except RemoteProtocolError:
        return None
    return TwoChains(committee.network, committee.epoch, committee.validators, own, other)


def verify_two_chains(found: TwoChains) -> None:
    """Returns where `found` shows that a quorum of its vote keys made two chains final.

    Raises:
        Malformed: no committee, two chains that may be one, or one that is not final.
    """
    keys = found.validators
    if len(found.network) != NETWORK_ID_BYTES or not 1 <= len(keys) <= limits.MEMBERS_MAX:
        raise Malformed("two chains of no network or no committee")
    if len(set(keys)) != len(keys) or not all(map(is_public_key, keys)):
        raise Malformed("two chains of a committee that is none")
    if find_two_chains(found.first, found.second, found.committee) is None:
        raise Malformed("the two chains may be one, or one of them is not final")


def decode_two_chains(raw: bytes) -> TwoChains:
    """The proof of `raw`, verified. Raises Malformed."""
    found = decode(TwoChains, raw, limit=limits.ARMOUR_BYTES_MAX)
    verify_two_chains(found)
    return found


def two_chains_text(found: TwoChains) -> str:
    """The proof as a file in armour, for people to pass on."""
    return wrap("TWO CHAINS", encode(found))


def read_two_chains(text: str) -> TwoChains:
    """The proof of a file, verified. Raises Malformed."""
    return decode_two_chains(unwrap("TWO CHAINS", text))


def _differing(first: Shown, second: Shown) -> list[int]:
    """The heights at which both name a block, and not the same one."""
    start = max(first.headers[0].height, second.headers[0].height) - 1
    end = min(first.headers[-1].height, second.headers[-1].height)
    return [
        height
        for height in range(start, end + 1)
        if named_block(first.headers, height) != named_block(second.headers, height)
    ]
