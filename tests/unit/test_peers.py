"""The book of peers, and which of two connections stays."""

from hypothesis import given
from hypothesis import strategies as st

from node.net.peers import SIMULTANEOUS_MS, Link, PeerBook, surplus
from protocol import limits
from protocol.keys import PublicKey

SMALL, LARGE = PublicKey(b"\x01" + b"a" * 32), PublicKey(b"\x01" + b"b" * 32)


def link(peer: PublicKey, *, outbound: bool, since_ms: int = 0) -> Link:
    return Link(peer, "", outbound, since_ms, since_ms, object())


def mirrored(links: list[Link], seen_by: PublicKey) -> list[Link]:
    """The same connections as the other end has them."""
    return [link(seen_by, outbound=not each.outbound, since_ms=each.since_ms) for each in links]


def kept(links: list[Link], own: PublicKey) -> list[int]:
    gone = surplus(links, own)
    return [number for number, each in enumerate(links) if each not in gone]


def test_of_two_that_were_dialled_at_once_the_smaller_keys_stays_at_both_ends() -> None:
    links = [link(LARGE, outbound=True), link(LARGE, outbound=False, since_ms=3)]
    assert kept(links, SMALL) == kept(mirrored(links, SMALL), LARGE) == [0]


def test_a_much_newer_connection_replaces_the_one_the_peer_has_lost() -> None:
    links = [link(LARGE, outbound=True), link(LARGE, outbound=False, since_ms=SIMULTANEOUS_MS)]
    assert kept(links, SMALL) == kept(mirrored(links, SMALL), LARGE) == [1]


def test_of_two_from_the_same_end_the_newer_stays() -> None:
    for outbound in (True, False):
        assert kept(
            [link(LARGE, outbound=outbound), link(LARGE, outbound=outbound, since_ms=1)], SMALL
        ) == [1]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 20_000)), min_size=1, max_size=5, unique_by=lambda x: x[1]
    )
)
def test_both_ends_keep_the_same_one(drawn: list[tuple[bool, int]]) -> None:
    links = [link(LARGE, outbound=outbound, since_ms=since_ms) for outbound, since_ms in drawn]
    mine, theirs = kept(links, SMALL), kept(mirrored(links, SMALL), LARGE)
    assert mine == theirs
    assert len(mine) == 1


def test_members_have_no_budget_and_strangers_have() -> None:
    book = PeerBook()
    book.set_members([SMALL])
    assert all(book.peer(SMALL, 0).spend(0) for _ in range(1000))
    assert sum(book.peer(LARGE, 0).spend(0) for _ in range(1000)) == limits.STRANGER_REQUESTS_BURST


def test_a_stranger_that_comes_back_finds_its_budget_as_it_left_it() -> None:
    book = PeerBook()
    book.peer(LARGE, 0).spend(0)
    book.forget_strangers(1)
    assert book.known(LARGE) is not None
    book.forget_strangers(10_000)
    assert book.known(LARGE) is None


def test_a_peer_is_away_until_it_connects_and_after_its_last_connection() -> None:
    book = PeerBook()
    assert book.peer(SMALL, 0).away.is_set()
    first, second = link(SMALL, outbound=True), link(SMALL, outbound=False)
    peer = book.add(first)
    book.add(second)
    assert book.connected() == [SMALL]
    book.remove(peer, first)
    assert not peer.away.is_set()
    book.remove(peer, second)
    assert peer.away.is_set()
    assert book.connected() == []


def test_whoever_becomes_or_ceases_to_be_a_member_is_named() -> None:
    book = PeerBook()
    book.set_members([SMALL])
    book.peer(SMALL, 0)
    book.peer(LARGE, 0)
    assert {peer.id_key for peer in book.set_members([LARGE])} == {SMALL, LARGE}
    assert book.set_members([LARGE]) == []
