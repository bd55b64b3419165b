"""The plan of a catch-up: every height once, in order, from several peers, whatever they do."""

import random

import pytest

from protocol.catchup import Avoided, Plan, Range, known_height
from protocol.keys import PublicKey
from protocol.limits import (
    CATCH_UP_AVOID_MS,
    CATCH_UP_OVERTAKE_MS,
    CATCH_UP_RANGES_MAX,
    CATCH_UP_RETRY_MS,
    RANGE_BLOCKS_MAX,
)

A, B, C, D = (PublicKey(bytes((1, number)) + bytes(31)) for number in range(4))


def plan_of(height: int, **heads: int) -> Plan[str]:
    plan: Plan[str] = Plan(height)
    for name, head in heads.items():
        plan.heard({"a": A, "b": B, "c": C}[name], head)
    return plan


def test_peers_are_given_ranges_beside_each_other_and_none_twice() -> None:
    plan = plan_of(10, a=1_000, b=1_000)
    first, second = plan.ask(A, 0), plan.ask(B, 0)
    assert first == Range(11, 10 + RANGE_BLOCKS_MAX)
    assert second == Range(11 + RANGE_BLOCKS_MAX, 10 + 2 * RANGE_BLOCKS_MAX)


def test_nobody_is_asked_for_more_than_it_says_it_has() -> None:
    plan = plan_of(10, a=12, b=10)
    assert plan.ask(B, 0) is None
    assert plan.ask(A, 0) == Range(11, 12)
    assert not plan.is_ahead(B)


def test_replies_are_taken_in_order_of_height() -> None:
    plan = plan_of(0, a=1_000, b=1_000)
    plan.ask(A, 0), plan.ask(B, 0)
    plan.answered(B, 2 * RANGE_BLOCKS_MAX, "second", 0)
    assert plan.take() is None
    plan.answered(A, RANGE_BLOCKS_MAX, "first", 0)
    found = plan.take()
    assert found is not None
    assert found.reply == "first"
    plan.reached(found.heights.last)
    found = plan.take()
    assert found is not None
    assert found.reply == "second"


def test_what_did_not_fit_a_reply_is_asked_for_next_in_smaller_ranges() -> None:
    plan = plan_of(0, a=1_000, b=1_000)
    plan.ask(A, 0), plan.ask(B, 0)
    plan.answered(A, 6, "short", 0)
    assert plan.ask(A, 0) == Range(7, 12)
    plan.answered(A, 12, "full", 0)
    assert plan.ask(A, 0) == Range(13, 24)


def test_a_reply_may_go_on_past_its_range() -> None:
    """The last block asked for may have no finalization of its own."""
    plan = plan_of(0, a=1_000)
    plan.ask(A, 0)
    plan.answered(A, RANGE_BLOCKS_MAX + 3, "long", 0)
    assert plan.ask(A, 0) == Range(RANGE_BLOCKS_MAX + 4, 2 * RANGE_BLOCKS_MAX + 3)


