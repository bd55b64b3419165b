"""Links let in once and for a short while; sessions end when nobody uses them."""

from node.adapters import SystemEntropy
from node.web.sessions import Sessions, is_same
from protocol import limits


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def wall_ms(self) -> int:
        return self.now_ms

    def elapsed_ms(self) -> int:
        return self.now_ms


def sessions() -> tuple[Sessions, Hands]:
    clock = Hands()
    return Sessions(clock=clock, entropy=SystemEntropy()), clock


def entered(some: Sessions) -> str:
    secret = some.enter(some.make_link())
    assert secret is not None
    return secret


def test_a_link_lets_in_once() -> None:
    some, _ = sessions()
    link = some.make_link()
    assert some.enter(link) is not None
    assert some.enter(link) is None
    assert some.enter("0" * 64) is None


def test_a_link_grows_old() -> None:
    some, clock = sessions()
    link, other = some.make_link(), some.make_link()
    clock.now_ms += limits.PAGE_LINK_MS - 1
    assert some.enter(link) is not None
    clock.now_ms += 1
    assert some.enter(other) is None


def test_a_session_ends_when_nobody_uses_it() -> None:
    some, clock = sessions()
    secret = entered(some)
    for _ in range(3):
        clock.now_ms += limits.PAGE_IDLE_MS - 1
        assert some.find(secret, is_use=True) is not None
    clock.now_ms += limits.PAGE_IDLE_MS
    assert some.find(secret, is_use=True) is None


def test_news_that_a_page_asks_for_by_itself_keep_no_session_from_ending() -> None:
    some, clock = sessions()
    secret = entered(some)
    clock.now_ms += limits.PAGE_IDLE_MS - 1
    assert some.find(secret, is_use=False) is not None
    clock.now_ms += 1
    assert some.find(secret, is_use=False) is None


def test_a_session_that_is_used_all_the_time_ends_too() -> None:
    some, clock = sessions()
    secret, began_ms = entered(some), clock.now_ms
    while clock.now_ms < began_ms + limits.PAGE_SESSION_MS_MAX - limits.MINUTE_MS:
        clock.now_ms += limits.MINUTE_MS
        assert some.find(secret, is_use=True) is not None
    clock.now_ms += limits.MINUTE_MS
    assert some.find(secret, is_use=True) is None


def test_who_leaves_has_left() -> None:
    some, _ = sessions()
    secret, other = entered(some), entered(some)
    some.leave(secret)
    some.leave("nobody")
    assert some.find(secret, is_use=True) is None
    assert some.find(other, is_use=True) is not None


def test_links_and_sessions_are_bounded_and_the_oldest_give_way() -> None:
    some, _ = sessions()
    links = [some.make_link() for _ in range(limits.PAGE_LINKS_MAX + 1)]
    assert some.enter(links[0]) is None
    assert some.enter(links[1]) is not None
    secrets = [entered(some) for _ in range(limits.PAGE_SESSIONS_MAX + 1)]
    assert some.find(secrets[0], is_use=True) is None
    assert some.find(secrets[1], is_use=True) is not None


def test_each_session_has_secrets_of_its_own() -> None:
    some, _ = sessions()
    found = [some.find(entered(some), is_use=True) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert not is_same(found[0].csrf, found[1].csrf)
    assert is_same(found[0].csrf, found[0].csrf)
