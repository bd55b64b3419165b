"""A second chain, as whoever leaps from epoch to epoch is shown it.

Of such a chain little more is known than the final block that closed each epoch, so the blocks that two of
them have at one height may be unknown, and `protocol.two_chains` has nothing to compare. But an epoch is
closed once: a block of the same epoch above the one that closed it, final by the same committee, is of
another chain.
"""

from protocol.blocks import Committee, Finality, Header, NetworkId
from protocol.codec import Wire
from protocol.epochs import Opening, verify_opening
from protocol.keys import PublicKey
from protocol.proofs import EpochEnd, Route
from protocol.state import committee_of
from protocol.two_chains import Shown, TwoChains, find_two_chains


class PastEnd(Wire, frozen=True):
    """By a quorum of `validators`, vote keys in the order of seats, `end` closed `epoch`, and `header` of
    the same epoch is above it and final too."""

    network: NetworkId
    epoch: int
    validators: tuple[PublicKey, ...]
    end: EpochEnd
    header: Header
    finality: Finality

    @property
    def committee(self) -> Committee:
        return Committee(self.network, self.epoch, self.validators)

    @property
    def height(self) -> int:
        """Where the chains part at the latest."""
        return self.end.header.height

    @property
    def culprits(self) -> tuple[PublicKey, ...]:
        """Whoever signed both, in the order of seats: no correct validator does."""
        both = self.end.finality.certificate.signers & self.finality.certificate.signers
        return tuple(key for index, key in enumerate(self.validators) if both >> index & 1)


Fork = TwoChains | PastEnd


def find_fork(first: Route, second: Route, committee: Committee) -> Fork | None:
    """The proof that two routes from `committee`, both verified, are not of one chain.

    None where they may be: one may be longer than the other.
    """
    for at in range(1 + min(len(first.ends), len(second.ends))):
        one, two = _step(first, at), _step(second, at)
        found = _contradiction(one, two, committee)
        if found is not None or one[2] is None:
            return found
        committee = committee_of(verify_opening(one[0], one[2]), committee.network)
    return None


_Step = tuple[Header, Finality, Opening | None]


def _step(route: Route, at: int) -> _Step:
    if at == len(route.ends):
        return route.header, route.finality, None
    end = route.ends[at]
    return end.header, end.finality, end.opening


def _contradiction(one: _Step, two: _Step, committee: Committee) -> Fork | None:
    shown = [Shown((header,), finality) for header, finality, _ in (one, two)]
    found = find_two_chains(shown[0], shown[1], committee)
    if found is not None:
        return found
    (lower, ends, opening), (higher, goes_on, _) = sorted((one, two), key=lambda step: step[0].height)
    if opening is None or lower.height == higher.height:
        return None
    end = EpochEnd(lower, ends, opening)
    return PastEnd(committee.network, committee.epoch, committee.validators, end, higher, goes_on)
