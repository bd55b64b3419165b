"""Placement: the same holders everywhere, fair, and few moves when a member joins or leaves."""

from collections import Counter
from hashlib import sha256

from protocol.keys import PublicKey
from protocol.placement import holders


def member(number: int) -> PublicKey:
    return PublicKey(b"\x01" + sha256(b"member %d" % number).digest())


def root(number: int) -> bytes:
    return sha256(b"root %d" % number).digest()


MEMBERS = [member(number) for number in range(10)]
ISSUER = MEMBERS[0]


def test_the_issuer_is_first_and_the_others_are_distinct_members() -> None:
    for number in range(50):
        found = holders(root(number), ISSUER, MEMBERS, 3)
        assert found[0] == ISSUER
        assert len(set(found)) == 3
        assert set(found) <= set(MEMBERS)


def test_order_and_repetition_of_the_members_are_irrelevant() -> None:
    expected = holders(root(1), ISSUER, MEMBERS, 4)
    assert holders(root(1), ISSUER, MEMBERS[::-1], 4) == expected
    assert holders(root(1), ISSUER, MEMBERS * 2, 4) == expected


def test_an_issuer_that_may_not_serve_leaves_its_place_to_another() -> None:
    for number in range(50):
        with_issuer = holders(root(number), ISSUER, MEMBERS, 4)
        without = holders(root(number), ISSUER, MEMBERS[1:], 3)
        assert without == with_issuer[1:]


def test_the_placement_of_known_members_never_changes() -> None:
    assert [MEMBERS.index(holder) for holder in holders(root(1), ISSUER, MEMBERS, 4)] == [0, 5, 1, 8]


def test_more_copies_keep_the_holders_of_fewer() -> None:
    for k in range(1, 10):
        assert holders(root(2), ISSUER, MEMBERS, k + 1)[:k] == holders(root(2), ISSUER, MEMBERS, k)


def test_a_small_network_gives_all_it_has() -> None:
    assert holders(root(3), ISSUER, [ISSUER], 3) == (ISSUER,)
    assert holders(root(3), ISSUER, [], 3) == ()
    assert set(holders(root(3), ISSUER, MEMBERS[:2], 3)) == set(MEMBERS[:2])


def test_a_new_member_moves_only_what_it_takes_and_a_leaving_one_what_it_had() -> None:
    newcomer, moved, blobs = member(10), 0, 1000
    for number in range(blobs):
        before = holders(root(number), ISSUER, MEMBERS, 3)
        after = holders(root(number), ISSUER, [*MEMBERS, newcomer], 3)
        assert set(after) - set(before) <= {newcomer}
        moved += newcomer in after
    # The ideal is two copies among ten others: a fifth.
    assert 150 <= moved <= 250


def test_copies_are_spread_evenly() -> None:
    load = Counter(
        holder for number in range(900) for holder in holders(root(number), ISSUER, MEMBERS, 3)[1:]
    )
    assert set(load) == set(MEMBERS[1:])
    assert all(150 <= count <= 250 for count in load.values())
