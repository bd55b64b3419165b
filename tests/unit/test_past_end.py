"""Two ways over the ends of epochs: when they cannot be of one chain, and what shows that."""

import pytest
from msgspec.structs import replace

from protocol.blocks import Committee, Finality
from protocol.codec import decode, encode
from protocol.epochs import verify_opening
from protocol.finality import verify_finality
from protocol.limits import ARMOUR_BYTES_MAX
from protocol.past_end import PastEnd, find_fork
from protocol.proofs import Route, verify_route
from protocol.state import committee_of
from protocol.two_chains import TwoChains, verify_two_chains
from tests.ledger_world import NETWORK, START
from tests.proof_world import ENDS, ROUTE, certify

FIRST = START.committee
SECOND = committee_of(verify_route(ROUTE, FIRST)[0], NETWORK)
OTHER_ROOT = b"\x07" * 32


def route(*ends: int, at: int, by: Committee, root: bytes = OTHER_ROOT) -> Route:
    """Over these ends to another block of the epoch of `by`, at this height."""
    closing = ENDS[by.epoch].header
    header = replace(closing, height=at, view=closing.view + at, tx_root=root)
    return Route(tuple(ENDS[index] for index in ends), header, Finality(certify(header, by)))


def verify_past_end(fork: PastEnd) -> None:
    """As anyone would look at it: the epoch was closed, and went on above, by one committee."""
    for header, finality in ((fork.end.header, fork.end.finality), (fork.header, fork.finality)):
        verify_finality(header, finality, fork.committee)
    verify_opening(fork.end.header, fork.end.opening)
    assert fork.header.height > fork.end.header.height


def end_height(epoch: int) -> int:
    return ENDS[epoch].header.height


def found(one: Route, two: Route) -> object:
    """What is found, in whichever order they are shown."""
    forks = find_fork(one, two, FIRST), find_fork(two, one, FIRST)
    assert type(forks[0]) is type(forks[1])
    return forks[0]


def test_one_way_that_is_longer_than_the_other_is_no_fork() -> None:
    up_to_the_end = Route(ENDS[:1], ENDS[1].header, ENDS[1].finality)
    for shorter in (
        ROUTE,
        up_to_the_end,
        Route((), ENDS[0].header, ENDS[0].finality),
        route(at=end_height(0) - 2, by=FIRST),
    ):
        verify_route(shorter, FIRST)
        assert found(ROUTE, shorter) is None


@pytest.mark.parametrize(("ends", "by"), [((), FIRST), ((0,), SECOND)], ids=["the first", "a later one"])
def test_a_block_above_the_end_of_its_epoch_is_a_fork(ends: tuple[int, ...], by: Committee) -> None:
    other = route(*ends, at=end_height(by.epoch) + 5, by=by)
    verify_route(other, FIRST)
    fork = found(ROUTE, other)
    assert isinstance(fork, PastEnd)
    verify_past_end(fork)
    assert (fork.committee, fork.height) == (by, end_height(by.epoch))
    assert len(fork.culprits) >= 2 * by.quorum - len(by.validators)
    assert decode(PastEnd, encode(fork), limit=ARMOUR_BYTES_MAX) == fork


@pytest.mark.parametrize("beside", [0, 1])
def test_blocks_side_by_side_are_two_chains_as_everywhere(beside: int) -> None:
    fork = found(ROUTE, route(at=end_height(0) + beside, by=FIRST))
    assert isinstance(fork, TwoChains)
    verify_two_chains(fork)
