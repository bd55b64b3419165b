"""The median that a node judges its clock by: lies do not move it past the truth."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks import faults_of, quorum_of
from protocol.limits import MEMBERS_MAX
from protocol.median import doubting_median

OFFSETS = st.integers(-(10**12), 10**12)


@given(st.integers(1, MEMBERS_MAX), st.data())
def test_up_to_f_lies_among_a_quorum_leave_it_between_true_ones(size: int, data: st.DataObject) -> None:
    lies = data.draw(st.lists(OFFSETS, max_size=faults_of(size)))
    answers = data.draw(st.integers(quorum_of(size), size))
    true = data.draw(st.lists(OFFSETS, min_size=answers - len(lies), max_size=answers - len(lies)))
    assert min(true) <= doubting_median([*lies, *true]) <= max(true)


def test_where_two_halves_disagree_it_is_in_doubt() -> None:
    assert doubting_median([0, 20]) == 20
    assert doubting_median([-20, 0]) == -20
    assert doubting_median([0, -13, 0, -13]) == -13
    assert doubting_median([0, 0, 0, 9]) == 0
    assert doubting_median([7]) == 7
