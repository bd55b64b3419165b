"""Who may use the page: one-use links, and the sessions that they begin.

Everything is in memory: a daemon that stops has logged everybody out. Names of links and sessions are
256 random bits and compared by lookup of their hash, so that time tells nothing of them.
"""

import hashlib
import hmac
from dataclasses import dataclass

from node.ports import Clock, Entropy
from protocol import limits

SECRET_BYTES = 32


@dataclass(slots=True)
class Session:
    """A browser that was let in. `csrf` is in each form that the page gives it, `said` the outcome of
    its last act until a page has shown it."""

    csrf: str
    began_ms: int
    used_ms: int
    said: str = ""


class Sessions:
    """Links not used yet, and sessions not ended yet."""

    def __init__(self, *, clock: Clock, entropy: Entropy) -> None:
        self._clock, self._entropy = clock, entropy
        self._links: dict[bytes, int] = {}
        self._sessions: dict[bytes, Session] = {}

    def make_link(self) -> str:
        """The secret of a new link. The oldest give way to it."""
        self._sweep()
        while len(self._links) >= limits.PAGE_LINKS_MAX:
            del self._links[next(iter(self._links))]
        secret = self._secret()
        self._links[_name(secret)] = self._clock.elapsed_ms() + limits.PAGE_LINK_MS
        return secret

    def enter(self, link: str) -> str | None:
        """Uses a link up: the secret of the session that begins, or None where it is no link any more."""
        self._sweep()
        if self._links.pop(_name(link), None) is None:
            return None
        while len(self._sessions) >= limits.PAGE_SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        secret, now_ms = self._secret(), self._clock.elapsed_ms()
        self._sessions[_name(secret)] = Session(csrf=self._secret(), began_ms=now_ms, used_ms=now_ms)
        return secret

    def find(self, secret: str, *, is_use: bool) -> Session | None:
        """The session of `secret`, if it has not ended. With `is_use` a person did something, and the
        time until it ends begins anew."""
        self._sweep()
        session = self._sessions.get(_name(secret))
        if session is not None and is_use:
            session.used_ms = self._clock.elapsed_ms()
        return session

    def leave(self, secret: str) -> None:
        self._sessions.pop(_name(secret), None)

    def _sweep(self) -> None:
        now_ms = self._clock.elapsed_ms()
        for name, ends_ms in list(self._links.items()):
            if ends_ms <= now_ms:
                del self._links[name]
        for name, session in list(self._sessions.items()):
            idle = now_ms - session.used_ms >= limits.PAGE_IDLE_MS
            if idle or now_ms - session.began_ms >= limits.PAGE_SESSION_MS_MAX:
                del self._sessions[name]

    def _secret(self) -> str:
        return self._entropy.bytes(SECRET_BYTES).hex()


def is_same(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _name(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
