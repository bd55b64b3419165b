"""Token buckets, counters and back-off."""

from hypothesis import given
from hypothesis import strategies as st

from node.net.budget import Admission, Backoff, Slots, TokenBucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(20, 40, now_ms=0)
    assert sum(bucket.take(0) for _ in range(100)) == 40
    assert sum(bucket.take(1_000) for _ in range(100)) == 20
    assert not bucket.take(1_040)
    assert bucket.take(1_050)


@given(st.lists(st.integers(min_value=0, max_value=300), max_size=200))
def test_a_bucket_never_gives_more_than_burst_and_rate_allow(pauses_ms: list[int]) -> None:
    bucket, now_ms, given_out = TokenBucket(20, 40, now_ms=0), 0, 0
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        given_out += bucket.take(now_ms)
        assert given_out <= 40 + now_ms * 20 / 1000


def test_a_bucket_is_full_again_after_a_rest() -> None:
    bucket = TokenBucket(20, 40, now_ms=0)
    assert bucket.is_full(0)
    bucket.take(0)
    assert not bucket.is_full(49)
    assert bucket.is_full(50)


def test_slots_are_refused_past_the_limit_and_free_again_afterwards() -> None:
    slots = Slots(2)
    assert [slots.enter() for _ in range(3)] == [True, True, False]
    slots.leave()
    assert slots.enter()


def test_one_address_cannot_take_the_places_of_the_others() -> None:
    admission = Admission(4, per_address=2)
    assert [admission.enter("a") for _ in range(3)] == [True, True, False]
    assert [admission.enter("b") for _ in range(3)] == [True, True, False]
    assert not admission.enter("c")
    admission.leave("a")
    assert admission.enter("c")
    assert admission.taken == 4


def test_back_off_doubles_up_to_its_bound_and_starts_again() -> None:
    backoff = Backoff(0.25, 5)
    assert [backoff.next_s() for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 0.25
