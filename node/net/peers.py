"""The book of peers: who is connected, by which connections, and what each has left of its budget."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from node.net.budget import Slots, TokenBucket
from protocol import limits
from protocol.keys import PublicKey

SIMULTANEOUS_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer to dial: its identity key, and multiaddrs like `/ip4/127.0.0.1/tcp/4001`, without `/p2p`."""

    id_key: PublicKey
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection, as `peers` shows it. `opened_ms` is Unix time; an unmeasured round trip is None."""

    id_key: PublicKey
    address: str
    direction: str  # "in" or "out"
    round_trip_ms: float | None
    agent: str
    opened_ms: int
    streams: int
    penalties: int


@dataclass(eq=False, slots=True)
class Link:
    """One connection with a peer. `connection` is the library's own; `since_ms` is elapsed time.

    `is_doomed` once we have decided to close it.
    """

    peer: PublicKey
    address: str
    outbound: bool
    since_ms: int
    opened_ms: int
    connection: Any
    is_doomed: bool = False


@dataclass(eq=False, slots=True)
class Peer:
    """What is known of one identity. `away` is set while it has no connection.

    Members have no bucket (`requests` is None): their frames are not counted.
    """

    id_key: PublicKey
    streams: Slots
    requests: TokenBucket | None
    links: list[Link] = field(default_factory=list)
    penalties: int = 0
    away: trio.Event = field(default_factory=trio.Event)

    def spend(self, now_ms: int) -> bool:
        """Takes one request from the budget; False where it is used up."""
        return self.requests is None or self.requests.take(now_ms)


class PeerBook:
    """Peers by identity key. Strangers are forgotten once gone and no longer in debt."""

    def __init__(self) -> None:
        self._peers: dict[PublicKey, Peer] = {}
        self.members: frozenset[PublicKey] = frozenset()

    def set_members(self, members: Iterable[PublicKey]) -> list[Peer]:
        """Says who is a member; returns the known peers that became one or ceased to be one."""
        before, self.members = self.members, frozenset(members)
        changed = [peer for key, peer in self._peers.items() if (key in before) != (key in self.members)]
        for peer in changed:
            del self._peers[peer.id_key]
        return changed

    def is_member(self, key: PublicKey) -> bool:
        return key in self.members

    def peer(self, key: PublicKey, now_ms: int) -> Peer:
        """The record of `key`, opened with a full budget where there is none."""
        found = self._peers.get(key)
        if found is None:
            found = self._peers[key] = self._open(key, now_ms)
        return found

    def known(self, key: PublicKey) -> Peer | None:
        return self._peers.get(key)

    def peers(self) -> list[Peer]:
        return list(self._peers.values())

    def links(self) -> Iterator[Link]:
        for peer in self._peers.values():
            yield from peer.links

    def live(self, key: PublicKey) -> Link | None:
        """The newest connection with a peer that is to stay, if there is one."""
        peer = self._peers.get(key)
        stay = [link for link in peer.links if not link.is_doomed] if peer is not None else []
        return stay[-1] if stay else None

    def connected(self) -> list[PublicKey]:
        """Peers with a connection that is to stay, in key order."""
        return sorted(key for key in self._peers if self.live(key) is not None)

    def strangers(self) -> int:
        """How many connections are not members'."""
        return sum(len(peer.links) for key, peer in self._peers.items() if key not in self.members)

    def add(self, link: Link) -> Peer:
        peer = self.peer(link.peer, link.since_ms)
        if not peer.links:
            peer.away = trio.Event()
        peer.links.append(link)
        return peer

    @staticmethod
    def remove(peer: Peer, link: Link) -> None:
        peer.links.remove(link)
        if not peer.links:
            peer.away.set()

    def forget_strangers(self, now_ms: int) -> None:
        """Drops the records of those who are gone and owe nothing."""
        for key, peer in list(self._peers.items()):
            if not peer.links and peer.requests is not None and peer.requests.is_full(now_ms):
                del self._peers[key]

    def _open(self, key: PublicKey, now_ms: int) -> Peer:
        away = trio.Event()
        away.set()
        if key in self.members:
            return Peer(key, Slots(limits.STREAMS_PER_PEER_MAX), None, away=away)
        bucket = TokenBucket(limits.STRANGER_REQUESTS_PER_S, limits.STRANGER_REQUESTS_BURST, now_ms)
        return Peer(key, Slots(limits.STRANGER_STREAMS_MAX), bucket, away=away)


def surplus(links: Sequence[Link], own: PublicKey) -> list[Link]:
    """All of one peer's connections but the one to keep; both ends come to the same answer.

    Nobody dials a peer to which it has a connection. So a connection newer by `SIMULTANEOUS_MS` means
    that the other end lost the older ones, and the newest is kept. Where both ends dialled at once, the
    connection dialled by the smaller key is kept.
    """
    if len(links) < 2:
        return []
    newest = max(links, key=lambda link: link.since_ms)
    recent = [link for link in links if newest.since_ms - link.since_ms < SIMULTANEOUS_MS]
    dialled_by_smaller = [link for link in recent if link.outbound == (own < link.peer)]
    keep = max(dialled_by_smaller or recent, key=lambda link: link.since_ms)
    return [link for link in links if link is not keep]
