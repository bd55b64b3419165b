"""Token buckets, counters and back-off."""

from hypothesis import given
from hypothesis import strategies as st

from node.net.budget import Admission, Backoff, Buckets, Place, Shares, Slots, TokenBucket


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


def enter_all(admission: Admission, addresses: str, now_ms: int) -> list[Place | None]:
    return [admission.enter(address, now_ms, lambda: None) for address in addresses]


def test_one_address_cannot_take_the_places_of_the_others() -> None:
    admission = Admission(4, per_address=2, safe_ms=500)
    places = [place for place in enter_all(admission, "aaabbb", 0) if place]
    assert [place.address for place in places] == ["a", "a", "b", "b"]
    assert enter_all(admission, "c", 0) == [None]
    admission.leave(places[0])
    assert admission.enter("c", 0, lambda: None)
    assert admission.taken == 4


def test_the_oldest_handshake_gives_way_once_it_had_its_time() -> None:
    gone: list[str] = []
    admission = Admission(3, per_address=2, safe_ms=500)
    for name, address, now_ms in (("a1", "a", 0), ("b1", "b", 10), ("a2", "a", 20)):
        assert admission.enter(address, now_ms, lambda name=name: gone.append(name))  # type: ignore[misc]
    assert admission.enter("c", 499, lambda: None) is None
    assert admission.enter("c", 500, lambda: None)
    assert admission.enter("b", 510, lambda: None)
    assert gone == ["a1", "b1"]
    assert admission.taken == 3


def test_a_full_address_makes_room_among_its_own() -> None:
    gone: list[str] = []
    admission = Admission(8, per_address=1, safe_ms=500)
    admission.enter("b", 0, lambda: gone.append("b"))
    admission.enter("a", 1, lambda: gone.append("a"))
    admission.enter("a", 600, lambda: None)
    assert gone == ["a"]


def test_a_place_that_gave_way_is_given_back_once() -> None:
    admission = Admission(1, per_address=1, safe_ms=0)
    first = admission.enter("a", 0, lambda: None)
    second = admission.enter("a", 0, lambda: None)
    assert first
    assert second
    admission.leave(first)
    assert admission.taken == 1


def test_buckets_of_many_are_forgotten_once_full() -> None:
    buckets = Buckets(1, 2)
    assert [buckets.take("a", 0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0)
    buckets.forget_full(1_000)
    assert len(buckets) == 1
    assert [buckets.take("a", 1_000) for _ in range(2)] == [True, False]


def test_whoever_holds_most_of_a_room_is_found_when_it_is_over() -> None:
    shares = Shares(10)
    shares.put("a", 4)
    shares.put("b", 6)
    assert not shares.is_over()
    shares.put("a", 5)
    assert shares.is_over()
    assert shares.largest() == "b"
    shares.put("b", 0)
    assert not shares.is_over()
    assert shares.largest() == "a"


def test_back_off_doubles_up_to_its_bound_and_starts_again() -> None:
    backoff = Backoff(0.25, 5)
    assert [backoff.next_s() for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 0.25