def test_what_a_peer_failed_at_goes_to_another() -> None:
    plan = plan_of(0, a=1_000, b=1_000)
    assert plan.ask(A, 0) == Range(1, RANGE_BLOCKS_MAX)
    plan.release(A)
    assert plan.ask(B, 0) == Range(1, RANGE_BLOCKS_MAX // 2)
    assert plan.ask(A, 0) is None


def test_what_comes_from_a_peer_after_its_release_is_dropped() -> None:
    plan = plan_of(0, a=1_000)
    plan.ask(A, 0)
    plan.release(A)
    plan.answered(A, 5, "late", 0)
    assert plan.take() is None


def test_what_arrived_from_a_peer_that_lied_is_asked_for_again() -> None:
    plan = plan_of(0, a=1_000, b=1_000, c=1_000)
    plan.ask(A, 0), plan.ask(B, 0)
    plan.answered(B, 2 * RANGE_BLOCKS_MAX, "a lie", 0)
    plan.release(B)
    assert plan.ask(C, 0) == Range(RANGE_BLOCKS_MAX + 1, 2 * RANGE_BLOCKS_MAX)


def test_what_is_being_taken_in_is_not_asked_for_again() -> None:
    plan = plan_of(0, a=2 * RANGE_BLOCKS_MAX, b=2 * RANGE_BLOCKS_MAX)
    plan.ask(A, 0), plan.ask(B, 0)
    plan.answered(A, RANGE_BLOCKS_MAX, "first", 0)
    assert plan.take() is not None
    assert plan.ask(A, 0) is None
    plan.reached(RANGE_BLOCKS_MAX)
    assert plan.ask(A, 0) is None


def test_what_was_taken_and_turns_out_a_lie_is_asked_for_again() -> None:
    plan = plan_of(0, a=5, b=5)
    plan.ask(A, 0)
    plan.answered(A, 5, "a lie", 0)
    assert plan.take() is not None
    plan.release(A)
    assert plan.ask(B, 0) == Range(1, 5)


def test_what_was_taken_and_brought_nothing_is_asked_for_again() -> None:
    plan = plan_of(0, a=5)
    plan.ask(A, 0)
    plan.answered(A, 5, "useless", 0)
    assert plan.take() is not None
    assert plan.take() is None
    assert plan.ask(A, 0) == Range(1, 5)


def test_what_waits_is_bounded_and_what_comes_next_is_still_asked_for() -> None:
    plan = plan_of(0, a=10**9, b=10**9)
    plan.ask(A, 0)
    for _ in range(CATCH_UP_RANGES_MAX - 1):
        heights = plan.ask(B, 0)
        assert heights is not None
        plan.answered(B, heights.last, "early", 0)
    assert plan.ask(B, 0) is None
    plan.release(A)
    assert plan.ask(B, 0) is not None
    assert plan.ask(A, 0) is None


def test_whoever_keeps_all_waiting_is_overtaken() -> None:
    plan = plan_of(0, a=5, b=5)
    assert plan.ask(A, 0) == Range(1, 5)
    assert plan.ask(B, CATCH_UP_OVERTAKE_MS - 1) is None
    assert plan.ask(B, CATCH_UP_OVERTAKE_MS) == Range(1, 5)
    assert plan.overtaken(CATCH_UP_OVERTAKE_MS) == []
    plan.answered(B, 5, "all", CATCH_UP_OVERTAKE_MS)
    found = plan.take()
    assert found is not None
    plan.reached(5)
    assert plan.overtaken(CATCH_UP_OVERTAKE_MS) == [A]
    assert plan.ask(C, CATCH_UP_OVERTAKE_MS) is None


def test_where_even_the_quickest_peer_is_slow_nobody_is_asked_twice_so_soon() -> None:
    plan = plan_of(0, a=1_000, b=1_000)
    plan.ask(A, 0), plan.ask(B, 0)
    plan.answered(A, RANGE_BLOCKS_MAX, "slow", CATCH_UP_OVERTAKE_MS)
    plan.answered(B, 2 * RANGE_BLOCKS_MAX, "slower", 9 * CATCH_UP_OVERTAKE_MS)
    plan.reached(2 * RANGE_BLOCKS_MAX)
    for peer in (A, B):
        plan.heard(peer, 2 * RANGE_BLOCKS_MAX + 1)
    assert plan.ask(A, 0) is not None
    assert plan.ask(B, 4 * CATCH_UP_OVERTAKE_MS - 1) is None
    assert plan.ask(B, 4 * CATCH_UP_OVERTAKE_MS) is not None


def test_a_slow_peer_is_good_enough_where_there_is_no_other() -> None:
    plan = plan_of(0, a=5)
    plan.ask(A, 0)
    assert plan.overtaken(100 * CATCH_UP_OVERTAKE_MS) == []


@pytest.mark.parametrize("seed", range(20))
def test_all_that_is_missing_is_taken_once_from_peers_that_fail_at_random(seed: int) -> None:
    dice = random.Random(seed)
    end = dice.randrange(1, 5_000)
    plan, idle, asked = plan_of(0, a=end, b=end, c=end), {A, B, C}, {}
    taken, now_ms = 0, 0
    for _ in range(100_000):
        now_ms += dice.randrange(400)
        for peer in sorted(idle):
            plan.heard(peer, end)
            heights = plan.ask(peer, now_ms)
            if heights is not None:
                asked[peer] = heights
        idle -= asked.keys()
        if asked:
            peer = dice.choice(sorted(asked))
            heights = asked.pop(peer)
            idle.add(peer)
            if dice.random() < 0.3:
                plan.release(peer)
            else:
                last = dice.randint(heights.first, min(end, heights.last + 2))
                plan.answered(peer, last, "", now_ms)
        while (found := plan.take()) is not None:
            assert found.heights.first <= taken + 1 <= found.heights.last
            taken = found.heights.last
            plan.reached(taken)
        if taken == end:
            break
    assert taken == end, f"seed {seed}"


@pytest.mark.parametrize(
    ("heads", "faults", "expected"),
    [({A: 10**12, B: 7, C: 6, D: 7}, 1, 7), ({A: 5}, 0, 5), ({A: 5}, 1, 0), ({}, 0, 0)],
)
def test_how_far_the_ledger_is_no_f_liars_can_say(
    heads: dict[PublicKey, int], faults: int, expected: int
) -> None:
    assert known_height(heads, faults) == expected


@pytest.mark.parametrize(
    ("heads", "wanted", "rested_ms", "left"),
    [
        ({A: 9, B: 9}, 9, CATCH_UP_AVOID_MS - 1, [B]),  # others can help
        ({A: 9, B: 5}, 5, CATCH_UP_AVOID_MS - 1, [B]),  # nothing is missing
        ({A: 9, B: 5}, 9, CATCH_UP_RETRY_MS, [A, B]),
        ({A: 9}, 9, CATCH_UP_RETRY_MS, [A, B]),
        ({A: 9, B: 5}, 9, CATCH_UP_RETRY_MS - 1, [B]),  # not at once
        ({A: 9, B: 9}, 9, CATCH_UP_AVOID_MS, [A, B]),
    ],
)
def test_whoever_failed_is_passed_over_while_others_can_help(
    heads: dict[PublicKey, int], wanted: int, rested_ms: int, left: list[PublicKey]
) -> None:
    avoided = Avoided()
    avoided.failed(A, 1_000)
    assert avoided.left([A, B], 5, heads, wanted, 1_000 + rested_ms) == left


def test_where_all_failed_none_is_asked_again_at_once() -> None:
    avoided = Avoided()
    avoided.failed(A, 0)
    assert avoided.left([A], 5, {A: 9}, 5, CATCH_UP_RETRY_MS - 1) == []
    assert avoided.left([A], 5, {A: 9}, 5, CATCH_UP_RETRY_MS) == [A]
