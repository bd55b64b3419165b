"""Which address may begin a handshake."""

import pytest

from node.net.door import NO_PLACE, TOO_OFTEN, Door, place_of
from protocol import limits


def nothing() -> None:
    pass


def come_and_go(door: Door, host: str, times: int) -> list[object]:
    """Handshakes one after the other; what the door said to each."""
    said: list[object] = []
    for _ in range(times):
        place = door.enter(host, 0, nothing)
        said.append(place)
        if not isinstance(place, str):
            door.leave(place)
    return said


def test_an_address_that_connects_too_often_waits() -> None:
    door = Door()
    said = come_and_go(door, "192.0.2.7", limits.HANDSHAKES_PER_ADDRESS_BURST + 1)
    assert said[-1] == TOO_OFTEN
    assert TOO_OFTEN not in said[:-1]
    assert not isinstance(door.enter("192.0.2.8", 0, nothing), str)
    assert not isinstance(door.enter("192.0.2.7", 1_000, nothing), str)


def test_where_a_member_is_expected_it_may_come_as_often_as_it_likes() -> None:
    door = Door()
    door.expect(["192.0.2.7", "clinic.example"])
    said = come_and_go(door, "192.0.2.7", 2 * limits.HANDSHAKES_PER_ADDRESS_BURST)
    assert not any(isinstance(one, str) for one in said)


def test_an_address_begins_so_many_at_once() -> None:
    door = Door()
    for _ in range(limits.HANDSHAKES_PER_ADDRESS_MAX):
        assert not isinstance(door.enter("192.0.2.7", 0, nothing), str)
    assert door.enter("192.0.2.7", 0, nothing) == NO_PLACE
    assert door.handshakes == limits.HANDSHAKES_PER_ADDRESS_MAX


def test_nothing_is_kept_of_who_left_long_ago() -> None:
    door = Door()
    come_and_go(door, "192.0.2.7", 3)
    door.forget(limits.HOUR_MS)
    assert len(door._rates) == 0


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("clinic.example", "clinic.example"),
    ],
)
def test_one_holder_of_addresses_is_one_address(host: str, place: str) -> None:
    assert place_of(host) == place
