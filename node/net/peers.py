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

    `requests` pays for frames, `refusals` for streams opened past the limit, `gossip` for messages,
    `excess` for those over their quota, both in number and in bytes, `controls` for what else is said in
    gossip. A member's budgets are so wide that no honest one ever meets their end.
    """

    id_key: PublicKey
    is_member: bool
    streams: Slots
    requests: TokenBucket
    refusals: TokenBucket
    gossip: TokenBucket
    excess: TokenBucket
    gossip_bytes: TokenBucket
    excess_bytes: TokenBucket
    controls: TokenBucket
    links: list[Link] = field(default_factory=list)
    penalties: int = 0
    away: trio.Event = field(default_factory=trio.Event)

    def spend(self, now_ms: int) -> bool:
        """Takes one request from the budget; False where it is used up."""
        return self.requests.take(now_ms)


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
            if not peer.links and not peer.is_member and peer.requests.is_full(now_ms):
                del self._peers[key]

    def _open(self, key: PublicKey, now_ms: int) -> Peer:
        is_member = key in self.members
        if is_member:
            streams, rate, burst = (
                limits.STREAMS_PER_PEER_MAX,
                limits.MEMBER_REQUESTS_PER_S,
                limits.MEMBER_REQUESTS_BURST,
            )
        else:
            streams, rate, burst = (
                limits.STRANGER_STREAMS_MAX,
                limits.STRANGER_REQUESTS_PER_S,
                limits.STRANGER_REQUESTS_BURST,
            )
        away = trio.Event()
        away.set()
        return Peer(
            key,
            is_member,
            Slots(streams),
            requests=TokenBucket(rate, burst, now_ms),
            refusals=TokenBucket(limits.REFUSED_STREAMS_PER_S, limits.REFUSED_STREAMS_BURST, now_ms),
            gossip=TokenBucket(limits.GOSSIP_PER_PEER_PER_S, limits.GOSSIP_PER_PEER_BURST, now_ms),
            excess=TokenBucket(1, limits.GOSSIP_EXCESS_MAX, now_ms),
            gossip_bytes=TokenBucket(
                limits.GOSSIP_BYTES_PER_PEER_PER_S, limits.GOSSIP_BYTES_PER_PEER_BURST, now_ms
            ),
            excess_bytes=TokenBucket(
                limits.GOSSIP_EXCESS_BYTES_PER_S, limits.GOSSIP_EXCESS_BYTES_MAX, now_ms
            ),
            controls=TokenBucket(limits.GOSSIP_CONTROLS_PER_S, limits.GOSSIP_CONTROLS_BURST, now_ms),
            away=away,
        )


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
